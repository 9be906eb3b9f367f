"""A NIR graph as a net of clifctl's: every node a layer, several edges into a node their sum.

Shapes are worked out from the Input on, and must be those of weights and constants: what
contradicts is refused with the node's name before any data is looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clifctl.convert.nir_file import BadGraph, NirFile, NirNode
from clifctl.convert.nir_neurons import NEURON_KINDS, LayerNeuron, neuron_of
from clifctl.convert.nir_order import in_order, sources_of, with_soft_resets
from clifctl.models import NeuronChoice, SpikingNet, fold_time
from clifctl.models.layers import LayerStates, NetState, SpikingLayer, flatten_features

Shape = tuple[int, ...]
MOST_SIZE = 2**24  # of a dimension of samples, a kernel, a stride
_READ_AS_EVENTS = ("Conv1d", "Conv2d", "Affine", "Linear", "Flatten")


@dataclass(frozen=True)
class NirLayer:
    """A node between input and output: `name` is its module's, `shape` that of one sample at one
    step behind it, `given` before it; `neuron` of a node that has one."""

    name: str
    node: NirNode
    sources: tuple[str, ...]
    given: Shape
    shape: Shape
    neuron: LayerNeuron | None = None


@dataclass(frozen=True)
class NirGraph:
    """A graph whose parts fit: `layers` in an order in which they can run, `sources` of the
    output."""

    input_name: str
    input_shape: Shape
    layers: tuple[NirLayer, ...]
    sources: tuple[str, ...]
    output_shape: Shape

    @property
    def neurons(self) -> tuple[NirLayer, ...]:
        """The layers of neurons, read-outs included."""
        return tuple(layer for layer in self.layers if layer.neuron is not None)

    def reads_events(self) -> bool:
        """Whether connections alone read the input, which few active pixels then make faster."""
        readers = [layer for layer in self.layers if self.input_name in layer.sources]
        return all(r.node.kind in _READ_AS_EVENTS and len(r.sources) == 1 for r in readers)


def checked(file: NirFile, dt: float) -> NirGraph:
    """The graph of `file`, with time steps of `dt` seconds. Raises BadGraph."""
    file = with_soft_resets(file, dt)
    sources = sources_of(file)
    first, *between, last = in_order(file)
    shapes: dict[str, Shape] = {first.name: _declared(first)}
    names = _module_names(between)
    layers = []
    for node in between:
        given = _summed(node, sources[node.name], shapes)
        neuron = neuron_of(node, given, dt) if node.kind in NEURON_KINDS else None
        shape = given if neuron else _shape_behind(node, given)
        shapes[node.name] = shape
        layers.append(NirLayer(names[node.name], node, sources[node.name], given, shape, neuron))
    output = _summed(last, sources[last.name], shapes)
    if prod(_declared(last)) != prod(output):
        raise BadGraph(
            f"node '{last.name}' declares {list(_declared(last))}, what it gets is {list(output)}"
        )
    return NirGraph(first.name, shapes[first.name], tuple(layers), sources[last.name], output)


def _declared(node: NirNode) -> Shape:
    shape = node.values["shape"]
    if shape.ndim > 1 or shape.dtype.kind not in "iu" or not 0 < shape.size <= 4:
        raise BadGraph(f"node '{node.name}': its shape is not 1 to 4 whole numbers")
    sizes = tuple(int(size) for size in np.atleast_1d(shape))
    if not all(0 < size <= MOST_SIZE for size in sizes):
        raise BadGraph(f"node '{node.name}': a shape of {list(sizes)}")
    return sizes


def _summed(node: NirNode, sources: tuple[str, ...], shapes: Mapping[str, Shape]) -> Shape:
    """The shape of what a node gets, the sum of all that feeds it."""
    given = shapes[sources[0]]
    for other in sources[1:]:
        if shapes[other] != given:
            raise BadGraph(
                f"node '{node.name}' gets the sum of {list(given)} of '{sources[0]}' and "
                f"{list(shapes[other])} of '{other}'"
            )
    return given


def _module_names(nodes: list[NirNode]) -> dict[str, str]:
    """Node -> a name that a module may have, no two alike."""
    found: dict[str, str] = {}
    for node in nodes:
        name = node.name.replace(".", "_") or "_"
        while name in _TAKEN or name in found.values():
            name += "_"
        found[node.name] = name
    return found


def _shape_behind(node: NirNode, given: Shape) -> Shape:
    """What a node without neurons makes of `given`."""
    if node.kind == "Delay":
        raise BadGraph(f"node '{node.name}': delays are not read, but those of a soft reset's loop")
    if node.kind == "Scale":
        scale = node.values["scale"]
        if scale.size != 1 and scale.shape != given:
            raise BadGraph(f"node '{node.name}': scale is {list(scale.shape)}, not {list(given)}")
        return given
    if node.kind.startswith("Conv") and "input_shape" in node.values:
        size = tuple(int(n) for n in np.atleast_1d(node.values["input_shape"]))
        if size != given[1:]:
            raise BadGraph(
                f"node '{node.name}': input_shape is {list(size)}, what it gets is {list(given)}"
            )
    dimensions = _DIMENSIONS.get(node.kind)
    if dimensions is not None and len(given) != dimensions:
        raise BadGraph(
            f"node '{node.name}', {node.kind}, takes {dimensions} dimensions, what it gets is "
            f"{list(given)}"
        )
    try:
        with torch.device("meta"):
            module = _module(node)
        behind = module(torch.empty(1, *given, device="meta"))
    except (RuntimeError, ValueError, IndexError, TypeError, OverflowError) as wrong:
        why = str(wrong).partition("\n")[0][:160]
        raise BadGraph(f"node '{node.name}', {node.kind} on {list(given)}: {why}") from None
    return tuple(behind.shape[1:])


class _Flatten(nn.Module):
    """Flattens dimensions of samples `[N, *]`, counted without N; of `[T, N, *]` all of them."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def whole(self, x: Tensor) -> Tensor:
        """Maps `[T, N, *]` to `[T, N, features]`."""
        flat: Tensor = self(x, whole=True)
        return flat

    def forward(self, x: Tensor, *, whole: bool = False) -> Tensor:
        """Maps `[N, *]`."""
        if whole:
            return flatten_features(x)
        first = self.start + (1 if self.start >= 0 else x.dim())
        if first < 1:
            raise IndexError("it would flatten samples together")
        return x.flatten(first, self.end + (self.end >= 0))


class _Scale(nn.Module):
    """Multiplies by a number, or by one for each value."""

    scale: Tensor

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.one = float(scale.flat[0]) if bool((scale == scale.flat[0]).all()) else None
        if self.one is None:
            self.register_buffer("scale", torch.empty(scale.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[N, *]`."""
        return x * (self.scale if self.one is None else self.one)


def _module(node: NirNode) -> nn.Module:
    """The module of a node without neurons; its weights are not filled."""
    return _MODULES[node.kind](node)


def _linear(node: NirNode) -> nn.Module:
    weight = node.values["weight"]
    if weight.ndim != 2:
        raise ValueError(f"its weight is {list(weight.shape)}, not [out, in]")
    outputs, inputs = weight.shape
    return nn.Linear(inputs, outputs, bias=_has_bias(node, outputs))


def _has_bias(node: NirNode, outputs: int) -> bool:
    """Whether a bias adds anything: writers give zeros to layers that have none."""
    bias = node.values.get("bias")
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(f"its bias is {list(bias.shape)}, not [{outputs}]")
    return bias is not None and bool(bias.any())


def _convolution(node: NirNode) -> nn.Module:
    weight, padding = node.values["weight"], node.values["padding"]
    dimensions = int(node.kind[-2])
    if weight.ndim != dimensions + 2:
        raise ValueError(f"its weight is {list(weight.shape)}")
    (groups,) = _whole(node, "groups", 1, 1)
    how: dict[str, Any] = {
        "stride": _whole(node, "stride", 1, dimensions),
        "padding": padding if isinstance(padding, str) else _whole(node, "padding", 0, dimensions),
        "dilation": _whole(node, "dilation", 1, dimensions),
        "groups": groups,
        "bias": _has_bias(node, weight.shape[0]),
    }
    kind = nn.Conv1d if dimensions == 1 else nn.Conv2d
    return kind(weight.shape[1] * groups, weight.shape[0], weight.shape[2:], **how)


def _pool(node: NirNode) -> nn.Module:
    how: dict[str, Any] = {key: _whole(node, key, 1, 2) for key in ("kernel_size", "stride")}
    how["padding"] = _whole(node, "padding", 0, 2)
    return nn.AvgPool2d(**how, divisor_override=1 if node.kind == "SumPool2d" else None)


def _flatten(node: NirNode) -> nn.Module:
    ((start,), (end,)) = (_whole(node, key, -8, 1) for key in ("start_dim", "end_dim"))
    return _Flatten(start, end)


def _whole(node: NirNode, key: str, least: int, count: int) -> tuple[int, ...]:
    """The `count` whole numbers, one for all or one each, that are `least` or more."""
    array = np.atleast_1d(node.values[key])
    sizes = tuple(int(number) for number in array.flat)
    good = array.dtype.kind in "iu" and array.ndim == 1 and len(sizes) in (1, count)
    if not good or not all(least <= size <= MOST_SIZE for size in sizes):
        raise ValueError(f"{key} = {array.tolist()!s:.60}, not whole numbers from {least} on")
    return sizes if len(sizes) == count else sizes * count


_MODULES: dict[str, Callable[[NirNode], nn.Module]] = {
    "Affine": _linear,
    "Linear": _linear,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Scale": lambda node: _Scale(node.values["scale"]),
}
_DIMENSIONS = {"Affine": 1, "Linear": 1, "Conv1d": 2, "Conv2d": 3, "SumPool2d": 3, "AvgPool2d": 3}


class NirNet(SpikingNet):
    """The net of a checked graph; its layers are called as their nodes (`_` for a dot).

    `choice` says how its neurons run; which neurons they are the graph says. Weights are there
    after `fill`.
    """

    def __init__(self, graph: NirGraph, choice: NeuronChoice, timesteps: int) -> None:
        super().__init__()
        self.graph = graph
        self._as_events = graph.reads_events()
        for layer in graph.layers:
            module = _module(layer.node) if layer.neuron is None else None
            if layer.neuron is not None:
                own = replace(
                    choice,
                    neuron=layer.neuron.neuron,
                    hyperparameters=layer.neuron.hyperparameters,
                )
                module = own.layer(layer.shape[0], timesteps)
            self.add_module(layer.name, module)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`; samples may be of any shape of as many values."""
        steps = x.shape[0] * repeat
        x = self.frames(x) if self._as_events else x
        if x.shape[2:] != self.graph.input_shape:
            x = x.reshape(*x.shape[:2], *self.graph.input_shape)
        values = {self.graph.input_name: x}
        states = LayerStates(state)
        for layer in self.graph.layers:
            total = _sum([values[source] for source in layer.sources])
            module = self.get_submodule(layer.name)
            if isinstance(module, SpikingLayer):
                # What came once stands for every step.
                values[layer.node.name] = states.run(module, total, repeat=steps // len(total))
            elif isinstance(module, _Flatten) and len(layer.shape) == 1:
                values[layer.node.name] = module.whole(total)
            else:
                values[layer.node.name] = fold_time(module, total)
        logits = _sum([values[source] for source in self.graph.sources])
        logits = logits.flatten(2) if logits.dim() > 3 else logits
        return logits.expand(steps, *logits.shape[1:]), tuple(states.finals)

    @torch.no_grad()
    def fill(self) -> None:
        """Take the weights and constants of the graph over."""
        for layer in self.graph.layers:
            module = self.get_submodule(layer.name)
            own = dict(module.named_parameters()) | dict(module.named_buffers())
            given = layer.node.values if layer.neuron is None else layer.neuron.learnables
            for name, tensor in own.items():
                tensor.copy_(torch.as_tensor(np.asarray(given[name])))


def _sum(values: list[Tensor]) -> Tensor:
    """The sum of results, of which some may be there once for all steps."""
    steps = max(len(value) for value in values)
    total, *others = [v if len(v) == steps else v.expand(steps, *v.shape[1:]) for v in values]
    for value in others:
        total = total + value
    return total


# What a module calls its own.
_TAKEN = frozenset((*dir(nn.Module()), *dir(NirNet), "graph", "authors_names", "_as_events"))
