"""How much gradient comes from how many steps later, in every layer of a net.

A layer by itself is analysed in `clifctl.analysis.layer`, with the gradient of full BPTT arriving
at its spikes. For the net as a whole, the window is that of every layer at once, and the gradients
compared are those of the weights.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from clifctl.analysis.layer import LayerAnalysis, dot, layer_analysis
from clifctl.analysis.observing import ObservedNet, observed
from clifctl.models import SpikingLayer, SpikingNet

# Loss of logits `[T, N, classes]`.
LossOfLogits = Callable[[Tensor], Tensor]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class WindowAnalysis:
    """The gradient of the weights with window k in every layer, against full BPTT: cosine and
    relative distance |W_k - W| / |W| over all weights, and the cosine of each weight tensor."""

    window: int
    cosine: float | None
    distance: float | None
    cosine_of_weights: dict[str, float | None]


@dataclass(frozen=True)
class TemporalGradients:
    """What an analysis finds: layers in forward order, windows 1 to T."""

    layers: tuple[LayerAnalysis, ...]
    windows: tuple[WindowAnalysis, ...]

    @property
    def temporal_share(self) -> float | None:
        """The mean of the layers' temporal shares."""
        known = [layer.temporal_share for layer in self.layers]
        shares = [share for share in known if share is not None]
        return sum(shares) / len(shares) if shares else None


def analyse(
    net: SpikingNet,
    inputs: Tensor,
    loss: LossOfLogits,
    *,
    repeat: int,
    layers: Collection[str] | None = None,
    formula: str = "exact",
    windows: bool = True,
) -> TemporalGradients:
    """The temporal gradients of `net` on one batch `[T, N, *]` (`[1, N, *]` with `repeat` = T).

    The net is in evaluation mode, with batch statistics or without; nothing of it changes. `layers`
    are the names of those that are looked at (None: all), `windows` False leaves out what compares
    windows over the net.
    """
    named: Tensors = {name: p for name, p in net.named_parameters() if p.requires_grad}
    # Asked for with respect to the input, a backward passes every layer and leaves the weights out.
    inputs = inputs.detach().requires_grad_()
    found: dict[str, LayerAnalysis] = {}
    with observed(net) as watched:
        logits = net(inputs, repeat=repeat)[0]
        chosen = [name for name in watched.layers if layers is None or name in layers]
        total = loss(logits)
        reach = _reach(watched, loss(logits[-1:]), inputs)

        def watch(
            layer: SpikingLayer, current: Tensor, g_spikes: Tensor, g_current: Tensor
        ) -> None:
            name = watched.name_of(layer)
            if name in chosen:
                found[name] = layer_analysis(
                    layer, current, g_spikes, g_current, name, reach[name], formula
                )

        watched.watch = watch
        full = _backward(total, named if windows else {"input": inputs})
        watched.watch = None
        steps = len(inputs) * repeat  # of logits there may be those of the whole sequence alone
        compared = _windows(watched, total, named, full, steps) if windows else ()
    return TemporalGradients(tuple(found[name] for name in chosen), compared)


def _reach(watched: ObservedNet, last: Tensor, inputs: Tensor) -> dict[str, tuple[float, ...]]:
    """How far back the loss `last` of the last step reaches, for each layer."""
    found: dict[str, tuple[float, ...]] = {}

    def watch(layer: SpikingLayer, current: Tensor, g_spikes: Tensor, g_current: Tensor) -> None:
        found[watched.name_of(layer)] = tuple(
            dot(step, step) ** 0.5 for step in reversed(g_current.unbind())
        )

    watched.watch = watch
    _backward(last, {"input": inputs})
    watched.watch = None
    return found


def _backward(loss: Tensor, named: Tensors) -> Tensors:
    gradients = torch.autograd.grad(
        loss, list(named.values()), retain_graph=True, materialize_grads=True
    )
    return dict(zip(named, gradients, strict=True))


def _windows(
    watched: ObservedNet,
    total: Tensor,
    named: Tensors,
    full: Tensors,
    steps: int,
) -> tuple[WindowAnalysis, ...]:
    """Every window from 1 to T; T is the full gradient itself."""
    found = []
    weights = [name for name, tensor in named.items() if tensor.dim() > 1]
    norm = _over(full, full, weights) ** 0.5
    for window in range(1, steps + 1):
        gradients = full
        if window < steps:
            watched.window = window
            gradients = _backward(total, named)
        difference = {name: gradients[name] - full[name] for name in weights}
        found.append(
            WindowAnalysis(
                window=window,
                cosine=_cosine(gradients, full, weights),
                distance=_over(difference, difference, weights) ** 0.5 / norm if norm else None,
                cosine_of_weights={name: _cosine(gradients, full, [name]) for name in weights},
            )
        )
    watched.window = None
    return tuple(found)


def _cosine(a: Tensors, b: Tensors, names: list[str]) -> float | None:
    norms = (_over(a, a, names) * _over(b, b, names)) ** 0.5
    return _over(a, b, names) / norms if norms else None


def _over(a: Tensors, b: Tensors, names: list[str]) -> float:
    return sum(dot(a[name], b[name]) for name in names)
