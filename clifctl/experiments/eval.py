"""`eval`: a checkpoint on the test data of its recipe."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from clifctl.data import LoadedData, batches
from clifctl.errors import ArgumentError, RunFailed
from clifctl.experiments.build import (
    build_net,
    load_data,
    loss_of,
    repeat_of,
    run_on,
    step_activations_bytes,
)
from clifctl.experiments.checkpoints import (
    CheckpointOptions,
    OpenedCheckpoint,
    for_timesteps,
    open_checkpoint,
)
from clifctl.experiments.run.memory import require_memory, require_net_fits
from clifctl.launch import launch
from clifctl.models import batch_statistics
from clifctl.recipe.schema import Recipe
from clifctl.results.eval import ClassCount, Confusion, EvalResult, Evaluation
from clifctl.training.device import tf32
from clifctl.training.distributed import Processes, joined
from clifctl.training.evaluation import Watch, evaluate
from clifctl.training.memory import bytes_of, largest_output

# Its own recipe, and whatever device there is.
DEFAULT = CheckpointOptions()


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """What is asked of an evaluation. `timesteps` replaces the T of the recipe;
    `use_batch_statistics` normalises with the statistics of each test batch instead of the running
    averages; `per_class` keeps the count of every class, `confusion` that of every pair of classes;
    `picture` names the file that will be drawn."""

    timesteps: int | None = None
    use_batch_statistics: bool = False
    per_class: bool = False
    confusion: bool = False
    picture: str | None = None


PLAIN = EvalRequest()
# A batch of more steps takes as much more.
_FEW_STEPS = 64


def evaluate_checkpoint(
    path: Path,
    options: CheckpointOptions = DEFAULT,
    request: EvalRequest = PLAIN,
    *,
    watch: Watch = nullcontext,
) -> EvalResult:
    """Evaluate the checkpoint `path`, opened and run as `options` say; `watch` is that of
    `evaluate`. Raises CheckpointError, RecipeError, UsageError where that cannot be done.
    """
    return _evaluation(
        str(path),
        lambda: open_checkpoint(path, options, timesteps=request.timesteps),
        options,
        request,
        watch,
    )


def evaluate_net(
    opened: OpenedCheckpoint,
    options: CheckpointOptions = DEFAULT,
    request: EvalRequest = PLAIN,
    *,
    watch: Watch = nullcontext,
) -> EvalResult:
    """As `evaluate_checkpoint`, for what is no file: see `OpenedNet`."""
    return _evaluation(
        None,
        lambda: for_timesteps(opened, request.timesteps, f"recipe '{opened.name}'"),
        options,
        request,
        watch,
    )


def _evaluation(
    path: str | None,
    opening: Callable[[], OpenedCheckpoint],
    options: CheckpointOptions,
    request: EvalRequest,
    watch: Watch,
) -> EvalResult:
    started = time.perf_counter()
    own = launch()
    use_batch_statistics = request.use_batch_statistics
    _require_whole_batches(use_batch_statistics, own.count)
    execution = options.execution.resolve()
    where = execution.device
    with joined(own, where) as processes:
        opened = processes.agree(opening)
        recipe = processes.agree(lambda: run_on(options.placed(opened.recipe), execution.kernels))
        processes.agree(lambda: require_fits(recipe, where))
        data = processes.agree(lambda: load_data(recipe))
        samples = -(-min(recipe.eval.batch_size, len(data.test)) // own.count)
        held = sum(split.held_bytes for split in data.splits)
        processes.agree(lambda: require_fits(recipe, where, samples=samples, held_bytes=held))
        data = data.to(where)
        kept = step_activations_bytes(recipe, data, own.count)
        torch.set_num_threads(execution.for_step(kept).threads.count)
        with tf32(recipe.train.tf32):
            evaluation = _evaluated(
                opened, recipe, data, where, use_batch_statistics, processes, watch
            )
    if not math.isfinite(evaluation.loss):
        raise RunFailed(
            f"the loss of '{path or opened.name}' is {evaluation.loss}",
            hint="its weights are not usable",
        )
    top5 = evaluation.accuracy_top5_percent_per_step
    return EvalResult(
        checkpoint=path,
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
        per_class=_named(evaluation.per_class, data.class_names) if request.per_class else None,
        confusion=_confusion(evaluation, data.class_names) if request.confusion else None,
        firing_rate=evaluation.firing_rate,
        firing_rates=evaluation.firing_rates,
        seconds=time.perf_counter() - started,
        **execution.facts,
        published=opened.published(data),
        picture=request.picture,
    )


def _confusion(evaluation: Evaluation, names: tuple[str, ...] | None) -> Confusion:
    """The confusion matrix, with a name for every class where classes have any."""
    classes = len(evaluation.confusion)
    if names is not None:
        unnamed = (str(label) for label in range(len(names), classes))
        names = (*names, *unnamed)[:classes]
    return Confusion(class_names=names, counts=evaluation.confusion)


def _named(counts: tuple[ClassCount, ...], names: tuple[str, ...] | None) -> tuple[ClassCount, ...]:
    """`counts` with the names of their classes, where classes have any."""
    if names is None:
        return counts
    known = dict(enumerate(names))
    return tuple(
        replace(
            count,
            name=known.get(count.label),
            mistaken_for_name=None if count.mistaken_for is None else known.get(count.mistaken_for),
        )
        for count in counts
    )


def require_fits(
    recipe: Recipe, where: torch.device, *, samples: int = 0, held_bytes: int = 0
) -> None:
    """Raise RecipeError where `where` cannot hold the net, and beside it a batch of `samples` and
    `held_bytes` of data."""
    steps = min(recipe.timesteps, _FEW_STEPS)
    shorter = replace(recipe, timesteps=steps)
    repeat = repeat_of(shorter)
    with torch.device("meta"):
        net = build_net(shorter).eval()
        require_net_fits(net, where)
        if not samples:
            return
        inputs = torch.empty(steps // repeat, samples, *recipe.data.input_shape)
    batch = largest_output(net, inputs, repeat=repeat) * recipe.timesteps // steps
    weights = bytes_of(*net.parameters(), *net.buffers())
    require_memory(where, held_bytes + weights + batch, "the evaluation")


def _evaluated(
    opened: OpenedCheckpoint,
    recipe: Recipe,
    data: LoadedData,
    where: torch.device,
    use_batch_statistics: bool,
    processes: Processes,
    watch: Watch,
) -> Evaluation:
    net = opened.net(recipe, where)
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
            watch=watch,
            processes=processes,
        )


def _require_whole_batches(use_batch_statistics: bool, processes: int) -> None:
    if use_batch_statistics and processes > 1:
        raise ArgumentError(
            "use_batch_statistics",
            None,
            "they are those of whole batches, which several processes would divide",
            hint="run it in one process, without torchrun or srun",
        )


def _require_two_a_batch(batch_size: int, samples: int) -> None:
    if 1 in (batch_size, samples % batch_size):
        raise ArgumentError(
            "use_batch_statistics",
            None,
            f"eval.batch_size = {batch_size} makes a batch of one sample",
            hint="leave it out: batch norm needs two",
        )
