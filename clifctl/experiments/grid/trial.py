"""One trial, in the process that runs it."""

import contextlib
import platform
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from clifctl import trust
from clifctl.devices import is_gpu
from clifctl.errors import CheckpointError, ClifctlError, Interrupted
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial_names import Numerics
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.plan import RunOptions
from clifctl.experiments.train import train
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import validate
from clifctl.results.events import RunEvent, StepDone
from clifctl.results.quantities import quantities_of
from clifctl.results.train import TrainResult
from clifctl.results.trials import Measured, Quantities, TrialRecord
from clifctl.training.stopping import never

# Ended: the folder has its record. Busy: another process runs it. Stopped: asked to end. Lost: a
# process that had begun the same task has died.
Outcome = Literal["ended", "busy", "stopped", "lost"]

# Seeds, threads and the generator of torch belong to a process: one trial at a time has them.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class TrialTask:
    """What a worker is told, all of it plain: a recipe's document is validated anew there. Each
    task has an `id` of its own: a cluster may hand one out twice. `trusted` are the files that it
    may run (see `clifctl.trust`)."""

    id: str
    trial: str
    title: str
    recipe: str
    document: dict[str, Any]
    results: str
    working_folder: str
    execution: ExecutionOptions
    beside: int
    kept_for_backward_bytes: int
    attempt: int
    trusted: tuple[str, ...] = ()


def numerics_of(options: ExecutionOptions) -> Numerics:
    """What the options come to on the machine where this is called."""
    return Numerics.of(options.resolve())


def run_trial(task: TrialTask, should_stop: Callable[[], bool] = never) -> Outcome:
    """Run a trial, unless it is finished or another process runs it, and write its record.

    Whatever goes wrong in the run is reported in the record. Raises Interrupted where this process
    is asked to end, and OutputError for a results folder that cannot be written.
    """
    trust.allow_files(task.trusted)
    with _one_at_a_time, contextlib.chdir(task.working_folder):
        folder = ResultsFolder(Path(task.results))
        with folder.claim(task.trial) as mine:
            if mine is None:
                return "busy"
            known = folder.record(task.trial)
            if known is not None and known.state == "finished":
                return "ended"
            if should_stop():
                return "stopped"
            if not mine.begin(task.id):
                return "lost"
            try:
                folder.write(_record(task, folder.run_folder(task.trial), should_stop))
            finally:
                mine.end()
            return "ended"


def run_trial_remotely(task: TrialTask, should_stop: Callable[[], bool] = never) -> Outcome:
    """As `run_trial`, for a worker process, which is stopped together with its trial."""
    # A worker of a cluster may have run other people's trials.
    trust.start()
    try:
        return run_trial(task, should_stop)
    except Interrupted:
        return "stopped"


def _record(task: TrialTask, folder: Path, should_stop: Callable[[], bool]) -> TrialRecord:
    """How the trial ends that is run here, well or badly."""
    try:
        return _finished(task, folder, should_stop)
    except Interrupted:
        raise
    except CheckpointError as broken:
        return failed_record(task, f"{broken.message}; remove '{folder}' to begin it anew")
    except ClifctlError as problem:
        return failed_record(task, problem.message)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}, line {where.lineno}"
        return failed_record(task, f"{type(error).__name__}: {error} ({place})")


def _finished(task: TrialTask, folder: Path, should_stop: Callable[[], bool]) -> TrialRecord:
    where = f"trial {task.trial}"
    loaded = LoadedRecipe(task.recipe, validate(task.document, where))
    times = _StepTimes()
    _reset_peak_memory(task.execution.resolve().device)
    options = RunOptions(task.execution, out=folder, resume="auto")
    result = train(loaded, options, times, should_stop)
    return TrialRecord(
        trial=task.trial,
        title=task.title,
        seed=loaded.recipe.train.seed,
        state="finished",
        attempts=task.attempt,
        problem=None,
        measured=_measured(result, times.ms, task),
    )


def failed_record(task: TrialTask, problem: str, *, lost: bool = False) -> TrialRecord:
    """The record of a trial that came to nothing."""
    return TrialRecord(
        trial=task.trial,
        title=task.title,
        seed=task.document["train"]["seed"],
        state="lost" if lost else "failed",
        attempts=task.attempt,
        problem=problem,
        measured=None,
    )


class _StepTimes:
    """Observes a run: how long its steps take."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self._last: tuple[int, float] | None = None

    def __call__(self, event: RunEvent) -> None:
        if not isinstance(event, StepDone):
            return
        now = time.perf_counter()
        # Between the last step of an epoch and the first of the next lies a test.
        if self._last is not None and self._last[0] == event.epoch:
            self.ms.append(1000 * (now - self._last[1]))
        self._last = (event.epoch, now)


def _measured(result: TrainResult, steps_ms: Sequence[float], task: TrialTask) -> Measured:
    quartiles: list[float | None] = [None, None, None]
    if len(steps_ms) >= 2:
        quartiles = [*statistics.quantiles(steps_ms, n=4, method="inclusive")]
    return Measured(
        **{name: getattr(result, name) for name in quantities_of(Quantities)},
        epoch_best=result.epoch_best,
        parameters=result.parameters,
        train_seconds=result.train_seconds,
        step_ms_median=quartiles[1],
        step_ms_quartile_low=quartiles[0],
        step_ms_quartile_high=quartiles[2],
        steps_timed=len(steps_ms),
        kept_for_backward_bytes=task.kept_for_backward_bytes,
        peak_memory_bytes=_peak_memory(result.device),
        beside=task.beside,
        device=result.device,
        target=result.target,
        connections=result.connections,
        torch_version=str(torch.__version__),
    )


def _reset_peak_memory(device: torch.device) -> None:
    """Let the high-water mark of this process start here: it may have run other trials."""
    if is_gpu(device):
        torch.cuda.reset_peak_memory_stats(device)
    if platform.system() == "Linux":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device: str) -> int | None:
    if is_gpu(torch.device(device)):
        return torch.cuda.max_memory_allocated(torch.device(device))
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None
