"""What a training run needs, checked and counted before anything is written."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from clifctl.data import LoadedData
from clifctl.errors import DataError, UsageError
from clifctl.experiments.build import (
    build_net,
    list_data,
    load_data,
    parameter_count,
    require_trainable,
    run_on,
    step_activations_bytes,
)
from clifctl.experiments.run.connections import may_be_event_driven, tried_step
from clifctl.experiments.run.execution import Execution, ExecutionOptions
from clifctl.experiments.run.initial_weights import Start, start_from
from clifctl.experiments.run.memory import require_memory
from clifctl.files import require_folder_possible
from clifctl.launch import launch
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe
from clifctl.results.train import TrainPlan
from clifctl.training import run_folder
from clifctl.training.memory import bytes_of
from clifctl.training.precision import Arithmetic, resolve_precision

RUNS = Path("runs")
FILES = run_folder.FILES
Resume = Literal["never", "auto", "always"]
METRICS = run_folder.METRICS
CURVES, RATES = run_folder.CURVES, run_folder.RATES


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what. `out` is the run folder, None for `runs/<recipe>-<n>`; a run
    that is not `recorded` has none.

    `resume`: with "never" the folder must be new (or be replaced with `overwrite`); with "auto" a
    run of the same recipe in it goes on, or is returned if it is finished, and one that is not
    there begins; with "always" it must be there. `keep` is how many epochs' checkpoints are kept
    beside the last and the best, None as many as before. `init` is the checkpoint whose weights a
    new run starts from. With `changed_file` a run goes on with a neuron whose file has changed.
    """

    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    out: Path | None = None
    recorded: bool = True
    overwrite: bool = False
    resume: Resume = "never"
    keep: int | None = None
    init: Path | None = None
    changed_file: bool = False


@dataclass(frozen=True)
class Prepared:
    """A run that can start: its plan for people, its recipe on its kernels, its data on the CPU."""

    plan: TrainPlan
    recipe: Recipe
    data: LoadedData
    execution: Execution
    precision: Arithmetic
    start: Start | None = None

    @cached_property
    def data_sha256(self) -> str:
        """The hash of the data, which is computed once: large data take seconds."""
        return self.data.sha256()


def plan_training(loaded: LoadedRecipe, options: RunOptions) -> tuple[TrainPlan, DataError | None]:
    """Check everything that a run needs, data and shapes included, and write nothing. Where the
    data are missing or wrong: a plan without them, and what is wrong with them."""
    where = _Where.of(loaded, options, options.execution.resolve())
    start_from(options.init, where.recipe)
    data, held = None, 0
    unusable: DataError | None = None
    try:
        data, held = list_data(where.recipe)
    except DataError as missing:
        unusable = missing
    plan, execution = _plan(loaded, where, data, held)
    if may_be_event_driven(where.recipe):
        paths = tried_step(where.recipe, data, execution.threads.count)
        plan = replace(plan, connection_paths=paths)
    return plan, unusable


def prepare(loaded: LoadedRecipe, options: RunOptions, execution: Execution) -> Prepared:
    """As `plan_training`, with what was loaded on the way; `execution` is what the one of `options`
    came to. Raises ClifctlError, writes nothing."""
    where = _Where.of(loaded, options, execution)
    start = start_from(options.init, where.recipe)
    data = load_data(where.recipe, download=True)
    held = sum(split.held_bytes for split in data.splits)
    plan, execution = _plan(loaded, where, data, held)
    return Prepared(plan, where.recipe, data, execution, where.precision, start)


@dataclass(frozen=True)
class _Where:
    """Where a run takes place: its device, kernels and folder."""

    recipe: Recipe
    execution: Execution
    folder: Path | None
    precision: Arithmetic

    @classmethod
    def of(cls, loaded: LoadedRecipe, options: RunOptions, execution: Execution) -> "_Where":
        require_options(options)
        folder: Path | None = None
        if options.out is not None:
            may_exist = options.overwrite or options.resume != "never"
            run_folder.check_run_folder(options.out, overwrite=may_exist)
            folder = options.out
        elif options.recorded:
            require_folder_possible(RUNS)
            folder = RUNS / f"{loaded.name}-{run_folder.next_number(RUNS, loaded.name)}"
        precision = resolve_precision(loaded.recipe.train.precision, execution.device)
        return cls(run_on(loaded.recipe, execution.kernels), execution, folder, precision)


def require_options(options: RunOptions) -> None:
    """Raise UsageError for options that contradict each other."""
    if options.resume != "never" and options.out is None:
        raise UsageError(
            "--resume auto needs the run's folder", hint="name it: --out DIR --resume auto"
        )
    if options.resume != "never" and options.overwrite:
        raise UsageError(
            "--resume and --overwrite contradict each other",
            hint="give one: a run is resumed or replaced",
        )
    if options.keep is not None and options.keep < 0:
        raise UsageError(f"--keep {options.keep}: must be 0 or more", hint="0 keeps none")


def _plan(
    loaded: LoadedRecipe, where: _Where, data: LoadedData | None, held: int = 0
) -> tuple[TrainPlan, Execution]:
    """The plan, and the execution with the number of threads for it."""
    recipe, device = where.recipe, where.execution.device
    with torch.device("meta"):
        net = build_net(recipe)
    if data is not None:
        require_trainable(recipe, data, launch().count)
    # Weights, their gradients, and what the optimizer keeps are of one size each.
    moments = 1 if recipe.train.optimizer == "sgd" else 2
    weights = (2 + moments) * bytes_of(*net.parameters()) + bytes_of(*net.buffers())
    require_memory(device, held + weights)
    activations = step_activations_bytes(recipe, data, launch().count)
    execution = where.execution.for_step(activations)
    require_memory(device, held + weights + activations)
    plan = TrainPlan(
        recipe=loaded.name,
        processes=launch().count,
        **execution.facts,
        **execution.threads.facts,
        precision=where.precision.name,
        precision_reason=where.precision.reason,
        run_folder=None if where.folder is None else str(where.folder),
        continues_after=None,
        train_samples=None if data is None else len(data.train),
        test_samples=None if data is None else len(data.test),
        parameters=parameter_count(net),
        data_bytes=None if data is None else held,
        weights_bytes=weights,
        activations_bytes=activations,
        memory_bytes=held + weights + activations,
        resolved_recipe=recipe.document,
    )
    return plan, execution
