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
from clifctl.results.runs_export import RunExport
from clifctl.results.train import EpochRecord

FOLDER = "tensorboard"
LOOK_EVERY_S = 5.0


def require_tensorboard(option: str) -> None:
    """Raise UsageError where the extra that `option` needs is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            f"{option} needs the package tensorboard, which is not installed",
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
        assert run.plan.run_folder is not None
        self._steps = run.steps
        self._tail = Tail(Path(run.plan.run_folder) / self._metrics)
        self._writer = _new_writer(Path(run.plan.run_folder) / FOLDER)
        self._look()

    def _look(self) -> None:
        for record in self._tail.new():
            _add(self._writer, record.pop("record"), flat(record, "/"), self._steps)
        self._writer.flush()


def write_events(result: RunExport) -> None:
    """Write the metrics of a run into its folder for TensorBoard, in the place of what is there."""
    assert result.folder is not None
    writer = _new_writer(Path(result.folder))
    try:
        for kind, records in (("epoch", result.epochs), ("step", result.steps)):
            for record in records:
                named = {key.replace(".", "/"): value for key, value in record.items()}
                _add(writer, kind, named, result.steps_per_epoch or 0)
    finally:
        writer.close()


def event_files(folder: Path) -> list[Path]:
    """The files in `folder` that TensorBoard would show."""
    return list(folder.glob("events.out.tfevents.*"))


def _new_writer(folder: Path) -> Any:
    """Writes into `folder`, from which earlier files are removed."""
    from torch.utils.tensorboard import SummaryWriter

    for old in event_files(folder):
        with suppress(FileNotFoundError):
            old.unlink()
    return SummaryWriter(str(folder))


def _add(writer: Any, kind: str, record: dict[str, Any], steps: int) -> None:
    """Add the numbers of a record, of an epoch at its number, of a step at that since the start,
    in epochs of so many `steps`."""
    epoch, step = record["epoch"], record.get("step")
    at = epoch if step is None else (epoch - 1) * steps + step
    for name, value in record.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and name not in ("epoch", "step"):
            writer.add_scalar(f"{kind}/{name}", float(value), at)
