"""Who watches a run besides the person: several at once, and those that read its metrics.jsonl.

The file is the source of truth: what is streamed, or shown elsewhere, is what stands in it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from clifctl.files import to_json
from clifctl.results.train import EpochRecord, Running, StepRecord, TrainPlan


class Watches(Protocol):
    """What a run tells."""

    def started(self, plan: TrainPlan, epochs: int, steps: int) -> None: ...
    def stepped(self, epoch: int, step: int, running: Running) -> None: ...
    def logged(self, record: StepRecord) -> None: ...
    def finished_epoch(self, record: EpochRecord) -> None: ...
    def notice(self, line: str) -> None: ...


class Observers:
    """Several observers as one, told in their order."""

    def __init__(self, *observers: Watches) -> None:
        self._observers = observers

    def started(self, plan: TrainPlan, epochs: int, steps: int) -> None:
        """The run begins."""
        for observer in self._observers:
            observer.started(plan, epochs, steps)

    def stepped(self, epoch: int, step: int, running: Running) -> None:
        """A step is done."""
        for observer in self._observers:
            observer.stepped(epoch, step, running)

    def logged(self, record: StepRecord) -> None:
        """A record within an epoch is in metrics.jsonl."""
        for observer in self._observers:
            observer.logged(record)

    def finished_epoch(self, record: EpochRecord) -> None:
        """An epoch is done, and in metrics.jsonl."""
        for observer in self._observers:
            observer.finished_epoch(record)

    def notice(self, line: str) -> None:
        """Something that the person should know."""
        for observer in self._observers:
            observer.notice(line)


class Tail:
    """The records of a metrics.jsonl as they are appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new(self) -> list[dict[str, Any]]:
        """The records of the lines that were finished since the last call. A file that is not there
        yet has none."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._position)
            lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._position += len(whole)
            return [json.loads(line) for line in whole.splitlines()]
        return []


class EpochStream:
    """Gives each epoch's record as a line of JSON to `write` when the epoch is finished."""

    def __init__(self, metrics: str, write: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._write = write
        self._tail = Tail(Path(metrics))

    def started(self, plan: TrainPlan, epochs: int, steps: int) -> None:
        """Epochs that a resumed run has finished before are not told again."""
        self._tail = Tail(Path(plan.run_folder) / self._metrics)
        self._tail.new()

    def stepped(self, epoch: int, step: int, running: Running) -> None:
        """Nothing: it is epochs that are streamed."""

    def logged(self, record: StepRecord) -> None:
        """Nothing, as `stepped`."""

    def notice(self, line: str) -> None:
        """Nothing: the line is for the person."""

    def finished_epoch(self, record: EpochRecord) -> None:
        """Write the lines of the epochs that are new in the file."""
        for line in self._tail.new():
            if line["record"] == "epoch":
                self._write(to_json(line) + "\n")
