"""What a net does with test data, as far as that takes a few seconds: for a report."""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clifctl.analysis.activity import LayerActivity, activity
from clifctl.data.contract import Split
from clifctl.experiments.build import (
    load_data,
    loss_of,
    repeat_of,
    run_on,
)
from clifctl.experiments.checkpoints import CheckpointOptions, OpenedCheckpoint
from clifctl.models import SpikingNet, firing_modules
from clifctl.recipe.schema import Recipe
from clifctl.results.activity import LayerSpikes, NetActivity, NeuronTrace, ShownSample
from clifctl.results.eval import Evaluation
from clifctl.training.device import tf32
from clifctl.training.evaluation import evaluate

SHOWN = 3  # samples whose spikes are shown
_MOST_NEURONS, _FEWEST_NEURONS = 24, 4  # of a layer
_MOST_CELLS = 60_000  # neurons times steps that are shown of all layers
_TRACED_LAYERS = 3
_BATCH = 64
_FEWEST = 32  # samples that are worth an accuracy
_MOST_PIXELS = 64  # along a side of a picture


def net_activity(
    opened: OpenedCheckpoint, options: CheckpointOptions, *, samples: int | None, seconds: float
) -> NetActivity:
    """The net of a checkpoint on so many samples of its test data, evenly chosen (None: as many as
    take about so many `seconds`), and the spikes of a few. Nothing is trained.

    Raises ClifctlError for weights or data that cannot be used.
    """
    execution = options.execution.resolve()
    recipe = run_on(options.placed(opened.recipe), execution.kernels)
    data = load_data(recipe).to(execution.device)
    net = opened.net(recipe, execution.device)
    test = data.test
    with tf32(recipe.train.tf32):
        few = _spread(len(test), SHOWN)
        inputs, targets = next(iter(test.read([few])))
        logits, layers = activity(
            net,
            test.prepared(inputs),
            repeat=repeat_of(recipe),
            most_neurons=_neurons_shown(net, recipe.timesteps),
        )
        # Input currents of a batch, in float32: what a training step would keep takes too long to
        # be found out here.
        currents = 4 * _BATCH * recipe.timesteps * sum(layer.neurons for layer in layers)
        torch.set_num_threads(execution.for_step(currents).threads.count)
        count = _affordable(net, recipe, test, seconds) if samples is None else samples
        evaluation = None
        if count >= min(_FEWEST, len(test)) or samples is not None:
            evaluation = _evaluated(net, recipe, test, min(count, len(test)))
    return NetActivity(
        samples=len(test),
        evaluation=evaluation,
        class_names=data.class_names,
        timesteps=recipe.timesteps,
        neuron=recipe.neuron.neuron.name,
        shown=_shown(few, targets, logits, inputs),
        layers=tuple(_spikes(layer) for layer in layers),
        traces=_traces(layers),
    )


def _spread(samples: int, count: int) -> Tensor:
    """The numbers of `count` of so many samples, evenly chosen."""
    count = min(count, samples)
    return torch.arange(count) * samples // count


def _neurons_shown(net: SpikingNet, timesteps: int) -> int:
    """How many neurons of each layer a page has room for."""
    cells = SHOWN * timesteps * max(1, len(firing_modules(net)))
    return max(_FEWEST_NEURONS, min(_MOST_NEURONS, _MOST_CELLS // cells))


def _affordable(net: SpikingNet, recipe: Recipe, test: Split, seconds: float) -> int:
    """How many samples take so many seconds, in round numbers; all, if these are fewer."""
    few = _spread(len(test), 16)
    _evaluated(net, recipe, test, len(few))  # what is compiled is compiled now
    started = time.perf_counter()
    _evaluated(net, recipe, test, len(few))
    most = int(seconds / (time.perf_counter() - started) * len(few))
    if most >= len(test):
        return len(test)
    power = 10 ** max(0, int(math.log10(max(most, 1))) - 1)
    return most // power * power


def _evaluated(net: SpikingNet, recipe: Recipe, test: Split, count: int) -> Evaluation:
    orders = _spread(len(test), count).split(min(_BATCH, recipe.eval.batch_size))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in test.read(orders):
            yield test.prepared(inputs), targets

    loss, repeat = loss_of(recipe), repeat_of(recipe)
    return evaluate(net, batches(), loss, repeat=repeat, with_rates=True)


def _shown(
    numbers: Tensor, targets: Tensor, logits: Tensor, stored: Tensor
) -> tuple[ShownSample, ...]:
    decided = logits.cumsum(0).argmax(2).cpu()
    return tuple(
        ShownSample(
            number=int(number),
            label=int(targets[at]),
            decided=tuple(decided[:, at].tolist()),
            picture=_picture(stored[:, at].cpu()),
        )
        for at, number in enumerate(numbers)
    )


def _picture(stored: Tensor) -> tuple[tuple[int | tuple[int, int, int], ...], ...] | None:
    """A sample `[T or 1, *]` as a picture: an image as it is, frames of events added up, a sequence
    of vectors with time from left to right."""
    if stored.dim() == 4:
        values = stored.float().sum(0)
        values = values if len(values) == 3 else values.sum(0, keepdim=True)
    elif stored.dim() == 2 and len(stored) > 1:
        values = stored.float().T[None]
    else:
        return None
    every = -(-max(values.shape[1:]) // _MOST_PIXELS)
    values = values[:, ::every, ::every]
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) * (255 / ((high - low) or 1.0))).round().int()
    rows: Sequence[Sequence[Sequence[int]]] = scaled.permute(1, 2, 0).tolist()
    if len(values) == 3:
        return tuple(tuple((one[0], one[1], one[2]) for one in row) for row in rows)
    return tuple(tuple(one[0] for one in row) for row in rows)


def _spikes(layer: LayerActivity) -> LayerSpikes:
    each = layer.spikes.permute(1, 2, 0).tolist()
    return LayerSpikes(
        layer=layer.layer,
        neurons=layer.neurons,
        numbers=layer.numbers,
        spikes=tuple(tuple(map(tuple, sample)) for sample in each),
    )


def _traces(layers: Sequence[LayerActivity]) -> tuple[NeuronTrace, ...]:
    """The traced neurons of the first, the middle and the last layer."""
    known = [layer for layer in layers if layer.traced]
    places = dict.fromkeys((0, len(known) // 2, len(known) - 1)) if known else {}
    return tuple(
        NeuronTrace(
            layer=known[at].layer,
            number=one.number,
            x=tuple(one.trace.x.tolist()),
            spikes=tuple(one.trace.spikes.tolist()),
            u=None if one.trace.u is None else tuple(one.trace.u.tolist()),
            threshold=None if one.trace.threshold is None else tuple(one.trace.threshold.tolist()),
            states={name: tuple(values.tolist()) for name, values in one.trace.states.items()},
        )
        for at in list(places)[:_TRACED_LAYERS]
        for one in known[at].traced
    )
