"""Trials: one run of one resolved recipe each, named by what decides its result.

A results folder holds plain files, and several processes may work on one folder at once:

    grid.json       which recipe its trials are variants of
    <trial>/        the run folder of a trial, as `train` writes it
    <trial>.json    how it ended: its result, or why it failed
    claims/<trial>  locked by the process that runs it, for as long as that process lives
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import clifctl
from clifctl.errors import OutputError, UsageError
from clifctl.experiments.provenance import neuron_sources
from clifctl.experiments.resuming import decisive
from clifctl.files import (
    cannot_write,
    exists,
    is_folder,
    require_folder_possible,
    to_json,
    write_text,
)
from clifctl.recipe.load import LoadedRecipe
from clifctl.results import Epochs, Measured, TrialRecord
from clifctl.training import run_folder

GRID = "grid.json"
CLAIMS = "claims"
_NAME_LENGTH = 16
# What a comparison varies: two trials may differ in these and still belong to one folder.
AXES = (("neuron",), ("timesteps",), ("model", "batch_norm"), ("train", "seed"))


@dataclass(frozen=True)
class Numerics:
    """Where a trial computes: device type and kernel target. Runs of one recipe on two of them
    differ in rounding, and after some epochs in everything."""

    device: str
    target: str


@dataclass(frozen=True)
class Trial:
    """One run of a grid. `title` says in words what sets it apart."""

    name: str
    title: str
    loaded: LoadedRecipe

    @property
    def seed(self) -> int:
        """The seed of weights, order and augmentation."""
        return self.loaded.recipe.train.seed


def trial_of(loaded: LoadedRecipe, title: str, numerics: Numerics) -> Trial:
    """`loaded` as a trial, named by the hash of what decides its result.

    That is: the resolved recipe but for keys that change no result; `clifctl.NUMERICS_VERSION`,
    which is raised with every change of clifctl that can change a result (the version of the
    package would make every release forget what is finished); the device type and the kernel
    target; and the source of a neuron that comes from a person's file. Versions of torch, number of
    threads and machine are recorded with the run and not part of the name.
    """
    document = decisive(loaded.recipe.document)
    decides = {
        "recipe": document,
        "numerics_version": clifctl.NUMERICS_VERSION,
        "numerics": asdict(numerics),
        "neuron_sources": neuron_sources(document["neuron"]),
    }
    text = json.dumps(decides, sort_keys=True)
    return Trial(hashlib.sha256(text.encode()).hexdigest()[:_NAME_LENGTH], title, loaded)


def without_repetition(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Each trial once, in order. Raises UsageError for no trial at all."""
    found = tuple({trial.name: trial for trial in trials}.values())
    if not found:
        raise UsageError("the grid is empty", hint="give each axis at least one value")
    return found


@dataclass(frozen=True)
class ResultsFolder:
    """The files of a grid's trials."""

    path: Path

    def check(self, trials: Sequence[Trial]) -> None:
        """Raise OutputError if `trials` must not, or cannot, be kept here. Writes nothing."""
        path = self.path
        if exists(path) and not is_folder(path):
            raise OutputError(
                f"'{path}' is a file, results need a folder", hint="choose another --out"
            )
        require_folder_possible(path)
        if not is_folder(path) or not any(path.iterdir()):
            return
        mine = _base(trials[0])
        theirs = self._read(path / GRID)
        if theirs is None or "base" not in theirs:
            raise OutputError(
                f"folder '{path}' is not empty and holds no results of clifctl: it is left alone",
                hint="choose another --out",
            )
        if theirs["base"] != mine["base"]:
            raise OutputError(
                f"'{path}' holds the results of another recipe ({theirs['recipe']}): "
                f"{_first_difference(theirs['base'], mine['base'])}",
                hint="choose another --out; finished trials are never thrown away",
            )

    def open(self, trials: Sequence[Trial]) -> None:
        """Make the folder, or add to the one that is there. Raises OutputError as `check`."""
        self.check(trials)
        try:
            (self.path / CLAIMS).mkdir(parents=True, exist_ok=True)
        except OSError as refused:
            raise cannot_write(self.path, refused) from None
        if not (self.path / GRID).exists():
            run_folder.write_json(self.path / GRID, _base(trials[0]))

    def files(self, trials: Sequence[Trial]) -> tuple[Path, ...]:
        """The files that the trials write here, run folders not counted."""
        return (self.path / GRID, *(self.path / f"{trial.name}.json" for trial in trials))

    def run_folder(self, name: str) -> Path:
        """Where trial `name` runs."""
        return self.path / name

    def record(self, name: str) -> TrialRecord | None:
        """How trial `name` ended, None for one that did not."""
        document = self._read(self.path / f"{name}.json")
        if document is None:
            return None
        try:
            document.pop("schema")
            measured = document.pop("measured")
            return TrialRecord(measured=measured and Measured(**measured), **document)
        except (TypeError, KeyError):
            return None

    def write(self, record: TrialRecord) -> None:
        """Keep how a trial ended, atomically. Raises OutputError where that cannot be written."""
        document = {"schema": record.schema, **asdict(record)}
        write_text(self.path / f"{record.trial}.json", to_json(document, indent=2) + "\n")

    def epochs(self, name: str) -> Epochs:
        """The loss curves of trial `name`, so far."""
        return read_epochs(self.run_folder(name))

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether trial `name` is this process's alone, until the end of the block.

        The lock belongs to the process: one that is killed holds it no longer.
        """
        with (self.path / CLAIMS / name).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def is_claimed(self, name: str) -> bool:
        """Whether some process runs trial `name`."""
        if not (self.path / CLAIMS / name).exists():
            return False
        with self.claim(name) as free:
            return not free

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None


def read_epochs(folder: Path) -> Epochs:
    """The epochs in the `metrics.jsonl` of a run folder, none where it is not there."""
    records = list(epoch_records(folder))
    return Epochs(
        train_loss_train_mode=tuple(record["train_loss_train_mode"] for record in records),
        test_loss=tuple(record["test_loss"] for record in records),
        test_accuracy_percent=tuple(record["test_accuracy_percent"] for record in records),
    )


def epoch_records(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of `metrics.jsonl` that are epochs; a line that is not whole yet is left out."""
    try:
        lines = (folder / run_folder.METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("record") == "epoch":
            yield record


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _base(trial: Trial) -> dict[str, Any]:
    """What all trials of a folder have in common."""
    document = json.loads(to_json(decisive(trial.loaded.recipe.document)))
    for *sections, key in AXES:
        place = document
        for section in sections:
            place = place[section]
        place.pop(key, None)
    return {"schema": "clifctl.grid/1", "recipe": trial.loaded.name, "base": document}


def _first_difference(theirs: Any, mine: Any, path: str = "") -> str:
    """Where two documents part, in words."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in [*theirs, *mine]:
            if theirs.get(key) != mine.get(key):
                below = f"{path}.{key}" if path else key
                return _first_difference(theirs.get(key), mine.get(key), below)
    return f"{path} is {theirs} there and {mine} here"
