"""Batch norm without batch norm: folded into the weights before it, or a layer of its own.

In evaluation mode a norm is `scale * x + shift` for each channel (`graph.scale_and_shift`). Behind
a convolution or linear layer that feeds nothing else it goes into weights and bias:
`weight * scale` and `bias * scale + shift`. Exact but for rounding: in float64 the input of the
neurons changes by less than 1e-12 of its largest value, in float32 by less than 1e-5 (tested). A
norm behind a sum has no weights before it (the pre-activation ResNet); where a norm of its own is
no choice it becomes a convolution 1x1 with a diagonal kernel: readers of NIR refuse grouped ones.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.convert.graph import GraphLayer, LayerGraph, scale_and_shift
from clifctl.errors import ConversionError
from clifctl.models import SpikingNet, make_identity, norms_in

_WITH_WEIGHTS = ("convolution", "linear")


def folding_pairs(graph: LayerGraph) -> dict[str, str]:
    """Norm -> the convolution or linear layer that it can be folded into."""
    pairs = {}
    for norm in graph.of_kind("norm"):
        before = [graph[name] for name in norm.inputs]
        if len(before) == 1 and before[0].kind in _WITH_WEIGHTS:
            name = before[0].name
            if len(graph.consumers(name)) == 1 and graph.output != name:
                pairs[norm.name] = name
    return pairs


def fold_graph(graph: LayerGraph) -> LayerGraph:
    """The graph without norms: folded, or a diagonal layer of their own."""
    for name, before in folding_pairs(graph).items():
        scale, shift = graph[name].values["scale"], graph[name].values["shift"]
        layer = graph[before]
        weight, bias = layer.values["weight"], layer.values["bias"]
        values = {
            **layer.values,
            "weight": weight * _along_outputs(scale, weight),
            "bias": shift if bias is None else bias * scale + shift,
        }
        graph = graph.with_layers([replace(layer, values=values)]).without(name)
    return graph.with_layers(map(_diagonal, graph.of_kind("norm")))


def _diagonal(norm: GraphLayer) -> GraphLayer:
    weight = torch.diag(norm.values["scale"])
    values = {"weight": weight, "bias": norm.values["shift"]}
    if len(norm.shape) == 1:
        return replace(norm, kind="linear", values=values)
    how = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    values["weight"] = weight[:, :, None, None]
    return replace(norm, kind="convolution", values={**values, **how})


@torch.no_grad()
def fold_net(net: SpikingNet, graph: LayerGraph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fold the norms of `net` (whose layers `graph` are) in place; the names of those that were
    folded, and of those that could not be.

    A folded norm stays as the identity, so that the net and its state dict are of the same shape as
    before; behind a layer without bias it keeps the shift.
    """
    pairs = folding_pairs(graph)
    for name, before in pairs.items():
        norm, layer = norms_in(net)[name], net.get_submodule(before)
        assert norm.running_mean is not None
        scale, shift = scale_and_shift(norm)
        weight = layer.get_parameter("weight")
        weight.copy_(weight.double().cpu() * _along_outputs(scale, weight))
        make_identity(norm)
        if isinstance(layer.bias, nn.Parameter):
            layer.bias.copy_(layer.bias.double().cpu() * scale + shift)
        else:
            norm.running_mean.copy_(-shift)
    kept = tuple(norm.name for norm in graph.of_kind("norm") if norm.name not in pairs)
    return tuple(pairs), kept


def _along_outputs(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *(1,) * (weight.dim() - 1))


def plain_pools(graph: LayerGraph) -> LayerGraph:
    """The graph with every adaptive pool as a plain one, or, where it repeats values or its parts
    are of different sizes, inside the linear layer behind it (VGG's pool to 7x7 of smaller maps).

    Raises ConversionError where it is followed by something else.
    """
    for pool in graph.of_kind("adaptive pool"):
        given = graph[pool.inputs[0]].shape[-2:]
        wanted = pool.shape[-2:]
        if all(size % out == 0 for size, out in zip(given, wanted, strict=True)):
            kernel = tuple(size // out for size, out in zip(given, wanted, strict=True))
            values = {"kernel_size": kernel, "stride": kernel, "padding": 0}
            graph = graph.with_layers([replace(pool, kind="pool", values=values)])
        else:
            graph = _pool_into_linear(graph, pool)
    return graph


def _pool_into_linear(graph: LayerGraph, pool: GraphLayer) -> LayerGraph:
    chain = [pool]
    for kind in ("flatten", "linear"):
        behind = graph.consumers(chain[-1].name)
        if len(behind) != 1 or behind[0].kind != kind:
            raise ConversionError(
                f"'{pool.name}': a pool of maps {list(pool.shape[1:])} out of "
                f"{list(graph[pool.inputs[0]].shape[1:])} is not an average pool of equal parts",
                hint="choose images whose maps the pool divides evenly",
            )
        chain.append(behind[0])
    _, flatten, linear = chain
    channels, height, width = graph[pool.inputs[0]].shape
    maps = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    matrix = F.adaptive_avg_pool2d(maps, (pool.shape[-2], pool.shape[-1])).flatten(
        1
    )  # [height * width, pooled]
    weight = linear.values["weight"].unflatten(1, (channels, -1)) @ matrix.T
    new = replace(linear, values={**linear.values, "weight": weight.flatten(1)})
    flat = replace(flatten, shape=(channels * height * width,))
    return graph.with_layers([new, flat]).without(pool.name)
