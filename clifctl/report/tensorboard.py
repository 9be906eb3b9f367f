"""A run in TensorBoard: the numbers of metrics.jsonl as scalars, and nothing else."""

import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clifctl.errors import UsageError
from clifctl.report.observers import Tail
from clifctl.results.decoding import flat
from clifctl.results.events import RunEvent, RunStarted, StepDone
from clifctl.results.train import EpochRecord

FOLDER = "tensorboard"
LOOK_EVERY_S = 5.0


def require_tensorboard() -> None:
    """Raise UsageError where the extra is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed",
            hint="pip install 'clifctl[tensorboard]'",
        )


class TensorBoard:
    """Writes event files into the folder `tensorboard` of the run folder.

    They are written anew from the whole of metrics.jsonl when a run starts or is resumed, so that
    they say what the file says. Scalars are called `epoch/test_loss`; those of an epoch stand at
    its number, those of a step at the number of steps since the start.
    """

    def __init__(self, metrics: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._tail = Tail(Path(metrics))
        self._writer: Any = None
        self._steps = 0
        self._next_look = 0.0

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._look()
            self._writer.close()

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._begin(event)
            case StepDone():
                now = self._clock()
                if now >= self._next_look:
                    self._next_look = now + LOOK_EVERY_S
                    self._look()
            case EpochRecord():
                self._look()

    def _begin(self, run: RunStarted) -> None:
        """Begin with what metrics.jsonl holds already."""
        from torch.utils.tensorboard import SummaryWriter

        assert run.plan.run_folder is not None
        folder = Path(run.plan.run_folder) / FOLDER
        for old in folder.glob("events.out.tfevents.*"):
            with suppress(FileNotFoundError):
                old.unlink()
        self._steps = run.steps
        self._tail = Tail(Path(run.plan.run_folder) / self._metrics)
        self._writer = SummaryWriter(str(folder))
        self._look()

    def _look(self) -> None:
        for record in self._tail.new():
            kind, epoch = record.pop("record"), record.pop("epoch")
            step = record.pop("step", None)
            at = epoch if step is None else (epoch - 1) * self._steps + step
            for name, value in flat(record, "/").items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._writer.add_scalar(f"{kind}/{name}", float(value), at)
        self._writer.flush()
