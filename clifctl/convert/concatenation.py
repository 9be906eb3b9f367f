"""Concatenated channels without a concatenation, which NIR does not have.

What is linear takes each part by itself: W [a; b] = W_a a + W_b b. Pools and flattening act on each
channel alone, so that they may come before it.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from clifctl.convert.graph import GraphLayer, LayerGraph
from clifctl.errors import ConversionError


def without_concatenations(graph: LayerGraph) -> LayerGraph:
    """The graph with a convolution or linear layer for each of the parts that are concatenated, and
    the sum of those.

    Raises ConversionError where something else gets what is concatenated.
    """
    while joined := graph.of_kind("concatenation"):
        graph = _without(graph, joined[0])
    return graph


def _without(graph: LayerGraph, joined: GraphLayer) -> LayerGraph:
    if graph.output == joined.name:
        raise _refused(joined.name, "the output")
    parts = [graph[name] for name in joined.inputs]
    layers: list[GraphLayer] = []
    totals: dict[str, str] = {}
    for layer in graph.layers:
        if layer is joined:
            continue
        layer = _renamed(layer, totals)
        if joined.name not in layer.inputs:
            layers.append(layer)
        elif layer.kind in ("convolution", "linear"):
            made = _for_each(layer, parts)
            totals[layer.name] = f"{layer.name}.sum"
            names = tuple(one.name for one in made)
            layers += [*made, GraphLayer(totals[layer.name], "sum", names, layer.shape)]
        elif layer.kind in ("pool", "adaptive pool", "flatten"):
            made = [_of_part(layer, part, number) for number, part in enumerate(parts, 1)]
            names = tuple(one.name for one in made)
            layers += [*made, GraphLayer(layer.name, "concatenation", names, layer.shape)]
        elif layer.kind == "concatenation":
            inputs = [n for i in layer.inputs for n in (joined.inputs if i == joined.name else [i])]
            layers.append(replace(layer, inputs=tuple(inputs)))
        else:
            raise _refused(layer.name, f"a {layer.kind}")
    return LayerGraph(tuple(layers), totals.get(graph.output, graph.output))


def _renamed(layer: GraphLayer, names: Mapping[str, str]) -> GraphLayer:
    return replace(layer, inputs=tuple(names.get(name, name) for name in layer.inputs))


def _for_each(layer: GraphLayer, parts: list[GraphLayer]) -> list[GraphLayer]:
    """A layer with weights for each part; the bias is that of the first."""
    if layer.values.get("groups", 1) != 1:
        raise _refused(layer.name, "a convolution with groups")
    weights = layer.values["weight"].split([part.shape[0] for part in parts], dim=1)
    made = []
    for number, (part, weight) in enumerate(zip(parts, weights, strict=True), 1):
        name = layer.name if number == 1 else f"{layer.name}.part{number}"
        bias = layer.values["bias"] if number == 1 else None
        values = {**layer.values, "weight": weight, "bias": bias}
        made.append(replace(layer, name=name, inputs=(part.name,), values=values))
    return made


def _of_part(layer: GraphLayer, part: GraphLayer, number: int) -> GraphLayer:
    flat = layer.kind == "flatten"
    shape = (prod(part.shape),) if flat else (part.shape[0], *layer.shape[1:])
    return replace(layer, name=f"{layer.name}.part{number}", inputs=(part.name,), shape=shape)


def _refused(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"layer '{name}': {what} of concatenated channels has no form in NIR",
        hint="a convolution, a linear layer, a pool or a flatten behind them has",
    )
