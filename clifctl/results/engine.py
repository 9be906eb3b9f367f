"""What the training engine costs beside the step itself."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class EngineCost:
    """Means over `steps` pairs of training steps, taken in turns: one of the whole engine (data,
    checks, loop, logging, progress), one of the bare step (forward, backward, optimizer) on a batch
    that is there already; groups of 16 that something else on the machine held up are left out.
    `save_percent` is what saving once a minute takes of the time."""

    schema: ClassVar[str] = "clifctl.bench.engine/1"

    recipe: str
    batch_size: int
    timesteps: int
    steps: int
    bare_step_seconds: float
    engine_step_seconds: float
    overhead_percent: float
    save_seconds: float
    save_percent: float
    samples_per_second: float
    device: str
    target: str
