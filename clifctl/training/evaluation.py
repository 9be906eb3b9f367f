"""Evaluation of a net: loss, accuracy after each time step, firing rates."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from torch import Tensor

from clifctl.models import FiringRates, SpikingNet
from clifctl.results import Evaluation, LayerRate
from clifctl.training.loss import hard_labels, step_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]


@torch.inference_mode()
def evaluate(
    net: SpikingNet, batches: Batches, loss: Loss, *, repeat: int, with_rates: bool = False
) -> Evaluation:
    """Evaluate `net` in evaluation mode over `batches` (inputs `[T, N, *]`, labels `[N]`
    or `[N, classes]`).

    `repeat` is that of the net's forward. The class is the argmax of the logits summed over the
    time steps so far. The net's mode is restored afterwards.
    """
    was_training = net.training
    net.eval()
    rates = FiringRates(net)
    samples, loss_sum, cross_entropy_sum, correct = 0, 0.0, 0.0, None
    try:
        with rates.recording() if with_rates else nullcontext():
            for inputs, targets in batches:
                logits, _ = net(inputs, repeat=repeat)
                decided = logits.cumsum(0).argmax(2) == hard_labels(targets)
                correct = decided.sum(1) if correct is None else correct + decided.sum(1)
                loss_sum += loss(logits, targets).item() * len(targets)
                cross_entropy_sum += step_cross_entropy(logits, targets).item() * len(targets)
                samples += len(targets)
    finally:
        net.train(was_training)
    if correct is None:
        raise ValueError("evaluation needs at least one batch")
    per_step = tuple(100.0 * count / samples for count in correct.tolist())
    spread = rates.sample_std()
    layers = tuple(
        LayerRate(
            layer=name,
            neurons=rates.neurons[name],
            firing_rate=sum(steps) / len(steps),
            firing_rate_sample_std=spread[name],
            firing_rate_per_step=tuple(steps),
        )
        for name, steps in rates.per_step().items()
    )
    return Evaluation(
        samples=samples,
        loss=loss_sum / samples,
        cross_entropy=cross_entropy_sum / samples,
        accuracy_percent=per_step[-1],
        accuracy_percent_per_step=per_step,
        firing_rate=_mean_rate(layers),
        firing_rates=layers,
    )


def _mean_rate(layers: tuple[LayerRate, ...]) -> float | None:
    """Spikes per neuron and time step over the whole net."""
    neurons = sum(layer.neurons for layer in layers)
    if neurons == 0:
        return None
    return sum(layer.firing_rate * layer.neurons for layer in layers) / neurons
