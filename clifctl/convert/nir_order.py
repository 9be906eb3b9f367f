"""The order in which the nodes of a NIR graph run, and the one loop that is none.

A loop of a graph is recurrence, which these nets do not have: it is refused, with the edge that
closes it. But a soft reset has no field in NIR and is written as a loop (`--profile exact`):
LI -> Threshold -> Delay of one step -> Scale -> LI. Where its constants are those of a soft reset
it becomes one node, called as its Threshold.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from clifctl.convert.nir_file import BadGraph, NirFile, NirNode

SOFT_LIF = "soft LIF"  # a type of ours: tau, gain and v_threshold, in time steps
_CLOSE = 1e-6  # of constants that were rounded to float32


def sources_of(graph: NirFile) -> dict[str, tuple[str, ...]]:
    """Node -> the nodes that feed it, in the order of the edges."""
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        found[target].append(source)
    return {name: tuple(sources) for name, sources in found.items()}


def in_order(graph: NirFile) -> list[NirNode]:
    """The nodes, each behind those that feed it, from the one Input to the one Output. Raises
    BadGraph where the graph has a loop, or nodes that are not between the two."""
    first, last = (_only(graph, kind) for kind in ("Input", "Output"))
    before = sources_of(graph)
    after = sources_of(NirFile(graph.nodes, tuple((b, a) for a, b in graph.edges)))
    if before[first]:
        raise BadGraph(f"the edge '{before[first][0]}' -> '{first}' leads into the input")
    if after[last]:
        raise BadGraph(f"the edge '{last}' -> '{after[last][0]}' leads out of the output")
    depth, used = _reached(first, after), _reached(last, before)
    for name in graph.nodes:
        if name not in depth:
            raise BadGraph(f"node '{name}' gets nothing that depends on the input")
        if name not in used:
            raise BadGraph(f"node '{name}' leads nowhere: its result never reaches the output")
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as loop:
        raise _recurrence(loop.args[1], depth) from None
    return [graph.nodes[name] for name in order]


def _only(graph: NirFile, kind: str) -> str:
    found = [node.name for node in graph.nodes.values() if node.kind == kind]
    if len(found) != 1:
        called = f" ({', '.join(found[:5])})" if found else ""
        raise BadGraph(
            f"it has {len(found)} nodes of type {kind}{called}, clifctl reads graphs of 1"
        )
    return found[0]


def _reached(start: str, leads: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Node -> how many edges it is away from `start`."""
    depth, waiting = {start: 0}, deque([start])
    while waiting:
        name = waiting.popleft()
        for other in leads[name]:
            if other not in depth:
                depth[other] = depth[name] + 1
                waiting.append(other)
    return depth


def _recurrence(loop: Sequence[str], depth: Mapping[str, int]) -> BadGraph:
    """The error for a `loop` of nodes, the first of which is the last too."""
    around = list(loop[:-1])
    entry = around.index(min(around, key=lambda name: depth[name]))
    around = around[entry:] + around[:entry]
    shown = " -> ".join([*around[:6], *(["..."] * (len(around) > 6)), around[0]])
    return BadGraph(
        f"the edge '{around[-1]}' -> '{around[0]}' closes a loop ({shown}): recurrence is not read"
    )


def with_soft_resets(graph: NirFile, dt: float) -> NirFile:
    """The graph with every loop that is a soft reset as one node."""
    before = sources_of(graph)
    after = sources_of(NirFile(graph.nodes, tuple((b, a) for a, b in graph.edges)))
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for delay in [node for node in graph.nodes.values() if node.kind == "Delay"]:
        loop = _loop_of(delay, graph.nodes, before, after)
        neuron = None if loop is None else _soft_lif(*loop, dt)
        if loop is None or neuron is None:
            continue
        membrane, fires, _, scale = (node.name for node in loop)
        gone = {membrane, delay.name, scale}
        edges = [
            (source, fires if target == membrane else target)
            for source, target in edges
            if source not in gone and target not in gone - {membrane}
        ]
        nodes = {name: node for name, node in nodes.items() if name not in gone}
        nodes[fires] = neuron
    return NirFile(nodes, tuple(edges))


def _loop_of(
    delay: NirNode,
    nodes: Mapping[str, NirNode],
    before: Mapping[str, tuple[str, ...]],
    after: Mapping[str, tuple[str, ...]],
) -> tuple[NirNode, NirNode, NirNode, NirNode] | None:
    """LI, Threshold, Delay and Scale, where `delay` stands in such a loop and nothing else touches
    it but what feeds the LI and what reads the Threshold."""
    if len(before[delay.name]) != 1 or len(after[delay.name]) != 1:
        return None
    fires, scale = nodes[before[delay.name][0]], nodes[after[delay.name][0]]
    if (fires.kind, scale.kind) != ("Threshold", "Scale"):
        return None
    if len(before[fires.name]) != 1 or before[scale.name] != (delay.name,):
        return None
    membrane = nodes[before[fires.name][0]]
    alone = after[membrane.name] == (fires.name,) and after[scale.name] == (membrane.name,)
    return (membrane, fires, delay, scale) if membrane.kind == "LI" and alone else None


def _soft_lif(
    membrane: NirNode, fires: NirNode, delay: NirNode, scale: NirNode, dt: float
) -> NirNode | None:
    """The node of the loop, where its constants are the same everywhere and those of a soft reset:
    u[t] = decay * u[t-1] + gain * (x[t] + scale * s[t-1]), gain * scale = -decay * v_threshold."""
    given = {**membrane.values, **fires.values, **delay.values, **scale.values}
    constants = {key: _the_one(value) for key, value in given.items()}
    if None in constants.values():
        return None
    tau, r, threshold = (constants[key] for key in ("tau", "r", "threshold"))
    wrong = (constants["v_leak"] != 0.0, tau <= dt, r <= 0.0, threshold <= 0.0)
    if any(wrong) or abs(constants["delay"] / dt - 1) > _CLOSE:
        return None
    gain, decay = dt / tau * r, 1 - dt / tau
    resets_by = -gain * constants["scale"]
    if abs(resets_by - decay * threshold) > _CLOSE * threshold:
        return None
    values = {"tau": np.array(tau), "gain": np.array(gain), "v_threshold": np.array(threshold)}
    return NirNode(fires.name, SOFT_LIF, values)


def _the_one(value: Any) -> Any:
    """The number that all of an array are."""
    array = np.asarray(value)
    return float(array.flat[0]) if bool((array == array.flat[0]).all()) else None
