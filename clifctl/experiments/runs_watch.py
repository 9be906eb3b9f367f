"""`runs watch`: how the runs and trials below a folder stand, read from their files alone; of
trials that are jobs of Slurm its queue says whether they wait.

A look at thousands of them costs little: what has ended is read once, and again when its folder has
changed.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from clifctl.errors import ClifctlError
from clifctl.experiments.grid.slurm_queue import states_if_known
from clifctl.experiments.grid.trial_files import GRID, TrialFiles
from clifctl.experiments.run.found import FoundFolder, folders, natural
from clifctl.experiments.run.state import standing_of
from clifctl.experiments.runs import read_recipe, require_folder
from clifctl.reading import read_json
from clifctl.results.runs import DamagedRun
from clifctl.results.runs_watch import STATES, RunWatch, WatchedRun
from clifctl.results.trials import JobState
from clifctl.training import run_folder
from clifctl.training.lock import LOCK, OWNER

# What the age of a state is read from: the first of them that is there.
_SINCE = {
    "running": (OWNER, LOCK),
    "done": (run_folder.RESULT,),
    "interrupted": (run_folder.LAST, run_folder.METRICS, run_folder.MANIFEST),
    "failed": (run_folder.MANIFEST,),
    "lost": (run_folder.MANIFEST,),
}
# How long the queue of Slurm, which everybody asks, is not asked again.
_QUEUE_SECONDS = 10.0
Signature = tuple[tuple[int, int], ...]


class RunsWatch:
    """Looks at `folder` as often as it is asked. Raises UsageError where there is none."""

    def __init__(self, folder: Path) -> None:
        require_folder(folder)
        self._folder = folder
        self._known: dict[Path, tuple[Signature, WatchedRun]] = {}
        self._planned: dict[Path, tuple[Signature, dict[str, int]]] = {}
        self._jobs: dict[Path, tuple[float, Mapping[str, JobState]]] = {}

    def look(self) -> RunWatch:
        """How everything stands now."""
        runs: dict[Path, WatchedRun] = {}
        grids, damaged = [], []
        for found in folders(self._folder, settled=self._is_settled):
            if found.settled:
                runs[found.path] = self._known[found.path][1]
            elif found.is_run:
                try:
                    runs[found.path] = self._run(found)
                except ClifctlError as problem:
                    damaged.append(DamagedRun(run=str(found.path), problem=problem.message))
            elif GRID in found.names:
                grids.append(found)
        walked = len(runs)
        for grid in grids:
            self._add_trials(grid, runs)
        self._known = {path: known for path, known in self._known.items() if path in runs}
        order = list(runs)  # as the walk found them
        if len(runs) > walked:
            order.sort(key=lambda path: tuple(map(natural, path.parts)))
        counted = Counter(one.state for one in runs.values())
        return RunWatch(
            folder=str(self._folder),
            counts={state: counted[state] for state in STATES},
            runs=tuple(runs[path] for path in order),
            damaged=tuple(damaged),
        )

    def _run(self, found: FoundFolder) -> WatchedRun:
        if found.refused is not None:
            raise found.refused
        path = found.path
        signature = _signature(_decisive(path))
        standing = standing_of(path)
        epochs_done, epochs, accuracy = _progress(path, standing.state)
        run = WatchedRun(
            run=str(path),
            state=standing.state,
            epochs_done=epochs_done,
            epochs=epochs,
            accuracy_percent_last=accuracy,
            since=_since(path / name for name in _SINCE[standing.state]),
            problem=standing.problem,
        )
        # Whoever holds a lock may die, and no file changes.
        if LOCK not in found.names:
            self._known[path] = signature, run
        else:
            self._known.pop(path, None)
        return run

    def _is_settled(self, path: Path) -> bool:
        """Whether the run in `path` had ended at the last look, and nothing has changed since."""
        signature, _ = self._known.get(path, (None, None))
        return signature is not None and signature == _signature(_decisive(path))

    def _add_trials(self, grid: FoundFolder, runs: dict[Path, WatchedRun]) -> None:
        """Add the trials of a grid that have no run folder (yet), and those that a process has in
        hand which has not opened it."""
        results = TrialFiles(grid.path)
        claimed = results.claimed()
        planned = self._plan(results)
        recorded = {name.removesuffix(".json") for name in grid.names if name.endswith(".json")}
        names = {*planned, *recorded - {GRID.removesuffix(".json")}, *claimed}
        for name in names:
            path = results.run_folder(name)
            run = runs.get(path)
            if run is None:
                run = _without_folder(results, name, planned.get(name))
            if run is not None and name in claimed and run.state != "running":
                since = _since([results.claim_of(name)])
                run = replace(run, state="running", since=since, problem=None)
            if run is not None:
                runs[path] = run

        for name, state in self._states_of_jobs(results.path).items():
            path = results.run_folder(name)
            run = runs.get(path)
            if run is not None and run.state not in ("running", "done"):
                waits = state == "queued"
                runs[path] = replace(
                    run, state="waiting" if waits else "running", since=None, problem=None
                )

    def _states_of_jobs(self, results: Path) -> Mapping[str, JobState]:
        asked, states = self._jobs.get(results, (None, {}))
        now = time.monotonic()
        if asked is None or now - asked >= _QUEUE_SECONDS:
            states = states_if_known(results)
            self._jobs[results] = now, states
        return states

    def _plan(self, results: TrialFiles) -> dict[str, int]:
        signature = _signature([results.plans])
        before, planned = self._planned.get(results.path, (None, {}))
        if before != signature:
            planned = results.planned()
            self._planned[results.path] = signature, planned
        return planned


def _decisive(path: Path) -> tuple[Path, ...]:
    """What changes where a run that had ended goes on, or its trial gets a record: its folder, in
    which files are made, renamed and removed, and that record."""
    return path, path.with_name(f"{path.name}.json")


def _without_folder(results: TrialFiles, name: str, epochs: int | None) -> WatchedRun | None:
    """A trial that has no run folder: it waits, or it has a record all the same. None for what is
    no trial."""
    waiting = WatchedRun(
        run=str(results.run_folder(name)),
        state="waiting",
        epochs_done=0,
        epochs=epochs,
        accuracy_percent_last=None,
        since=None,
    )
    record = None
    with suppress(ClifctlError):
        record = results.record(name)
    if record is None:
        return None if epochs is None else waiting
    if record.state == "missing":
        return waiting
    measured = record.measured
    return replace(
        waiting,
        state="done" if record.state == "finished" else record.state,
        epochs_done=epochs or 0 if record.state == "finished" else 0,
        accuracy_percent_last=None if measured is None else measured.accuracy_percent_last,
        since=_since([results.record_of(name)]),
        problem=record.problem,
    )


def _progress(path: Path, state: str) -> tuple[int, int | None, float | None]:
    """Epochs that are finished, of how many, and the accuracy after the last of them. Raises
    RunFolderError."""
    if state == "done":
        result = _result(path)
        epochs, accuracy = result.get("epochs"), result.get("accuracy_percent_last")
        if type(epochs) is int and isinstance(accuracy, int | float):
            return epochs, epochs, float(accuracy)
    records = run_folder.epoch_records(path)
    train = read_recipe(path).get("train")
    asked = train.get("epochs") if isinstance(train, dict) else None
    accuracy = records[-1]["test_accuracy_percent"] if records else None
    return len(records), asked if type(asked) is int else None, accuracy


def _result(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path / run_folder.RESULT)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _signature(paths: Iterable[Path]) -> Signature:
    """Changes with the files: when each was written, and how long it is."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def _since(paths: Iterable[Path]) -> str | None:
    """When the first of the files that is there was written."""
    for path in paths:
        with suppress(OSError):
            written = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            return written.isoformat(timespec="seconds")
    return None
