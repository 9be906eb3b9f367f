"""The part of a benchmark's gate that runs in the timed arithmetic, layer by layer.

There two ways to run a net round differently, a membrane potential at the threshold falls on the
other side, and in a deep net one such spike changes all behind it. So each layer of neurons is
compared with its plain path, and each connection with a dense product in float64, on the input that
it has in the net.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.devices import is_gpu
from clifctl.errors import RunFailed
from clifctl.experiments.bench.net_contestants import Learner
from clifctl.models import SpikingLayer

# Half the distance of neighbouring numbers at 1; TF32, which a GPU's convolutions may use.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "tf32": 2.0**-11}
CONNECTIONS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class LayerErrors:
    """The worst of all layers. `differing`: share of a layer's outputs that are others; `gradient`:
    relative error of a gradient of a layer of neurons, or of one that came to it through a
    connection; `sum`: error of a connection's output or of a gradient of its weights, in shares of
    what rounding may make: n times half a unit in the last place times the sum of the n absolute
    terms."""

    differing: float
    gradient: float
    sum: float


def layer_errors(ours: Learner, *, training: bool) -> LayerErrors:
    """Compare every layer while the net runs once; gradients too in `training`. Raises RunFailed
    where one was not reached."""
    found = _Found(training, _rounding(ours))
    layers = [part for part in ours.net.modules() if isinstance(part, SpikingLayer)]
    connections = [part for part in ours.net.modules() if isinstance(part, CONNECTIONS)]
    handles = [layer.register_forward_pre_hook(found.neurons) for layer in layers]
    handles += [part.register_forward_pre_hook(found.connection) for part in connections]
    run = ours.loss if training else ours.infer
    run()
    for handle in handles:
        handle.remove()
    for what, count, all_of_them in (
        ("layers of neurons", len(found.differing), layers),
        ("connections", found.connections, connections),
    ):
        if count != len(all_of_them):
            raise RunFailed(f"{count} of {len(all_of_them)} {what} were compared")
    return LayerErrors(*map(_worst, (found.differing, found.gradients, found.sums)))


def of_layer(inputs: tuple[Any, ...]) -> tuple[Tensor, Any, int]:
    """Of what a layer of neurons is given: its input, the norm that runs with it (None in a net of
    a person's own), and for how many equal steps a step stands."""
    x, _, norm, repeat = (*inputs, *(None, None, 1)[len(inputs) - 1 :])[:4]
    return x, norm, repeat


def _worst(found: Sequence[float]) -> float:
    """The largest; NaN where there is one."""
    return float(torch.tensor([0.0, *found], dtype=torch.float64).max())


def _rounding(ours: Learner) -> float:
    if ours.precision.name == "float32" and is_gpu(ours.labels.device):
        return ROUNDING["tf32"]
    return ROUNDING[ours.precision.name]


@dataclass
class _Found:
    """What the hooks of one run have found."""

    training: bool
    rounding: float
    differing: list[float] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    connections: int = 0
    # What layers of neurons were given: there the gradient of a connection behind them ends.
    ends: list[Tensor] = field(default_factory=list)

    def neurons(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run a layer both ways on the input that the net gives it, and let the net go on from
        there without a way back. The plain path gets it in float32: in bfloat16 it would round
        between norm and neuron, where the kernel does not."""
        x, norm, repeat = of_layer(inputs)
        # In a net of a person's own norm and neuron are apart: the kernel is set against `step`.
        owner, name, plain = (
            (layer, "target", "reference") if norm is None else (norm, "fused", False)
        )
        as_it_is = getattr(owner, name)
        results = []
        for way, given in ((as_it_is, x), (plain, x.float())):
            setattr(owner, name, way)
            results.append(self._of_neurons(layer, given.detach(), norm, repeat))
        setattr(owner, name, as_it_is)
        (spikes, gradients), (expected, references) = results
        self.differing.append(float((spikes != expected).double().mean()))
        self._compare(gradients, references)
        end = x.detach().requires_grad_(self.training)
        self.ends.append(end)
        return (end, *inputs[1:])

    def connection(self, connection: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Run a connection on what the net gives it, and densely on the same numbers."""
        (x,) = inputs
        weights = list(connection.parameters())
        exact = [weight.detach().double().requires_grad_() for weight in weights]
        absolute = [weight.detach().abs().requires_grad_() for weight in exact]
        # The module's own forward: to call the module would end here again.
        given = connection.forward(x)
        expected = _dense(connection, x.double(), exact)
        terms = _dense(connection, x.detach().double().abs(), absolute)
        self.connections += 1
        self._compare_sums(given, expected, terms, weights[0][0].numel() + 1)
        if not self.training:
            return
        g = torch.randn(given.shape, generator=torch.Generator().manual_seed(0)).to(given)
        found = _gradients(given, [*weights, *self.ends], g)
        references = _gradients(expected, [*exact, *self.ends], g.double())
        bounds = _gradients(terms, absolute, g.double().abs())
        for one, reference, bound in zip(found, references, bounds, strict=False):
            self._compare_sums(one, reference, bound, given.numel() // len(weights[0]))
        self._compare(found[len(weights) :], references[len(weights) :])

    def _of_neurons(
        self, layer: nn.Module, x: Tensor, norm: Any, repeat: int
    ) -> tuple[Tensor, list[Tensor]]:
        x.requires_grad_(self.training)
        spikes: Tensor = layer.forward(x, None, norm, repeat)[0]
        if not self.training:
            return spikes, []
        of_norm = [] if norm is None else [norm.weight, norm.bias]
        wanted = [x, *of_norm, *layer.parameters()]
        g = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(0))
        return spikes.detach(), _gradients(spikes, wanted, g.to(x).to(spikes))

    def _compare(self, gradients: Sequence[Tensor], references: Sequence[Tensor]) -> None:
        for one, other in zip(gradients, references, strict=True):
            scale = other.double().norm().clamp(min=1e-12)
            self.gradients.append(float((one.double() - other.double()).norm() / scale))

    def _compare_sums(self, given: Tensor, expected: Tensor, terms: Tensor, count: int) -> None:
        """`terms`: the sums of the absolute terms, `count` of them."""
        bound = (count * self.rounding * terms).clamp(min=torch.finfo(terms.dtype).tiny)
        error = (given.double() - expected).abs()
        self.sums.append(float((error / bound).max().detach()))


def _dense(connection: nn.Module, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    if isinstance(connection, nn.Conv2d):
        how: Any = (connection.stride, connection.padding, connection.dilation, connection.groups)
        return F.conv2d(x, weights[0], weights[1] if len(weights) > 1 else None, *how)
    return F.linear(x, *weights)


def _gradients(output: Tensor, wanted: Sequence[Tensor], g: Tensor) -> list[Tensor]:
    """What `g` at the output comes to at each of `wanted`; 0 where it does not reach."""
    found = torch.autograd.grad(
        output, wanted, g, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return list(found)
