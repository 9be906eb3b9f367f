"""`eval`: a checkpoint on the test data of its recipe."""

import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from clifctl.data import batches
from clifctl.errors import RunFailed, UsageError
from clifctl.experiments.assembly import (
    build_net,
    load_data,
    loss_of,
    repeat_of,
    run_on,
    step_activations_bytes,
)
from clifctl.kernels import resolve_target
from clifctl.models import batch_statistics
from clifctl.recipe.schema import validate
from clifctl.results import EvalResult
from clifctl.training.checkpoint import load_checkpoint, load_weights
from clifctl.training.device import resolve_device, resolve_threads
from clifctl.training.evaluation import evaluate


def evaluate_checkpoint(
    path: Path,
    *,
    device: str = "auto",
    target: str = "auto",
    threads: int | None = None,
    use_batch_statistics: bool = False,
    neuron: str | None = None,
) -> EvalResult:
    """Evaluate the checkpoint `path` with the recipe that it carries.

    `use_batch_statistics` normalises with the statistics of each test batch instead of the running
    averages. `neuron` is a neuron FILE.py:NAME that the checkpoint may load. Raises
    CheckpointError, RecipeError or UsageError where that cannot be done.
    """
    started = time.perf_counter()
    where = resolve_device(device)
    checkpoint = load_checkpoint(path)
    trusted = [] if neuron is None else [neuron]
    where_from = f"recipe of checkpoint '{path}'"
    chosen = resolve_target(target, where)
    recipe = run_on(validate(checkpoint.recipe, where_from, trusted_files=trusted), chosen)
    data = load_data(recipe).to(where)
    kept = step_activations_bytes(recipe, data)
    torch.set_num_threads(resolve_threads(threads, kept).count)
    with torch.device("meta"):
        net = build_net(recipe)
    net.to_empty(device=where)
    load_weights(net, checkpoint, path)
    batch_size = recipe.eval.batch_size
    if use_batch_statistics and 1 in (batch_size, len(data.test) % batch_size):
        raise UsageError(
            f"--batch-statistics: eval.batch_size = {batch_size} makes a batch of one sample",
            hint="batch norm needs two: train with another eval.batch_size",
        )
    with batch_statistics(net) if use_batch_statistics else nullcontext():
        evaluation = evaluate(
            net,
            batches(data.test, batch_size),
            loss_of(recipe),
            repeat=repeat_of(recipe),
            with_rates=True,
        )
    if not math.isfinite(evaluation.loss):
        raise RunFailed(
            f"the loss of '{path}' is {evaluation.loss}", hint="its weights are not usable"
        )
    return EvalResult(
        checkpoint=str(path),
        recipe=checkpoint.recipe_name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        epoch=checkpoint.epoch,
        seed=recipe.train.seed,
        batch_statistics=use_batch_statistics,
        batch_size=batch_size,
        samples=evaluation.samples,
        accuracy_percent=evaluation.accuracy_percent,
        loss=evaluation.loss,
        cross_entropy=evaluation.cross_entropy,
        accuracy_percent_per_step=evaluation.accuracy_percent_per_step,
        firing_rate=evaluation.firing_rate,
        firing_rates=evaluation.firing_rates,
        seconds=time.perf_counter() - started,
        device=str(where),
        target=chosen.name,
        target_reason=chosen.reason,
    )
