"""What the neurons of a net do with a few samples: their spikes, and the membrane potential of some
of them. One forward pass in evaluation mode, watched layer by layer."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.analysis.simulation import Trace, observe
from clifctl.models import SpikingLayer, SpikingNet, firing_modules
from clifctl.neurons import Parameters


@dataclass(frozen=True)
class TracedNeuron:
    """One neuron of a layer: its number among the layer's neurons, and what it did with the first
    sample, each `[T]`."""

    number: int
    trace: Trace


@dataclass(frozen=True)
class LayerActivity:
    """A layer: its spikes `[T, N, shown]` in the neurons `numbers`, and neurons that were traced.
    None are where the layer's input current is not known: of recurrent layers, and of those that
    run in pieces."""

    layer: str
    neurons: int
    numbers: tuple[int, ...]
    spikes: Tensor
    traced: tuple[TracedNeuron, ...]


class _Seen:
    """What went into a layer of neurons and what came out, call by call."""

    def __init__(self, layer: SpikingLayer) -> None:
        self.layer = layer
        self.given: list[dict[str, Any]] = []
        self.spikes: list[Tensor] = []
        self._signature = inspect.signature(layer.forward)

    def __call__(self, layer: Any, given: Any, named: Any, output: tuple[Tensor, Any]) -> None:
        self.given.append(self._signature.bind(*given, **named).arguments)
        self.spikes.append(output[0].detach())

    def current(self) -> Tensor | None:
        """The input current `[T, 1, *]` of the first sample, None where it is not known."""
        given = self.given[0]
        in_pieces = len(self.given) > 1 or given.get("state") is not None
        if in_pieces or given.get("first_step") is not None or self.layer.recurrent is not None:
            return None
        x, norm, repeat = given["x"], given.get("norm"), given.get("repeat", 1)
        current = x[:, :1] if norm is None else norm(x, repeat)[:, :1]
        return current.expand(len(x) * repeat, *current.shape[1:])


@torch.inference_mode()
def activity(
    net: SpikingNet, inputs: Tensor, *, repeat: int, most_neurons: int
) -> tuple[Tensor, tuple[LayerActivity, ...]]:
    """The logits `[T, N, classes]` for `inputs` `[T or 1, N, *]`, and what every spiking layer did,
    in forward order: the spikes of `most_neurons` neurons of each at most, evenly chosen. The net's
    mode is restored."""
    seen = {
        name: _Seen(layer) for name, layer in firing_modules(net).items() if layer.neuron.spiking
    }
    handles = [one.layer.register_forward_hook(one, with_kwargs=True) for one in seen.values()]
    was_training = net.training
    net.eval()
    try:
        logits, _ = net(inputs, repeat=repeat)
        found = [_layer(name, one, most_neurons) for name, one in seen.items() if one.spikes]
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    return logits, tuple(found)


def _layer(name: str, seen: _Seen, most: int) -> LayerActivity:
    spikes = torch.cat(seen.spikes).flatten(2)
    neurons = spikes.shape[2]
    shown = min(neurons, most)
    numbers = torch.arange(shown) * neurons // shown
    current = seen.current()
    return LayerActivity(
        layer=name,
        neurons=neurons,
        numbers=tuple(numbers.tolist()),
        spikes=spikes[:, :, numbers.to(spikes.device)].cpu(),
        traced=() if current is None else _traced(seen.layer, current, spikes[:, 0]),
    )


def _traced(layer: SpikingLayer, current: Tensor, spikes: Tensor) -> tuple[TracedNeuron, ...]:
    """The neuron that spikes most, and one that spikes as often as the median of those that do."""
    counts = spikes.sum(0)
    order = torch.sort(counts, descending=True, stable=True).indices
    active = int((counts > 0).sum())
    parameters = Parameters(layer.neuron, layer.hyperparameters, layer.learnables())
    trace = observe(parameters, current, target="reference")  # nothing is compiled for few neurons
    places = dict.fromkeys(order[[0, active // 2 if active > 1 else 0]].tolist())

    def of_neuron(number: int) -> Trace:
        return trace.of(lambda signal: signal.flatten(1)[:, number].cpu())

    return tuple(TracedNeuron(number, of_neuron(number)) for number in places)
