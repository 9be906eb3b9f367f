"""What `bench train` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.bench import BenchRate
from clifctl.results.connections import ConnectionPaths
from clifctl.results.quantities import RELU_RATIO, STEP, TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class TrainBenchRow:
    """One contestant at one T. `missing` says why it was not measured: then it has no numbers.

    `..._ratio` are medians of ratios of the same round, with their quartiles: to the ReLU net's
    step, and to that of clifctl's net. `memory_format` is the faster one of those tried.
    `images_per_s` counts what the net was given: T * N images of the ReLU net, N of the others.
    `held_bytes` is what autograd holds for backward, parameters not counted; `peak_bytes` the
    process's largest memory over that of one that trains nothing (None: not measured).
    """

    timesteps: Annotated[int, TIMESTEPS]
    contestant: str
    missing: str | None = None
    memory_format: Annotated[str | None, Quantity("memory format", short="format")] = None
    step_ms: Annotated[float | None, STEP] = None
    step_lower_quartile_ms: float | None = None
    step_upper_quartile_ms: float | None = None
    relu_ratio: Annotated[float | None, RELU_RATIO] = None
    relu_lower_quartile_ratio: float | None = None
    relu_upper_quartile_ratio: float | None = None
    ours_ratio: Annotated[
        float | None, Quantity("ratio to clifctl's net", digits=3, short="/ours")
    ] = None
    ours_lower_quartile_ratio: float | None = None
    ours_upper_quartile_ratio: float | None = None
    images_per_s: Annotated[
        float | None, Quantity("images per second", digits=1, short="images/s")
    ] = None
    held_bytes: int | None = None
    held_relu_ratio: Annotated[
        float | None,
        Quantity("kept for backward over that of the ReLU net", digits=3, short="/ReLU"),
    ] = None
    peak_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainBenchCheck:
    """What the gate found at one T: clifctl's net against its plain path. Errors are relative;
    `connection_rounding_share` is the error of a connection in shares of what rounding may make
    (None: results of older versions)."""

    timesteps: int
    batch_size: int
    float64_loss_error: float
    float64_gradient_error: float
    float64_allowed: float
    layer_differing_share: float
    layer_differing_share_allowed: float
    layer_gradient_error: float
    layer_gradient_error_allowed: float
    connection_rounding_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainBenchCost:
    """The line `fixed_ms + T * per_timestep_ms` through a contestant's step times (least squares of
    relative errors), and how far the farthest of them lies off it."""

    contestant: str
    fixed_ms: float
    per_timestep_ms: float
    farthest_percent: float


@dataclass(frozen=True, kw_only=True)
class EngineCost(Result):
    """Means over `steps` pairs of training steps, taken in turns: one of the whole engine (data,
    checks, loop, logging, progress), one of the bare step (forward, backward, optimizer) on a batch
    that is there already; groups of 16 that something else on the machine held up are left out.
    `save_percent` is what saving once a minute takes of the time."""

    schema: ClassVar[str] = "clifctl.bench.engine/1"

    recipe: str
    batch_size: int
    timesteps: Annotated[int, TIMESTEPS]
    steps: int
    bare_step_seconds: float
    engine_step_seconds: float
    overhead_percent: Annotated[
        float, Quantity("time that the engine adds", "%", 1, short="added [%]")
    ]
    save_seconds: float
    save_percent: Annotated[
        float, Quantity("time that a save each 60 s takes", "%", 2, short="saving each 60 s [%]")
    ]
    samples_per_second: Annotated[float, Quantity("images per second", digits=1, short="images/s")]
    device: str
    target: str


@dataclass(frozen=True, kw_only=True)
class TrainBenchResult(Result):
    """One net's training step timed on one machine, after it has passed the gate. `rates` says
    where the firing rates come from (fresh weights, the paper, a file), `frames_percent` how many
    of the values of event frames were not zero (None: the input was an image). The paths of its
    connections are those at the largest T; there are none where all are dense."""

    schema: ClassVar[str] = "clifctl.bench.train/1"

    started: str
    model: str
    neuron: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    timesteps: tuple[int, ...]
    batch_size: int
    precision: str
    batch_norm: str
    repeats: int
    device: str
    machine: str
    threads: int
    threads_reason: str
    target: str
    peak_missing: str | None
    versions: dict[str, str | None]
    checks: tuple[TrainBenchCheck, ...]
    rows: tuple[TrainBenchRow, ...]
    costs: tuple[TrainBenchCost, ...]
    engine: EngineCost | None = None
    connections: str = "dense"
    connection_paths: tuple[ConnectionPaths, ...] = ()
    rates: str = "fresh"
    firing_rates: tuple[BenchRate, ...] = ()
    frames_percent: float | None = None
