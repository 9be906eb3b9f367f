"""A grid from end to end: options, plan, dry run, and the records of its trials."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from clifctl import trust
from clifctl.amounts import counted, size_in_words
from clifctl.data import LoadedData
from clifctl.devices import available_memory_bytes
from clifctl.errors import DataError, RunFailed, UsageError
from clifctl.experiments.build import (
    build_net,
    list_data,
    load_data,
    require_trainable,
    run_on,
    step_activations_bytes,
    steps_of,
)
from clifctl.experiments.grid.dask_cluster import dask_workforce
from clifctl.experiments.grid.dispatch import (
    Dispatch,
    Shard,
    started,
)
from clifctl.experiments.grid.gpus import OPTION, Gpus, gpus_of
from clifctl.experiments.grid.results_folder import (
    ResultsFolder,
    cores,
)
from clifctl.experiments.grid.slurm_jobs import checked_script, submit
from clifctl.experiments.grid.slurm_queue import queue_of
from clifctl.experiments.grid.slurm_request import SlurmRequest
from clifctl.experiments.grid.trial import TrialTask
from clifctl.experiments.grid.trial_names import Numerics, Trial, trial_of, without_repetition
from clifctl.experiments.grid.workers import Workforce, local_workforce
from clifctl.experiments.run.execution import Execution, ExecutionOptions
from clifctl.experiments.run.memory import require_memory
from clifctl.experiments.run.resume import decisive
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe
from clifctl.results.events import GridObserver
from clifctl.results.trials import TrialRecord, TrialState, TrialStatus
from clifctl.training.memory import bytes_of

# What a process holds besides its trial: Python, torch, compiled kernels (measured: 0.87 GiB, most
# of it shared with the other processes).
PROCESS_BYTES = 1024 * 1024 * 1024
MOST_WORKERS = 512


@dataclass(frozen=True)
class GridOptions:
    """How the trials of a grid are run. `out` is the results folder, `workers` None: by the size
    of the net, on GPUs one each; `devices` are the numbers of those GPUs, None: of all, or the one
    that `execution` names; `scheduler` the address of a Dask cluster instead; `slurm` what the jobs
    ask for that run them."""

    out: Path
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    workers: int | None = None
    devices: tuple[int, ...] | None = None
    scheduler: str | None = None
    shard: Shard | None = None
    slurm: SlurmRequest | None = None
    fail_fast: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.slurm is not None:
            for name in ("workers", "devices", "scheduler", "shard", "fail_fast"):
                if getattr(self, name):
                    raise UsageError(
                        f"--submit slurm and --{name.replace('_', '-')} contradict each other",
                        hint="a job runs one trial; --slurm at-once=N has N of them run at once",
                    )
        if self.scheduler is not None and self.workers is not None:
            raise UsageError(
                "--workers and --scheduler contradict each other",
                hint="a cluster has as many workers as it has",
            )
        if self.scheduler is not None and self.devices is not None:
            raise UsageError(
                f"{OPTION} and --scheduler contradict each other",
                hint="CUDA_VISIBLE_DEVICES gives each worker of a cluster its GPU",
            )
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(
                f"--workers {self.workers}: must be between 1 and {MOST_WORKERS}",
                hint="without it the number is chosen by the size of the net",
            )


@dataclass(frozen=True)
class Size:
    """What a trial needs: bytes kept for backward, memory in all, and what its process takes of
    this machine's where the net is on a GPU; and what an epoch of it has: optimizer steps, samples
    of a step, samples to test. Without data an epoch has nothing."""

    kept_bytes: int
    need_bytes: int
    beside_gpu_bytes: int
    steps: int
    step_samples: int
    tested: int


@dataclass(frozen=True)
class Grid:
    """The trials of a command and everything that was found out before the first one runs.

    `cells` has the trial of each variant; two variants may come to the same one.
    """

    trials: tuple[Trial, ...]
    cells: tuple[str, ...]
    options: GridOptions
    execution: Execution
    folder: ResultsFolder
    numerics: Numerics
    workers: int
    workers_reason: str
    gpus: Gpus
    threads: int | None
    need_bytes: int
    sizes: dict[str, Size]
    unusable_data: DataError | None
    batch_script: str | None = None


def plan_grid(
    variants: Sequence[tuple[LoadedRecipe, str]], options: GridOptions, axes: Sequence[str] = ()
) -> Grid:
    """The grid of `variants` (a recipe and its title), checked as a whole. Writes nothing. `axes`:
    the keys in which its trials may differ, but for those of every grid.

    Raises ClifctlError for whatever would keep a trial from starting, but for data that are
    missing: those are `unusable_data`, for a dry run to tell.
    """
    if options.slurm is None:
        execution = options.execution.resolve()
    else:
        execution = options.slurm.execution(options.execution)
    numerics = _numerics(options, execution)
    folder = ResultsFolder(options.out, tuple(axes))
    cells = folder.named([trial_of(*variant, numerics) for variant in variants])
    trials = without_repetition(cells)
    folder.check(trials)
    sizes, unusable = _sizes(trials, execution, dry_run=options.dry_run)
    need = max(size.need_bytes for size in sizes.values())
    gpus = Gpus()
    if options.scheduler is None and options.slurm is None:
        gpus = gpus_of(options.devices, options.execution.device, execution.device)
        if not gpus:
            require_memory(execution.device, need, "a trial")
    most_kept = max(size.kept_bytes for size in sizes.values())
    execution = execution.for_step(most_kept)
    threads = execution.threads.count
    todo = sum(state_of(folder, trial) != "finished" for trial in trials)
    host = max(size.beside_gpu_bytes for size in sizes.values()) if gpus else need
    workers, reason = _workers(options, execution, gpus, max(1, todo), host)
    if gpus:
        gpus.require(need, workers)
    script = None if options.slurm is None else checked_script(options.out, options.slurm, todo)
    if options.execution.threads is None:
        # Alone, or on one thread anyway, a run finds its number of threads by itself.
        given = None if workers == 1 or threads == 1 else max(1, threads // workers)
    else:
        given = options.execution.threads
    return Grid(
        trials=trials,
        cells=tuple(cell.name for cell in cells),
        options=options,
        execution=execution,
        folder=folder,
        numerics=numerics,
        workers=workers,
        workers_reason=reason,
        gpus=gpus,
        threads=given,
        need_bytes=host,
        sizes=sizes,
        unusable_data=unusable,
        batch_script=script,
    )


def _numerics(options: GridOptions, execution: Execution) -> Numerics:
    if options.scheduler is None:
        return Numerics.of(execution)
    with dask_workforce(options.scheduler) as cluster:
        return cluster.numerics(options.execution)


def _sizes(
    trials: Sequence[Trial], execution: Execution, *, dry_run: bool
) -> tuple[dict[str, Size], DataError | None]:
    """The size of every trial, and what is wrong with the data. One look for trials that differ in
    their seed alone."""
    data: dict[str, tuple[LoadedData, int] | None] = {}
    seen: dict[str, Size] = {}
    sizes: dict[str, Size] = {}
    unusable: DataError | None = None
    for trial in trials:
        recipe = run_on(trial.loaded.recipe, execution.kernels)
        key = configuration(recipe)
        if key not in seen:
            source = f"{recipe.document['data']} {recipe.timesteps}"
            if source not in data:
                try:
                    data[source] = list_data(recipe) if dry_run else _loaded(recipe)
                except DataError as missing:
                    data[source], unusable = None, missing
            seen[key] = _size(recipe, data[source])
        sizes[trial.name] = seen[key]
    return sizes, unusable


def configuration(recipe: Recipe) -> str:
    """What decides time and memory: everything but the seed and, of the numbers that training
    computes with, more than whether they are zero."""
    document = decisive(recipe.document)
    train = {k: bool(v) if isinstance(v, float) else v for k, v in document["train"].items()}
    document["train"] = {**train, "seed": 0}
    return str(document)


def _loaded(recipe: Recipe) -> tuple[LoadedData, int]:
    data = load_data(recipe, download=True)
    return data, sum(split.held_bytes for split in data.splits)


def _size(recipe: Recipe, found: tuple[LoadedData, int] | None) -> Size:
    data, held = found or (None, 0)
    if data is not None:
        require_trainable(recipe, data)
    with torch.device("meta"):
        net = build_net(recipe)
    kept = step_activations_bytes(recipe, data)
    weights = 3 * bytes_of(*net.parameters()) + bytes_of(*net.buffers())
    need, beside = held + weights + kept + PROCESS_BYTES, held + PROCESS_BYTES
    if data is None:
        return Size(kept, need, beside, steps=0, step_samples=0, tested=0)
    return Size(
        kept,
        need,
        beside,
        steps=steps_of(recipe, data),
        step_samples=min(recipe.train.batch_size, len(data.train)),
        tested=sum(map(len, data.splits)) - len(data.train),
    )


def _workers(
    options: GridOptions, execution: Execution, gpus: Gpus, todo: int, need: int
) -> tuple[int, str]:
    if options.slurm is not None:
        return 1, "a job of Slurm each"
    if options.scheduler is not None:
        return 1, f"the cluster at {options.scheduler} decides"
    free = available_memory_bytes()
    fitting = todo if free is None else max(1, free // need)
    if options.workers is not None:
        if options.workers > max(1, fitting):
            raise UsageError(
                f"--workers {options.workers}: a trial needs about {size_in_words(need)}, and "
                f"{size_in_words(free or 0)} are free",
                hint=f"--workers {fitting} fits",
            )
        return min(options.workers, todo), "asked for"
    if gpus:
        count = min(len(gpus.devices), todo, fitting)
        each = f"each of {count} GPUs" if count > 1 else "a GPU"
        return count, f"auto: one trial at a time on {each}"
    threads = execution.threads.count
    share = max(1, cores() // threads)
    if fitting < min(share, todo):
        return fitting, "auto: as many as memory allows"
    if share == 1:
        return 1, "auto: a trial uses every core"
    return min(share, todo), f"auto: {counted(threads, 'thread')} a trial on {cores()} cores"


def run_grid(grid: Grid, observe: GridObserver) -> tuple[TrialRecord | None, ...]:
    """Run what is not finished, and return the records of all trials, None for those without.

    Raises DataError where the data are missing, Interrupted where it is ended before its end.
    """
    if grid.unusable_data is not None:
        raise grid.unusable_data
    options, folder = grid.options, grid.folder
    folder.open(grid.trials)
    part: Sequence[Trial] = grid.trials
    if options.shard is not None:
        part = options.shard.part(part)

    if options.slurm is not None:
        if grid.batch_script is not None:
            submit(part, folder, options.slurm, lambda trial: _task(grid, trial, 1, 1), observe)
        return tuple(folder.record(trial.name) for trial in grid.trials)

    def run(workforce: Workforce) -> None:
        dispatch = Dispatch(
            part,
            folder,
            lambda trial, attempt: _task(grid, trial, attempt, workforce.at_once),
            observe,
            need_bytes=grid.need_bytes if options.scheduler is None else 0,
            fail_fast=options.fail_fast,
        )
        dispatch.run(workforce)

    if all(state_of(folder, trial) == "finished" for trial in part):
        observe(started(part, folder, len(part)))
    elif options.scheduler is not None:
        with dask_workforce(options.scheduler) as cluster:
            run(cluster)
    else:
        with local_workforce(grid.workers, grid.gpus.of_workers(grid.workers)) as workforce:
            run(workforce)
    return tuple(folder.record(trial.name) for trial in grid.trials)


def _task(grid: Grid, trial: Trial, attempt: int, beside: int) -> TrialTask:
    asked = grid.options.execution if grid.options.slurm is None else grid.execution.options
    execution = replace(asked, threads=grid.threads)
    if grid.options.devices is not None:
        # That of the one worker that is this process; others have devices of their own.
        execution = replace(execution, device=grid.gpus.names[0])
    return TrialTask(
        id=uuid.uuid4().hex,
        trial=trial.name,
        title=trial.title,
        recipe=trial.loaded.name,
        document=trial.loaded.recipe.document,
        results=str(grid.folder.path.absolute()),
        working_folder=os.getcwd(),
        execution=execution,
        beside=beside,
        kept_for_backward_bytes=grid.sizes[trial.name].kept_bytes,
        attempt=attempt,
        trusted=trust.files(),
    )


def statuses(grid: Grid, records: Sequence[TrialRecord | None]) -> tuple[TrialStatus, ...]:
    """How each trial stands."""
    jobs = queue_of(grid.folder.path).states if grid.batch_script is not None else {}
    return tuple(
        TrialStatus(
            trial=trial.name,
            title=trial.title,
            seed=trial.seed,
            state=jobs.get(trial.name) or ("missing" if record is None else record.state),
            attempts=0 if record is None else record.attempts,
            problem=None if record is None else record.problem,
        )
        for trial, record in zip(grid.trials, records, strict=True)
    )


def raise_for_failures(found: Sequence[TrialStatus], folder: str) -> None:
    """Raise RunFailed where a trial failed; the result of the grid has been printed before."""
    failed = [one for one in found if one.state in ("failed", "lost")]
    if failed:
        raise RunFailed(
            f"{len(failed)} of {len(found)} trials failed: {failed[0].title}: {failed[0].problem}",
            hint=f"'{folder}/{failed[0].trial}.json' says more; the same command tries it again",
        )


def state_of(folder: ResultsFolder, trial: Trial) -> TrialState:
    """How a trial stands in its results folder."""
    record = folder.record(trial.name)
    return "missing" if record is None else record.state
