"""The one place where a connection becomes event-driven or dense, with the reason.

Event-driven work grows with the density of what is active, dense work does not: below a density,
the crossover, events are faster. The choice depends on shapes and on the batch at hand alone, so
that the same inputs make the same choice, and a run that goes on makes those of one that never
stopped.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

from clifctl.devices import CPU
from clifctl.kernels.cpu.geometry import MOST_TAPS, Geometry, Pair

Direction = Literal["forward", "weight_gradient", "input_gradient"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "weight_gradient", "input_gradient")

# Kinds of connections: linear (maps of a pixel), 1 x 1 (pointwise) and k x k (spatial), the latter
# two with few channels (narrow: fewer than fill a vector), or with many (deep).
Kind = Literal["narrow", "spatial", "deep spatial", "pointwise", "deep pointwise", "linear"]
NARROW, DEEP = 16, 256
ALWAYS, NEVER = 1.01, 0.0
Table = Mapping[Direction, Mapping[Kind, float]]
# Lanes of a vector -> direction -> kind -> density below which event-driven is faster than what
# runs in its place, floats made of bits and torch's dense operation: what
# `benchmarks/connections.py` measures on one core of an AVX-512 CPU, and on the same one with AVX2
# alone: about the lowest of a kind. Near it little is won or lost.
CROSSOVERS: Mapping[int, Table] = {
    16: {
        "forward": {
            "narrow": ALWAYS, "spatial": 0.64, "deep spatial": 0.68,
            "pointwise": ALWAYS, "deep pointwise": ALWAYS, "linear": ALWAYS,
        },
        "weight_gradient": {
            "narrow": ALWAYS, "spatial": 0.85, "deep spatial": 0.95,
            "pointwise": ALWAYS, "deep pointwise": ALWAYS, "linear": 0.35,
        },
        "input_gradient": {
            "narrow": ALWAYS, "spatial": 0.3, "deep spatial": 0.6,
            "pointwise": 0.15, "deep pointwise": 0.45, "linear": NEVER,
        },
    },
    8: {
        "forward": {
            "narrow": ALWAYS, "spatial": 0.7, "deep spatial": 0.7,
            "pointwise": ALWAYS, "deep pointwise": ALWAYS, "linear": ALWAYS,
        },
        "weight_gradient": {
            "narrow": ALWAYS, "spatial": ALWAYS, "deep spatial": ALWAYS,
            "pointwise": ALWAYS, "deep pointwise": ALWAYS, "linear": 0.2,
        },
        "input_gradient": {
            "narrow": ALWAYS, "spatial": 0.4, "deep spatial": 0.65,
            "pointwise": NEVER, "deep pointwise": 0.6, "linear": NEVER,
        },
    },
}  # fmt: skip
# The same where active inputs have values of their own, which are floats already: at most these.
OF_VALUES: Table = {
    "forward": {
        "narrow": NEVER, "spatial": 0.4, "deep spatial": 0.4,
        "pointwise": 0.25, "deep pointwise": 0.25, "linear": NEVER,
    },
    "weight_gradient": {
        "narrow": 0.5, "spatial": 0.5, "deep spatial": 0.5,
        "pointwise": 0.3, "deep pointwise": 0.3, "linear": NEVER,
    },
    "input_gradient": {},
}  # fmt: skip
# Products of spikes (time steps x samples x features) and channels below which they are floats, so
# that what is behind them is dense: there calls take longer than the arithmetic, of which a dense
# connection to as many channels has that much a tap. In training (True) events save more of it, and
# of what is kept. What `benchmarks/small_nets.py` measures on one core of an AVX-512 CPU: near them
# both take the same time.
FEWEST_IN_MAPS: Mapping[bool, int] = {True: 125_000, False: 2_000_000}
FEWEST_IN_VECTORS: Mapping[bool, int] = {True: 25_000_000, False: 33_000_000}
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
NO_SPIKES = Choice(False, "dense: its input is not spikes")
OBSERVED = Choice(False, "dense: the gradient of its input is observed")
AUTOCAST = Choice(False, "dense: autocast turns its input into numbers of 16 bits")
UNBOUNDED = Choice(False, "dense: the surrogate is 0 nowhere, so every window is open")


_batches = 1.0


@contextmanager
def standing_for(batches: float) -> Iterator[None]:
    """Within it, a batch stands for one of so many times the samples: what is said of it holds
    there."""
    global _batches
    before, _batches = _batches, batches
    try:
        yield
    finally:
        _batches = before


def too_few(spikes: int, channels: int, *, maps: bool) -> Choice | None:
    """Why what reads so many `spikes` (time steps x samples x features) of `maps`, or of vectors
    (of so many features), is dense although they are spikes; None where they are enough."""
    spikes = round(spikes * _batches)
    fewest = (FEWEST_IN_MAPS if maps else FEWEST_IN_VECTORS)[torch.is_grad_enabled()]
    if spikes * channels >= fewest:
        return None
    what = "channels" if maps else "features"
    return Choice(
        False, f"dense: {spikes:,} spikes of {channels:,} {what} are too few for events to pay"
    )


def choose(
    direction: Direction, geometry: Geometry, density: float, *, values: bool = False
) -> Choice:
    """How a direction runs where a fraction `density` of the inputs is active (of the windows of
    the neurons that gave the inputs is open, for the input gradient). `values`: active inputs have
    values of their own."""
    if geometry.taps > MOST_TAPS:
        rows, columns = geometry.kernel
        return Choice(False, f"dense: a kernel of {rows} x {columns}")
    return _choice(direction, kind_of(geometry), round(density * _STEPS), values)


@lru_cache(maxsize=4096)
def kind_of(geometry: Geometry) -> Kind:
    """Which row of the table of crossovers a connection belongs to."""
    if geometry.height == geometry.width == geometry.taps == 1:
        return "linear"
    if min(geometry.channels, geometry.outputs) < NARROW:
        return "narrow"
    if geometry.taps == 1:
        return "pointwise" if geometry.channels < DEEP else "deep pointwise"
    return "spatial" if geometry.channels < DEEP else "deep spatial"


def crossover(direction: Direction, kind: Kind, lanes: int, *, values: bool = False) -> float:
    """The density below which a direction is event-driven, with vectors of `lanes` numbers."""
    limit = CROSSOVERS[lanes][direction][kind]
    return min(limit, OF_VALUES[direction].get(kind, limit)) if values else limit


@lru_cache(maxsize=16384)
def _choice(direction: Direction, kind: Kind, thousandths: int, values: bool) -> Choice:
    from clifctl.kernels.cpu.vectors import LANES  # imports numba

    density, limit = thousandths / _STEPS, crossover(direction, kind, LANES, values=values)
    if limit == NEVER:
        what = f"{kind} connection of inputs with values" if values else f"{kind} connection"
        return Choice(False, f"dense: that is faster in a {what}")
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
