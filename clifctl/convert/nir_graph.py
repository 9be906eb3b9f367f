"""A LIF net as a NIR graph (Pedersen et al., Nature Communications 2024) that readers agree on.

NIR's LIF is `tau dv/dt = v_leak - v + r I`, with a hard reset to `v_reset`; clifctl's is one step
of forward Euler, `v += dt / tau * (v_leak - v + r I)`, with dt = 1e-4 s, what SpikingJelly and
snnTorch take. NIR has no batch norm (`folding`), no max pool, no attention and no CLIF.

The portable profile says nothing that a reader could misread: `r` = 1, `v_leak` = `v_reset` = 0,
and all constants in the threshold. With v' = (v - v_r) / tau, LIF's hard reset to v_r with the
threshold theta is a reset to zero with (theta - v_r) / tau, the same spikes (with `decay_input`
nothing is divided by tau). A soft reset has no field in NIR, and readers take what is written for a
hard one: it needs the exact profile, where a neuron is LI -> Threshold with the loop
Threshold -> Delay (one step) -> Scale -> LI, because

    u[t] = decay * u[t-1] + x[t] - decay * theta * s[t-1]

That is exact, and the importers of SpikingJelly and snnTorch cannot read it.

Arrays are float64: nothing is rounded on the way, and readers cast what they read.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from clifctl.convert.concatenation import without_concatenations
from clifctl.convert.folding import fold_graph, plain_pools
from clifctl.convert.graph import GraphLayer, LayerGraph
from clifctl.convert.nir_nodes import WRITABLE, neuron_node, resets_softly, soft_reset_loop
from clifctl.errors import ConversionError

if TYPE_CHECKING:
    import nir

Profile = Literal["portable", "exact"]


def nir_graph(graph: LayerGraph, *, profile: Profile, metadata: dict[str, Any]) -> "nir.NIRGraph":
    """The NIR graph of a net's layers. A layer's node has its name, with `_` for `.`
    (`node_name`).

    Raises ConversionError for a neuron that is not LIF, a soft reset in the portable profile, and
    layers that NIR or its readers lack.
    """
    import nir

    for neuron in graph.of_kind("neuron"):
        _require_writable(neuron, profile)
    graph = without_concatenations(plain_pools(fold_graph(graph)))
    for total in graph.of_kind("sum"):
        if total.name != graph.output:
            graph = graph.without(total.name)  # several edges into one node are a sum
        elif len(total.shape) == 1:  # but not into the output: SpikingJelly reads none
            same = {"weight": torch.eye(total.shape[0], dtype=torch.float64), "bias": None}
            graph = graph.with_layers([replace(total, kind="linear", values=same)])
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for layer in graph.layers:
        name = node_name(layer.name)
        into = name
        if layer.kind == "sum":  # only the output can be one still
            continue
        if layer.kind == "neuron" and resets_softly(layer):
            loop, inner = soft_reset_loop(name, layer)
            into = f"{name}_membrane"
            nodes |= loop
            edges += inner
        else:
            given = graph[layer.inputs[0]].shape if layer.inputs else layer.shape
            nodes[name] = _NODES[layer.kind](layer, given)
        edges += [(node_name(source), into) for source in layer.inputs]
    last = graph[graph.output]
    nodes["output"] = nir.Output(np.array(last.shape))
    ends = last.inputs if last.kind == "sum" else (last.name,)
    edges += [(node_name(end), "output") for end in ends]
    if len(set(edges)) != len(edges):
        raise ConversionError("a layer is added to itself, which NIR has no edge for")
    return nir.NIRGraph(nodes, edges, metadata=metadata)


def node_name(layer: str) -> str:
    """A layer's name in the graph: readers take dots for subgraphs."""
    return layer.replace(".", "_")


def _require_writable(layer: GraphLayer, profile: Profile) -> None:
    name = layer.values["neuron"].name
    if name == "if" and resets_softly(layer):
        raise ConversionError(
            f"layer '{layer.name}': the soft reset of an 'if' has no field in NIR, and readers "
            "would take it for a hard one",
            hint="train with neuron.reset=hard",
        )
    if name not in WRITABLE:
        raise ConversionError(
            f"layer '{layer.name}': NIR has no '{name}' neuron",
            hint="convert it to LIF neurons first: clifctl convert CHECKPOINT --to lif -o lif.pt",
        )
    if profile == "portable" and resets_softly(layer):
        raise ConversionError(
            f"layer '{layer.name}': a soft reset has no field in NIR, and readers would take it "
            "for a hard one",
            hint="find a hard reset: clifctl convert CHECKPOINT --to lif --reset hard -o hard.pt; "
            "or write it as a loop that few readers support: --profile exact",
        )


def _input(layer: GraphLayer, given: tuple[int, ...]) -> Any:
    import nir

    return nir.Input(np.array(layer.shape))


def _linear(layer: GraphLayer, given: tuple[int, ...]) -> Any:
    import nir

    if len(given) != 1:
        raise ConversionError(
            f"layer '{layer.name}': a linear layer on {list(given)}, NIR's takes vectors",
            hint="flatten before it",
        )
    weight = layer.values["weight"]
    return nir.Affine(weight=_array(weight), bias=_bias(layer, len(weight)))


def _convolution(layer: GraphLayer, given: tuple[int, ...]) -> Any:
    import nir

    values = layer.values
    if values["groups"] != 1 or isinstance(values["padding"], str):
        what = f"padding '{values['padding']}'" if values["groups"] == 1 else "groups"
        raise ConversionError(
            f"layer '{layer.name}': readers of NIR refuse a convolution with {what}",
            hint="train a net without",
        )
    return nir.Conv2d(
        input_shape=(given[1], given[2]),
        weight=_array(values["weight"]),
        bias=_bias(layer, len(values["weight"])),
        stride=_pair(values["stride"]),
        padding=_pair(values["padding"]),
        dilation=_pair(values["dilation"]),
        groups=1,
    )


def _pool(layer: GraphLayer, given: tuple[int, ...]) -> Any:
    import nir

    values = layer.values
    total = values.get("divisor_override") == 1
    odd = values.get("ceil_mode") or (values.get("divisor_override") and not total)
    if odd or not values.get("count_include_pad", True):
        raise ConversionError(
            f"layer '{layer.name}': NIR's average pool divides by the whole kernel and drops what "
            "is left over",
            hint="train a net with plain average pools",
        )
    kernel = values["kernel_size"]
    pool = nir.SumPool2d if total else nir.AvgPool2d
    return pool(
        kernel_size=np.array(_pair(kernel)),
        stride=np.array(_pair(kernel if values["stride"] is None else values["stride"])),
        padding=np.array(_pair(values["padding"])),
    )


def _flatten(layer: GraphLayer, given: tuple[int, ...]) -> Any:
    import nir

    # Samples have no batch dimension in NIR.
    return nir.Flatten(input_type={"input": np.array(given)}, start_dim=0, end_dim=-1)


_NODES: dict[str, Callable[[GraphLayer, tuple[int, ...]], Any]] = {
    "input": _input,
    "neuron": lambda layer, given: neuron_node(layer),
    "linear": _linear,
    "convolution": _convolution,
    "pool": _pool,
    "flatten": _flatten,
}


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, tuple | list):
        first, second = (value * 2)[:2] if len(value) == 1 else value
        return int(first), int(second)
    return int(value), int(value)


def _array(tensor: Tensor) -> Any:
    return tensor.contiguous().numpy()


def _bias(layer: GraphLayer, outputs: int) -> Any:
    bias = layer.values["bias"]
    return np.zeros(outputs) if bias is None else _array(bias)
