"""The results folder of a grid: plain files, and several processes may work on one at once.

grid.json       which recipe its trials are variants of, and in which keys they may differ
<trial>/        the run folder of a trial, as `train` writes it
<trial>.json    how it ended: its result, or why it failed
planned/        for each command that was started here, which trials it is to run
result.json     what the command that last worked here has returned
claims/<trial>  locked by the process that runs it, for as long as that process lives
claims/<trial>.task
                which task that process carries out: there while it does, and after its death
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clifctl.errors import OutputError
from clifctl.experiments.grid.trial_files import CLAIMS, GRID, TASK, TrialFiles
from clifctl.experiments.grid.trial_names import (
    Trial,
    base_of,
    named_by_hash,
    named_with_defaults,
    named_with_old_names,
    told_apart,
)
from clifctl.files import (
    cannot_write,
    exists,
    is_folder,
    require_folder_possible,
    to_json,
    write_text,
)
from clifctl.reading import read_text
from clifctl.recipe.old_names import with_new_names
from clifctl.results.decoding import encode
from clifctl.results.result import Result
from clifctl.results.trials import TrialRecord
from clifctl.training import run_folder
from clifctl.training.lock import lock

# In older folders a trial's name is a hash, in the oldest of the defaults too.
_SCHEMA, _OF_HASHES, _WITH_DEFAULTS = "clifctl.grid/3", "clifctl.grid/2", "clifctl.grid/1"
_PLAN_SCHEMA = "clifctl.grid.planned/1"


@dataclass(frozen=True)
class Claim:
    """A trial that is this process's alone, and the file that names its task."""

    note: Path

    def begin(self, task: str) -> bool:
        """Note that `task` is carried out here. False where that was noted before, and its end was
        not: the process that began it has died."""
        with suppress(OSError, ValueError):
            if read_text(self.note) == task:
                return False
        # A full disk is the trial's to report; here it costs only the knowledge of a death.
        with suppress(OutputError):
            write_text(self.note, task)
        return True

    def end(self) -> None:
        """Note that the task has come to an end, whatever it was."""
        with suppress(OSError):
            self.note.unlink()


@dataclass(frozen=True)
class ResultsFolder(TrialFiles):
    """The files of a grid's trials, which may differ in the keys `axes` too."""

    axes: tuple[str, ...] = ()

    def check(self, trials: Sequence[Trial]) -> None:
        """Raise OutputError if `trials` must not, or cannot, be kept here. Writes nothing."""
        path = self.path
        if exists(path) and not is_folder(path):
            raise OutputError(
                f"'{path}' is a file, results need a folder", hint="choose another --out"
            )
        if not self.is_finished(trials):  # whose results can be shown where nothing can be written
            require_folder_possible(path)
        if not is_folder(path) or not any(path.iterdir()):
            return
        grid = self._grid()
        if grid is None:
            raise OutputError(
                f"folder '{path}' is not empty and holds no results of clifctl: it is left alone",
                hint="choose another --out",
            )
        if grid["schema"] not in (_SCHEMA, _OF_HASHES, _WITH_DEFAULTS):
            raise OutputError(
                f"'{path / GRID}' is {grid['schema']}, this clifctl knows {_SCHEMA} and older ones",
                hint="continue with the clifctl that wrote it, or choose another --out",
            )
        if self.axes and grid["schema"] != _SCHEMA:
            raise OutputError(
                f"'{path}' holds the results of an older clifctl, whose trials are named by fewer "
                "keys",
                hint="choose another --out",
            )
        axes = {*self.axes, *grid.get("axes", ())}
        mine, theirs = base_of(trials[0], axes), base_of(trials[0], axes, grid["base"])
        if theirs != mine:
            raise OutputError(
                f"'{path}' holds the results of a different recipe ({grid.get('recipe')}): "
                f"{_first_difference(theirs, mine)}",
                hint="choose another --out; finished trials are never thrown away",
            )

    def is_finished(self, trials: Sequence[Trial]) -> bool:
        """Whether every one of `trials` has its result here."""
        records = (self.record(trial.name) for trial in trials)
        return self._grid() is not None and all(
            record is not None and record.state == "finished" for record in records
        )

    def named(self, trials: Sequence[Trial]) -> tuple[Trial, ...]:
        """`trials` under the names that they have in this folder: in an older one, older names."""
        grid = self._grid()
        if grid is None:
            return told_apart(trials)
        if grid["schema"] == _WITH_DEFAULTS:
            base = with_new_names(grid["base"])
            return tuple(named_with_defaults(trial, base) for trial in trials)
        if grid["schema"] == _OF_HASHES:
            with_old_names = map(named_with_old_names, trials)
            return tuple(
                older if self._has(older) else named_by_hash(trial)
                for trial, older in zip(trials, with_old_names, strict=True)
            )
        return told_apart(trials)

    def _has(self, trial: Trial) -> bool:
        """Whether a trial of that name has begun here."""
        return exists(self.run_folder(trial.name)) or exists(self.record_of(trial.name))

    def open(self, trials: Sequence[Trial]) -> None:
        """Make the folder, or add to the one that is there. Raises OutputError as `check`."""
        self.check(trials)
        if self.is_finished(trials):
            return
        try:
            (self.path / CLAIMS).mkdir(parents=True, exist_ok=True)
        except OSError as refused:
            raise cannot_write(self.path, refused) from None
        if not (self.path / GRID).exists():
            document: dict[str, Any] = {"recipe": trials[0].loaded.name}
            document["base"] = base_of(trials[0], self.axes)
            if self.axes:
                document["axes"] = list(self.axes)
            run_folder.write_json(self.path / GRID, {"schema": _SCHEMA, **document})
        self._plan(trials)

    def _plan(self, trials: Sequence[Trial]) -> None:
        """Note which trials are to be run: for who looks on, and no part of any result."""
        epochs = {trial.name: trial.loaded.recipe.train.epochs for trial in trials}
        text = to_json({"schema": _PLAN_SCHEMA, "epochs": epochs}) + "\n"
        # Named by what it says: commands that share the folder never write different ones at once.
        path = self.plans / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        with suppress(OSError, OutputError):
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_text(path, text)

    def files(self, trials: Sequence[Trial]) -> tuple[Path, ...]:
        """The files that the trials write here, run folders not counted."""
        own = (self.path / GRID, self.path / run_folder.RESULT)
        return (*own, *(self.record_of(trial.name) for trial in trials))

    def write(self, record: TrialRecord) -> None:
        """Keep how a trial ended, atomically. Raises OutputError where that cannot be written."""
        write_text(self.record_of(record.trial), to_json(encode(record), indent=2) + "\n")

    def keep(self, result: Result) -> None:
        """Keep what the trials together gave, for a report: where nothing can be written it is only
        returned."""
        path, document = self.path / run_folder.RESULT, result.to_dict()
        if self.read(path) != document:
            with suppress(OutputError):
                run_folder.write_json(path, document)

    @contextmanager
    def claim(self, name: str) -> Iterator["Claim | None"]:
        """Trial `name` as this process's alone until the end of the block, None where another one
        has it.

        The lock belongs to the process: one that is killed holds it no longer.
        """
        path = self.claim_of(name)
        with lock(path) as is_mine:
            yield Claim(path.with_name(f"{name}{TASK}")) if is_mine else None

    def is_claimed(self, name: str) -> bool:
        """Whether some process runs trial `name`."""
        if not self.claim_of(name).exists():
            return False
        with self.claim(name) as free:
            return free is None

    def _grid(self) -> dict[str, Any] | None:
        """What grid.json holds, None where there is none, or none of clifctl."""
        document = self.read(self.path / GRID) or {}
        base = document.get("base")
        sections = ("data", "model", "train")
        is_one = isinstance(base, dict) and all(isinstance(base.get(s), dict) for s in sections)
        return document if is_one and str(document.get("schema")).startswith("clifctl.") else None


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_difference(theirs: Any, mine: Any, path: str = "") -> str:
    """Where two documents part, in words."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in [*theirs, *mine]:
            if theirs.get(key, ...) != mine.get(key, ...):
                below = f"{path}.{key}" if path else key
                return _first_difference(theirs.get(key, ...), mine.get(key, ...), below)
    there, here = ("missing" if value is ... else value for value in (theirs, mine))
    return f"{path} is {there} there and {here} here"
