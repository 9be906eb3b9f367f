"""What a training run needs, checked and counted before anything is written."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from clifctl.data import LoadedData
from clifctl.errors import RecipeError
from clifctl.experiments.assembly import (
    build_net,
    load_data,
    parameter_count,
    require_trainable,
    run_on,
    step_activations_bytes,
)
from clifctl.files import require_folder_possible
from clifctl.kernels import Target, resolve_target
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe
from clifctl.results import TrainPlan
from clifctl.training import run_folder
from clifctl.training.device import Threads, resolve_device, resolve_threads
from clifctl.training.memory import bytes_of

RUNS = Path("runs")
FILES = run_folder.FILES


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what. `out` is the run folder, None for `runs/<recipe>-<n>`."""

    device: str = "auto"
    out: Path | None = None
    overwrite: bool = False
    threads: int | None = None
    target: str = "auto"


@dataclass(frozen=True)
class Prepared:
    """A run that can start: its plan for people, its recipe on its target, its data on the CPU."""

    plan: TrainPlan
    recipe: Recipe
    data: LoadedData
    device: torch.device
    target: Target
    threads: Threads


def plan_training(loaded: LoadedRecipe, options: RunOptions) -> TrainPlan:
    """Check everything that a run needs, data and shapes included, and write nothing."""
    return prepare(loaded, options).plan


def prepare(loaded: LoadedRecipe, options: RunOptions) -> Prepared:
    """As `plan_training`, with what was loaded on the way. Raises ClifctlError, writes nothing."""
    device = resolve_device(options.device)
    target = resolve_target(options.target, device)
    recipe = run_on(loaded.recipe, target)
    if options.out is not None:
        run_folder.check_run_folder(options.out, overwrite=options.overwrite)
        folder = options.out
    else:
        require_folder_possible(RUNS)
        folder = RUNS / f"{loaded.name}-{run_folder.next_number(RUNS, loaded.name)}"
    with torch.device("meta"):
        net = build_net(recipe)
    data = load_data(recipe)
    require_trainable(recipe, data)
    activations = step_activations_bytes(recipe, data)
    threads = resolve_threads(options.threads, activations)
    # Weights, their gradients and SGD's momentum are of one size each.
    weights = 3 * bytes_of(*net.parameters()) + bytes_of(*net.buffers())
    held = sum(bytes_of(split.inputs, split.targets) for split in data.splits)
    _require_memory(device, held + weights + activations)
    plan = TrainPlan(
        recipe=loaded.name,
        device=str(device),
        target=target.name,
        target_reason=target.reason,
        threads=threads.count,
        threads_reason=threads.reason,
        run_folder=str(folder),
        train_samples=len(data.train),
        test_samples=len(data.test),
        parameters=parameter_count(net),
        data_bytes=held,
        weights_bytes=weights,
        activations_bytes=activations,
        memory_bytes=held + weights + activations,
        resolved_recipe=recipe.document,
    )
    return Prepared(plan, recipe, data, device, target, threads)


def _require_memory(device: torch.device, needed: int) -> None:
    """Raise RecipeError where the device cannot hold the run at all."""
    if device.type == "cuda":
        available = torch.cuda.get_device_properties(device).total_memory
    else:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise RecipeError(
            f"the run needs about {needed / 2**30:,.1f} GiB of memory, '{device}' has "
            f"{available / 2**30:,.1f} GiB",
            hint="choose a smaller net, fewer timesteps or a smaller train.batch_size",
        )
