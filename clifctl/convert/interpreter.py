"""A small interpreter of NIR graphs, in float64: what a file says, step by step.

It knows nothing of clifctl's nets. Dynamics are those that NIR defines, by forward Euler with the
time step `dt`, from rest: at v_leak, an IF at v_reset. A node spikes where its membrane potential
exceeds the threshold. A loop must hold a
Delay of whole steps: what it gives out is known before what it takes in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.errors import ConversionError

if TYPE_CHECKING:
    import nir

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activity:
    """What a run gives, all float64: `outputs` `[T, N, *]`; by node, `spikes` `[T, N, *]` and
    `distance`, membrane potential less threshold before the reset, in thresholds."""

    outputs: Tensor
    spikes: dict[str, Tensor]
    distance: dict[str, Tensor]


@torch.no_grad()
def interpret(graph: "nir.NIRGraph", inputs: Tensor, *, dt: float) -> Activity:
    """Run `graph` on `inputs` `[T, N, *]`, from rest. Raises ConversionError for a node that the
    interpreter does not know, and for a loop without a delay."""
    run = _Run(graph, dt)
    outputs = [run.step(x) for x in inputs.double()]
    stacked = {name: torch.stack(steps) for name, steps in run.spikes.items()}
    distance = {name: torch.stack(steps) for name, steps in run.distance.items()}
    return Activity(torch.stack(outputs), stacked, distance)


class _Run:
    def __init__(self, graph: "nir.NIRGraph", dt: float) -> None:
        self.dt = dt
        self.spikes: dict[str, list[Tensor]] = {}
        self.distance: dict[str, list[Tensor]] = {}
        self._kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
        self._inputs: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, into in graph.edges:
            self._inputs[into].append(source)
        self._delays = {
            name: _Delay(name, node, dt)
            for name, node in graph.nodes.items()
            if self._kinds[name] == "Delay"
        }
        self._steps = {
            name: self._compiled(name, node)
            for name, node in graph.nodes.items()
            if name not in self._delays
        }
        self._order = self._sorted()

    def step(self, x: Tensor) -> Tensor:
        """The output `[N, *]` for one time step's input `[N, *]`."""
        values: dict[str, Tensor | None] = {
            name: delay.given() for name, delay in self._delays.items()
        }
        output = None
        for name in self._order:
            if name in self._delays:
                continue
            total = x if self._kinds[name] == "Input" else self._sum(name, values)
            values[name] = None if total is None else self._steps[name](total)
            if self._kinds[name] == "Output":
                output = values[name]
        for name, delay in self._delays.items():
            delay.take(self._sum(name, values))
        if output is None:
            raise ConversionError("the graph's output depends on nothing")
        return output

    def _sum(self, name: str, values: dict[str, Tensor | None]) -> Tensor | None:
        """What the edges into a node carry, added; None before anything has come."""
        given = [values[source] for source in self._inputs[name]]
        there = [value for value in given if value is not None]
        return sum(there[1:], start=there[0]) if there else None

    def _sorted(self) -> list[str]:
        before = {
            name: set() if name in self._delays else set(sources)
            for name, sources in self._inputs.items()
        }
        try:
            return list(TopologicalSorter(before).static_order())
        except CycleError as loop:
            raise ConversionError(
                f"the graph has a loop without a delay: {' -> '.join(loop.args[1])}"
            ) from None

    def _compiled(self, name: str, node: Any) -> Step:
        kind = self._kinds[name]
        if kind in ("Input", "Output"):
            return lambda x: x
        if kind in _NEURONS:
            return self._neuron(name, node, fires=kind.endswith("F"))
        if kind == "Threshold":
            threshold = _tensor(node.threshold)
            return lambda x: self._fired(name, x, threshold)
        if kind not in _STATELESS:
            raise ConversionError(f"node '{name}': the interpreter knows no {kind}")
        return _STATELESS[kind](node)

    def _neuron(self, name: str, node: Any, *, fires: bool) -> Step:
        synapse = _Synapse(node, self.dt) if hasattr(node, "tau_syn") else None
        tau = getattr(node, "tau", getattr(node, "tau_mem", None))
        r = _tensor(node.r)
        reset = _tensor(node.v_reset) if fires else None
        threshold = _tensor(node.v_threshold) if fires else None
        # An IF rests where its last spike has left it.
        rest = _tensor(node.v_reset if tau is None else node.v_leak)
        rate = None if tau is None else self.dt / _tensor(tau)
        v = [rest]

        def step(current: Tensor) -> Tensor:
            current = current if synapse is None else synapse.step(current)
            change = self.dt * r * current if rate is None else rate * (rest - v[0] + r * current)
            u = v[0] + change
            if threshold is None or reset is None:
                v[0] = u
                return u
            spikes = self._fired(name, u, threshold)
            v[0] = torch.where(spikes > 0, reset, u)
            return spikes

        return step

    def _fired(self, name: str, u: Tensor, threshold: Tensor) -> Tensor:
        spikes = (u > threshold).double()
        self.spikes.setdefault(name, []).append(spikes)
        self.distance.setdefault(name, []).append((u - threshold) / threshold)
        return spikes


class _Synapse:
    """The current of a CubaLIF or CubaLI, which decays."""

    def __init__(self, node: Any, dt: float) -> None:
        self._rate, self._weight = dt / _tensor(node.tau_syn), _tensor(node.w_in)
        self._current = torch.zeros(())

    def step(self, x: Tensor) -> Tensor:
        self._current = self._current + self._rate * (self._weight * x - self._current)
        return self._current


class _Delay:
    """So many whole steps."""

    def __init__(self, name: str, node: Any, dt: float) -> None:
        steps = {round(float(delay) / dt, 6) for delay in np.unique(node.delay)}
        (count,) = steps if len(steps) == 1 else (0.0,)
        if count < 1 or count != int(count):
            raise ConversionError(
                f"node '{name}': delays must be the same whole number of time steps"
            )
        self._queue: list[Tensor | None] = [None] * int(count)

    def given(self) -> Tensor | None:
        """What comes out at this step; None before anything has gone in for long enough."""
        return self._queue[0]

    def take(self, value: Tensor | None) -> None:
        """What goes in at this step."""
        self._queue = [*self._queue[1:], value]


def _affine(node: Any) -> Step:
    weight, bias = _tensor(node.weight), _tensor(getattr(node, "bias", 0.0))
    return lambda x: x @ weight.T + bias


def _conv2d(node: Any) -> Step:
    weight, bias = _tensor(node.weight), _tensor(node.bias)
    how = {key: _ints(getattr(node, key)) for key in ("stride", "padding", "dilation")}
    return lambda x: F.conv2d(x, weight, bias, groups=int(node.groups), **how)


def _avg_pool(node: Any) -> Step:
    kernel, stride, padding = map(_ints, (node.kernel_size, node.stride, node.padding))
    return lambda x: F.avg_pool2d(x, kernel, stride, padding)


def _sum_pool(node: Any) -> Step:
    kernel, stride, padding = map(_ints, (node.kernel_size, node.stride, node.padding))
    return lambda x: F.avg_pool2d(x, kernel, stride, padding, divisor_override=1)


def _flatten(node: Any) -> Step:
    # Samples have no batch dimension in NIR; here they have.
    start, end = int(node.start_dim), int(node.end_dim)
    return lambda x: x.flatten(start + (start >= 0), end + (end >= 0))


def _scale(node: Any) -> Step:
    scale = _tensor(node.scale)
    return lambda x: x * scale


_NEURONS = ("LIF", "LI", "IF", "CubaLIF", "CubaLI")
_STATELESS: dict[str, Callable[[Any], Step]] = {
    "Affine": _affine,
    "Linear": _affine,
    "Conv2d": _conv2d,
    "AvgPool2d": _avg_pool,
    "SumPool2d": _sum_pool,
    "Flatten": _flatten,
    "Scale": _scale,
}


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float64)


def _ints(value: Any) -> Any:
    array = np.asarray(value)
    return int(array) if array.ndim == 0 else tuple(int(item) for item in array)
