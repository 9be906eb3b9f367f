"""`eval`: a checkpoint on the test data of its recipe."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from clifctl.data import LoadedData, batches
from clifctl.errors import RunFailed, UsageError
from clifctl.experiments.assembly import (
    at_root,
    build_net,
    load_data,
    loss_of,
    repeat_of,
    run_on,
    step_activations_bytes,
)
from clifctl.experiments.published import published_for
from clifctl.kernels import resolve_target
from clifctl.launch import launch
from clifctl.models import SpikingNet, batch_statistics
from clifctl.neurons.loading import is_file_reference
from clifctl.recipe.catalog import SUFFIXES
from clifctl.recipe.load import LoadedRecipe
from clifctl.recipe.schema import Recipe, validate
from clifctl.results import EvalResult, Evaluation, Published
from clifctl.training.checkpoint import load_checkpoint, load_weights
from clifctl.training.device import resolve_device, resolve_threads
from clifctl.training.distributed import Processes, joined
from clifctl.training.evaluation import evaluate
from clifctl.training.foreign import load_foreign, load_foreign_weights


@dataclass(frozen=True)
class Opened:
    """A checkpoint, whoever wrote it: its recipe, and what puts its weights into a net.

    `trained_neuron` is the neuron that a converted net was trained with, None of any other."""

    name: str
    recipe: Recipe
    epoch: int | None
    seed: int | None
    fill: Callable[[SpikingNet], None]
    trained_neuron: str | None = None

    def published(self, data: LoadedData) -> Published:
        """The paper's accuracies on `data`; none for a converted net, since the paper's nets were
        trained with the neurons that they have."""
        return published_for(self.recipe, data) if self.trained_neuron is None else Published()


def _open(path: Path, neuron: str | None) -> Opened:
    if neuron is not None and not is_file_reference(neuron):
        raise UsageError(
            f"--neuron {neuron}: must be FILE.py:NAME, the checkpoint's own neuron",
            hint="leave it out for a neuron of clifctl; clifctl convert puts a net on LIF",
        )
    checkpoint = load_checkpoint(path)
    trusted = [] if neuron is None else [neuron]
    recipe = validate(checkpoint.recipe, f"recipe of checkpoint '{path}'", trusted_files=trusted)
    recipe = replace(recipe, neuron=recipe.neuron_at(checkpoint.epoch_of_weights))
    return Opened(
        checkpoint.recipe_name,
        recipe,
        checkpoint.epoch,
        recipe.train.seed,
        lambda net: load_weights(net, checkpoint, path),
        checkpoint.trained_neuron,
    )


def _open_foreign(path: Path, given: LoadedRecipe) -> Opened:
    foreign = load_foreign(path)
    return Opened(
        given.name,
        given.recipe,
        foreign.epoch,
        None,
        lambda net: load_foreign_weights(net, foreign, path),
    )


def is_checkpoint(source: str) -> bool:
    """Whether `source` is the path of a checkpoint, and not a recipe."""
    path = Path(source)
    if source == "-" or path.suffix in SUFFIXES:
        return False
    return path.exists() or bool(path.suffix)


def open_checkpoint(
    path: Path,
    neuron: str | None = None,
    foreign_recipe: LoadedRecipe | None = None,
    timesteps: int | None = None,
    root: Path | None = None,
) -> Opened:
    """The checkpoint `path`, as `evaluate_checkpoint` takes it. Raises CheckpointError,
    RecipeError."""
    opened = _open(path, neuron) if foreign_recipe is None else _open_foreign(path, foreign_recipe)
    if timesteps is not None:
        document = {**opened.recipe.document, "timesteps": timesteps}
        opened = replace(opened, recipe=validate(document, f"checkpoint '{path}'"))
    return opened if root is None else replace(opened, recipe=at_root(opened.recipe, root))


def evaluate_checkpoint(
    path: Path,
    *,
    device: str = "auto",
    target: str = "auto",
    threads: int | None = None,
    use_batch_statistics: bool = False,
    neuron: str | None = None,
    foreign_recipe: LoadedRecipe | None = None,
    root: Path | None = None,
    per_class: bool = False,
    picture: str | None = None,
    timesteps: int | None = None,
) -> EvalResult:
    """Evaluate the checkpoint `path` with the recipe that it carries, or a state dict of other
    code with `foreign_recipe`.

    `use_batch_statistics` normalises with the statistics of each test batch instead of the running
    averages. `neuron` is a neuron FILE.py:NAME that the checkpoint may load, `timesteps` another T
    than the recipe's. `per_class` keeps the count of every class; `picture` names the file that
    will be drawn. Raises CheckpointError, RecipeError, UsageError where that cannot be done.
    """
    started = time.perf_counter()
    own = launch()
    _require_whole_batches(use_batch_statistics, own.count)
    where = resolve_device(device, own)
    chosen = resolve_target(target, where)
    with joined(own, where) as processes:
        opened = processes.agree(
            lambda: open_checkpoint(path, neuron, foreign_recipe, timesteps, root)
        )
        recipe = run_on(opened.recipe, chosen)
        data = processes.agree(lambda: load_data(recipe).to(where))
        kept = step_activations_bytes(recipe, data, own.count)
        torch.set_num_threads(resolve_threads(threads, kept).count)
        evaluation = _evaluated(opened, recipe, data, where, use_batch_statistics, processes)
    if not math.isfinite(evaluation.loss):
        raise RunFailed(
            f"the loss of '{path}' is {evaluation.loss}", hint="its weights are not usable"
        )
    top5 = evaluation.accuracy_top5_percent_per_step
    return EvalResult(
        checkpoint=str(path),
        recipe=opened.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        epoch=opened.epoch,
        seed=opened.seed,
        batch_statistics=use_batch_statistics,
        batch_size=recipe.eval.batch_size,
        samples=evaluation.samples,
        accuracy_percent=evaluation.accuracy_percent,
        accuracy_top5_percent=None if top5 is None else top5[-1],
        loss=evaluation.loss,
        cross_entropy=evaluation.cross_entropy,
        accuracy_percent_per_step=evaluation.accuracy_percent_per_step,
        accuracy_top5_percent_per_step=top5,
        cross_entropy_per_step=evaluation.cross_entropy_per_step,
        per_class=evaluation.per_class if per_class else None,
        firing_rate=evaluation.firing_rate,
        firing_rates=evaluation.firing_rates,
        seconds=time.perf_counter() - started,
        device=str(where),
        target=chosen.name,
        target_reason=chosen.reason,
        published=opened.published(data),
        picture=picture,
    )


def filled_net(opened: Opened, recipe: Recipe, where: torch.device) -> SpikingNet:
    """The net of `recipe` with the checkpoint's weights. Raises CheckpointError."""
    with torch.device("meta"):
        net = build_net(recipe)
    net.to_empty(device=where)
    opened.fill(net)
    return net


def _evaluated(
    opened: Opened,
    recipe: Recipe,
    data: LoadedData,
    where: torch.device,
    use_batch_statistics: bool,
    processes: Processes,
) -> Evaluation:
    net = filled_net(opened, recipe, where)
    batch_size = recipe.eval.batch_size
    if use_batch_statistics:
        _require_two_a_batch(batch_size, len(data.test))
    test = data.test
    if processes.several:
        test = test.part(processes.part(len(test)))
    with batch_statistics(net) if use_batch_statistics else nullcontext():
        return evaluate(
            net,
            batches(test, batch_size),
            loss_of(recipe),
            repeat=repeat_of(recipe),
            with_rates=True,
            processes=processes,
        )


def _require_whole_batches(use_batch_statistics: bool, processes: int) -> None:
    if use_batch_statistics and processes > 1:
        raise UsageError(
            "--batch-statistics are those of whole batches, which several processes would divide",
            hint="run it in one process, without torchrun",
        )


def _require_two_a_batch(batch_size: int, samples: int) -> None:
    if 1 in (batch_size, samples % batch_size):
        raise UsageError(
            f"--batch-statistics: eval.batch_size = {batch_size} makes a batch of one sample",
            hint="batch norm needs two: train with another eval.batch_size",
        )
