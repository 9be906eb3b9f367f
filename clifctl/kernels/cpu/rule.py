"""The one place where a connection becomes event-driven or dense, with the reason.

Event-driven work grows with the density of what is active, dense work does not: below a density,
the crossover, events are faster. The choice depends on shapes and on the batch at hand alone, so
that the same inputs make the same choice, and a run that goes on makes those of one that never
stopped.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from clifctl.devices import CPU
from clifctl.kernels.cpu.geometry import MOST_TAPS, Geometry, Pair

Direction = Literal["forward", "weight_gradient", "input_gradient"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "weight_gradient", "input_gradient")

# Kinds of connections, by what their kernels cost: k x k, 1 x 1 on maps, linear, and any of them
# that fills no vector (`NARROW` channels of input or output).
Kind = Literal["spatial", "pointwise", "linear", "narrow"]
NARROW = 16
ALWAYS = 1.01  # above every density
# direction -> kind -> density below which event-driven is faster, measured by
# `benchmarks/connections.py` on one core with vectors of 8 and of 16 numbers (the lower of both).
CROSSOVERS: dict[Direction, dict[Kind, float]] = {
    "forward": {"spatial": 0.63, "pointwise": 0.6, "linear": 0.6, "narrow": 0.5},
    "weight_gradient": {"spatial": ALWAYS, "pointwise": 0.5, "linear": 0.5, "narrow": 0.5},
    "input_gradient": {"spatial": 0.65, "pointwise": 0.4, "linear": 0.4, "narrow": 0.4},
}
_ACTIVE = {
    "forward": "of the inputs are active",
    "weight_gradient": "of the inputs are active",
    "input_gradient": "of the surrogate's windows are open",
}
_STEPS = 1000  # of a density: what is reported is what was compared


@dataclass(frozen=True)
class Choice:
    """Whether a direction of a connection is event-driven, and why, in words."""

    event: bool
    reason: str


# What makes a connection dense whatever its density.
ASKED_FOR = Choice(False, "dense: asked for")
NO_SPIKES = Choice(False, "dense: its input is not spikes")
LOOKED_AT = Choice(False, "dense: somebody looks at the gradient of its input")
UNBOUNDED = Choice(False, "dense: the surrogate is 0 nowhere, so every window is open")


def choose(direction: Direction, geometry: Geometry, density: float) -> Choice:
    """How a direction runs where a fraction `density` of the inputs is active (of the windows of
    the neurons that gave the inputs is open, for the input gradient)."""
    return _choice(direction, geometry, round(density * _STEPS))


def kind_of(geometry: Geometry) -> Kind:
    """Which row of the table of crossovers a connection belongs to."""
    if min(geometry.channels, geometry.outputs) < NARROW:
        return "narrow"
    if geometry.kernel != (1, 1):
        return "spatial"
    return "linear" if geometry.height == geometry.width == 1 else "pointwise"


@lru_cache(maxsize=16384)
def _choice(direction: Direction, geometry: Geometry, thousandths: int) -> Choice:
    if geometry.taps > MOST_TAPS:
        rows, columns = geometry.kernel
        return Choice(False, f"dense: a kernel of {rows} x {columns}")
    density, limit = thousandths / _STEPS, CROSSOVERS[direction][kind_of(geometry)]
    event = density < limit
    how, side = ("event-driven", "below") if event else ("dense", "not below")
    found = f"{how}: {_percent(density)} {_ACTIVE[direction]}"
    return Choice(event, found if limit == ALWAYS else f"{found}, {side} {_percent(limit)}")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def unsupported(
    *,
    device: torch.device | str = CPU,
    dtype: torch.dtype = torch.float32,
    groups: int = 1,
    dilation: Pair = (1, 1),
    transposed: bool = False,
) -> Choice | None:
    """Why there are no event-driven kernels for a connection; None where there are."""
    device = torch.device(device)
    if device.type != CPU:
        return Choice(False, f"dense: event-driven kernels run on the CPU, not on '{device.type}'")
    if dtype != torch.float32:
        given = str(dtype).removeprefix("torch.")
        return Choice(False, f"dense: event-driven kernels compute in float32, not in {given}")
    if transposed:
        return Choice(False, "dense: a transposed convolution")
    if groups != 1:
        return Choice(False, f"dense: a convolution in {groups} groups")
    if dilation != (1, 1):
        return Choice(False, f"dense: a convolution with dilation {dilation[0]} x {dilation[1]}")
    return None
