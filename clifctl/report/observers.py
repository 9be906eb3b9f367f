"""Who watches a run besides the person: several at once, and those that read its metrics.jsonl.

The file is the source of truth: what is streamed, or shown elsewhere, is what stands in it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from clifctl.files import to_json
from clifctl.results.events import Observer, RunEvent, RunStarted
from clifctl.results.train import EpochRecord


def each(*observers: Observer) -> Observer:
    """Several observers as one: an event goes to each of them, in their order."""

    def observe(event: RunEvent) -> None:
        for one in observers:
            one(event)

    return observe


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

    def __call__(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                assert event.plan.run_folder is not None
                # What a resumed run finished before is not written again.
                self._tail = Tail(Path(event.plan.run_folder) / self._metrics)
                self._tail.new()
            case EpochRecord():
                for line in self._tail.new():
                    if line["record"] == "epoch":
                        self._write(to_json(line) + "\n")
