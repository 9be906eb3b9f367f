"""Where the files of a grid's trials are, and what can be read of them by who only looks on: this
imports no torch."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clifctl.errors import OutputError
from clifctl.reading import open_regular, read_json
from clifctl.results.decoding import NewerResult, UnreadableResult, decode
from clifctl.results.trials import Epochs, TrialRecord
from clifctl.training import run_folder
from clifctl.training.lock import is_locked

GRID = "grid.json"
PLANNED = "planned"
CLAIMS = "claims"
TASK = ".task"


@dataclass(frozen=True)
class TrialFiles:
    """The files of a grid's trials in the folder `path`."""

    path: Path
    # What each record's file held when it was read: a grid asks for each of thousands many times.
    _records: dict[str, tuple[tuple[int, ...], TrialRecord | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def plans(self) -> Path:
        """The folder in which commands note what they are to run."""
        return self.path / PLANNED

    def planned(self) -> dict[str, int]:
        """The trials that were to be run here, by what can be read of it, and how many epochs."""
        found: dict[str, int] = {}
        for path in sorted(self.plans.glob("*.json")):
            epochs = (self.read(path) or {}).get("epochs")
            if isinstance(epochs, dict):
                found |= {n: e for n, e in epochs.items() if type(e) is int and _is_name(n)}
        return found

    def claimed(self) -> set[str]:
        """The trials that some process runs. Writes nothing."""
        try:
            names = [one.name for one in (self.path / CLAIMS).iterdir() if one.suffix != TASK]
        except OSError:
            return set()
        return {name for name in names if is_locked(self.claim_of(name))}

    def run_folder(self, name: str) -> Path:
        """Where trial `name` runs."""
        return self.path / name

    def record_of(self, name: str) -> Path:
        """The file of how trial `name` ended."""
        return self.path / f"{name}.json"

    def claim_of(self, name: str) -> Path:
        """The lock of who runs trial `name`."""
        return self.path / CLAIMS / name

    def record(self, name: str) -> TrialRecord | None:
        """How trial `name` ended, None for one that did not: a record that is not whole is none.
        Raises OutputError for one that a newer clifctl wrote."""
        path = self.record_of(name)
        try:
            # Opened, not asked for: of a file that lies on a server that gives its newest state.
            with open_regular(path) as file:
                written = os.fstat(file.fileno())
        except OSError:
            return None
        version = (written.st_ino, written.st_mtime_ns, written.st_size)
        known, record = self._records.get(name, (None, None))
        if known != version:
            record = self._decoded(path)
            self._records[name] = version, record
        return record

    def _decoded(self, path: Path) -> TrialRecord | None:
        try:
            return decode(TrialRecord, self.read(path))
        except NewerResult as newer:
            raise OutputError(
                f"'{path}' was written by a newer clifctl: {newer}",
                hint="continue with that one, or choose another --out",
            ) from None
        except UnreadableResult:
            return None

    def epochs(self, name: str) -> Epochs:
        """The loss curves of trial `name`, so far."""
        return run_folder.read_epochs(self.run_folder(name))

    @staticmethod
    def read(path: Path) -> dict[str, Any] | None:
        """What a JSON file holds, None where it is none, or no mapping."""
        try:
            document = read_json(path)
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None


def _is_name(name: str) -> bool:
    """Whether it is one of a trial, and no way to another folder."""
    return name not in ("", ".", "..") and Path(name).name == name
