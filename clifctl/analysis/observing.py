"""A net whose backward can be watched, layer by layer, and run again with another window.

Every layer of neurons is replaced by one that computes the same on the plain path (norm, then
neuron) and keeps the input current of its neurons. The forward is done once: its values do not
depend on the window. Each backward then takes the window of the moment, in every layer alike.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.kernels import mark_spikes, scan
from clifctl.models import SpikingLayer, SpikingNet, TemporalBatchNorm, firing_modules
from clifctl.neurons import Parameters

# Layer, input current x `[T, N, *]`, gradients of the loss with respect to the spikes and to x.
Watch = Callable[[SpikingLayer, Tensor, Tensor, Tensor], None]


class ObservedNet:
    """A net in which every layer of neurons takes `window` (None: full BPTT) in its backward, and
    tells `watch`, if there is one, what passed through it."""

    def __init__(self, net: SpikingNet) -> None:
        self.net = net
        self.layers = firing_modules(net)
        self.window: int | None = None
        self.watch: Watch | None = None

    def name_of(self, layer: SpikingLayer) -> str:
        """The name of a layer in the net."""
        return next(name for name, module in self.layers.items() if module is layer)


@contextmanager
def observed(net: SpikingNet) -> Iterator[ObservedNet]:
    """Within it, the layers of `net` are observed ones; afterwards it is as it was."""
    watched = ObservedNet(net)
    for name, layer in watched.layers.items():
        net.set_submodule(name, _ObservedLayer(layer, watched))
    try:
        yield watched
    finally:
        for name, layer in watched.layers.items():
            net.set_submodule(name, layer)


def gradient_of_current(
    layer: SpikingLayer, current: Tensor, g_spikes: Tensor, window: int | None
) -> Tensor:
    """The gradient of the loss with respect to the input current `[T, N, *]` of a layer, for the
    gradient `g_spikes` that arrives at its spikes, with a sliding window of `window` steps."""
    return _gradients(layer, current, _learnables(layer), g_spikes, window)[0]


class _ObservedLayer(nn.Module):
    def __init__(self, layer: SpikingLayer, watched: ObservedNet) -> None:
        super().__init__()
        self.layer = layer
        self.watched = watched

    def forward(
        self, x: Tensor, state: Any = None, norm: TemporalBatchNorm | None = None, repeat: int = 1
    ) -> tuple[Tensor, tuple[()]]:
        current = x if norm is None else norm(x, repeat)
        current = current.expand(x.shape[0] * repeat, *x.shape[1:])
        spikes = _Neurons.apply(self, current, *_learnables(self.layer))
        if self.layer.binary:
            mark_spikes(spikes)
        return spikes, ()


class _Neurons(torch.autograd.Function):
    """The neurons of a layer; what is kept for backward is their input current."""

    @staticmethod
    def forward(ctx: Any, observed: _ObservedLayer, current: Tensor, *learnables: Tensor) -> Tensor:
        ctx.observed = observed
        ctx.save_for_backward(current, *learnables)
        return _run(observed.layer, current, learnables, None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        current, *learnables = ctx.saved_tensors
        layer, watched = ctx.observed.layer, ctx.observed.watched
        (g_spikes,) = gradients
        g_current, *others = _gradients(layer, current, learnables, g_spikes, watched.window)
        if watched.watch is not None:
            watched.watch(layer, current, g_spikes, g_current)
        return None, g_current, *others


def _learnables(layer: SpikingLayer) -> list[Tensor]:
    return [layer.get_parameter(learnable.name) for learnable in layer.neuron.learnables]


def _run(layer: SpikingLayer, current: Tensor, learnables: Any, window: int | None) -> Tensor:
    names = [learnable.name for learnable in layer.neuron.learnables]
    tensors = dict(zip(names, learnables, strict=True))
    parameters = Parameters(layer.neuron, layer.hyperparameters, tensors)
    return scan(current, None, parameters, window=window, target=layer.target)[0]


def _gradients(
    layer: SpikingLayer, current: Tensor, learnables: Any, g_spikes: Tensor, window: int | None
) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in (current, *learnables)]
    with torch.enable_grad():
        spikes = _run(layer, leaves[0], leaves[1:], window)
    return torch.autograd.grad(spikes, leaves, g_spikes)
