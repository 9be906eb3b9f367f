"""A net whose backward can be watched, layer by layer, and run again with another window.

Every layer of neurons is replaced by one that runs it without a graph and keeps what went in. The
forward is done once: its values do not depend on the window. Each backward runs the layer again,
with its graph and the window of the moment, in every layer alike.
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
    tells `watch`, if there is one, what passed through it. Batch norm must not keep running
    averages of what it sees: the net is in evaluation mode."""

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
    learnables: dict[str, Tensor] = dict(layer.named_parameters())
    parameters = Parameters(layer.neuron, layer.hyperparameters, learnables)
    leaf = current.detach().requires_grad_()
    with torch.enable_grad():
        spikes, _ = scan(leaf, None, parameters, window=window, target=layer.target)
    return torch.autograd.grad(spikes, leaf, g_spikes)[0]


class _ObservedLayer(nn.Module):
    def __init__(self, layer: SpikingLayer, watched: ObservedNet) -> None:
        super().__init__()
        self.layer = layer
        self.watched = watched

    def forward(
        self, x: Tensor, state: Any = None, norm: TemporalBatchNorm | None = None, repeat: int = 1
    ) -> tuple[Tensor, tuple[()]]:
        parameters = [*self.layer.parameters(), *(norm.parameters() if norm else ())]
        spikes = _Observed.apply(self, norm, repeat, x, *parameters)
        if self.layer.binary:
            mark_spikes(spikes)
        return spikes, ()


class _Observed(torch.autograd.Function):
    """A layer, the norm before it included; what is kept for backward is what went in."""

    @staticmethod
    def forward(
        ctx: Any,
        observed: _ObservedLayer,
        norm: TemporalBatchNorm | None,
        repeat: int,
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.observed, ctx.norm, ctx.repeat, ctx.parameters = observed, norm, repeat, parameters
        ctx.save_for_backward(x)
        return observed.layer(x, None, norm, repeat)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layer, watched, norm = ctx.observed.layer, ctx.observed.watched, ctx.norm
        (x,), (g_spikes,) = ctx.saved_tensors, gradients
        if watched.watch is not None:
            with torch.no_grad():
                current = x if norm is None else norm(x, ctx.repeat)
                current = current.expand(len(x) * ctx.repeat, *x.shape[1:])
            g_current = gradient_of_current(layer, current, g_spikes, watched.window)
            watched.watch(layer, current, g_spikes, g_current)
        own, leaf = (layer.window, layer.window_mode), x.detach().requires_grad_()
        layer.window, layer.window_mode = watched.window, "sliding"
        try:
            with torch.enable_grad():
                spikes = layer(leaf, None, norm, ctx.repeat)[0]
            found = torch.autograd.grad(spikes, [leaf, *ctx.parameters], g_spikes)
        finally:
            layer.window, layer.window_mode = own
        return None, None, None, *found
