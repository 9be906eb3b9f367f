"""What one layer of neurons does with the gradient that arrives at its spikes: by lag, and split.

With g[t] the gradient that arrives, dx_k is the gradient of the layer's input current with a
sliding window of k steps. What comes from lag d is then

    D_d = dx_(d+1) - dx_d        D_0 = dx_1, the spatial part

and the D_d of all lags add up to the whole gradient dx_T.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from clifctl.analysis.observing import gradient_of_current
from clifctl.analysis.splits import can_split, membrane_part, paths_of, split, vanished
from clifctl.models import SpikingLayer

# Elements of a part that is analysed at once: in a core's cache it is several times faster.
PART = 2**18


@dataclass(frozen=True)
class Lag:
    """What comes from `lag` steps later: the 2-norm of D_lag over all steps, samples and neurons,
    and its part along the whole gradient <D, dx> / <dx, dx>. For LIF and CLIF the norms of what
    passes the membrane potential alone and of the rest, and the share of neurons and steps whose
    part II (Eq. 14) is zero; None where it is not known, or there is no such path."""

    lag: int
    norm: float
    projection: float | None
    membrane_norm: float | None = None
    complementary_norm: float | None = None
    vanished_share: float | None = None


@dataclass(frozen=True)
class SplitNorms:
    """2-norms of spatial, M1 and M2 part and of the whole gradient at each step `[T]`; the largest
    distance of their sum from the whole gradient, and the largest entry of that."""

    spatial: tuple[float, ...]
    m1: tuple[float, ...]
    m2: tuple[float, ...]
    whole: tuple[float, ...]
    error_max: float
    whole_max: float
    error_norm: float
    whole_norm: float


@dataclass(frozen=True)
class LayerAnalysis:
    """One layer. `reach` is the 2-norm of the gradient of the last step's loss alone with respect
    to the input current of each earlier step, by how many steps before: `[T]`, through the whole
    net, full BPTT."""

    layer: str
    neurons: int
    norm: float
    lags: tuple[Lag, ...]
    reach: tuple[float, ...]
    split: SplitNorms | None

    @property
    def shares(self) -> tuple[float | None, ...]:
        """Norm of each lag over the sum of the norms of all: they add up to 1."""
        total = sum(lag.norm for lag in self.lags)
        return tuple(lag.norm / total if total else None for lag in self.lags)

    @property
    def temporal_share(self) -> float | None:
        """The share of all lags but 0; None where no gradient arrives at all."""
        spatial = self.shares[0]
        return None if spatial is None else 1.0 - spatial


def layer_analysis(
    layer: SpikingLayer,
    current: Tensor,
    g_spikes: Tensor,
    g_current: Tensor,
    name: str,
    reach: tuple[float, ...],
    formula: str,
) -> LayerAnalysis:
    """One layer: its input current, the gradients that arrive at its spikes and leave at its
    current, all `[T, N, *]`."""
    sums = _Sums(layer, len(current), formula)
    samples = max(1, PART // current[:, 0].numel())
    for part in zip(*(t.split(samples, 1) for t in (current, g_spikes, g_current)), strict=True):
        sums.add(*part)
    return LayerAnalysis(
        layer=name,
        neurons=current[0, 0].numel(),
        norm=sums.whole**0.5,
        lags=sums.lags(),
        reach=reach,
        split=sums.split_norms(),
    )


@dataclass
class _Sums:
    """What is added up over the samples: squares, products, counts."""

    layer: SpikingLayer
    steps: int
    formula: str
    whole: float = 0.0
    squares: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)
    membrane: list[float] = field(default_factory=list)
    complementary: list[float] = field(default_factory=list)
    vanished: list[int] = field(default_factory=list)
    positions: int = 0
    # spatial, M1, M2, whole: squares of each step
    parts: list[list[float]] = field(default_factory=list)
    error: float = 0.0
    error_max: float = 0.0
    whole_max: float = 0.0

    def __post_init__(self) -> None:
        self.squares, self.products = [0.0] * self.steps, [0.0] * self.steps
        self.membrane, self.complementary = [0.0] * self.steps, [0.0] * self.steps
        self.vanished = [0] * self.steps
        self.parts = [[0.0] * self.steps for _ in range(4)]

    @property
    def splits(self) -> bool:
        """Whether the neuron's paths are known."""
        return can_split(self.layer.neuron)

    def add(self, current: Tensor, g_spikes: Tensor, g_current: Tensor) -> None:
        """Add some samples `[T, n, *]`."""
        self.whole += dot(g_current, g_current)
        self.positions += current[0].numel()
        by_lag = self._by_lag(current, g_spikes, g_current)
        for lag, part in enumerate(by_lag):
            self.squares[lag] += dot(part, part)
            self.products[lag] += dot(part, g_current)
        if self.splits:
            self._add_paths(current, g_spikes, g_current, by_lag)

    def _by_lag(self, current: Tensor, g_spikes: Tensor, g_current: Tensor) -> list[Tensor]:
        within = [
            gradient_of_current(self.layer, current, g_spikes, window)
            for window in range(1, self.steps)
        ]
        within.append(g_current)
        return [within[0], *(more - less for less, more in pairwise(within))]

    def _add_paths(
        self, current: Tensor, g_spikes: Tensor, g_current: Tensor, by_lag: list[Tensor]
    ) -> None:
        paths = paths_of(self.layer.neuron, self.layer.hyperparameters, current)
        for lag in range(1, self.steps):
            # Only the first T - lag steps have something that lies so many steps later.
            membrane = membrane_part(paths, g_spikes, lag)
            rest = by_lag[lag][: self.steps - lag] - membrane
            self.membrane[lag] += dot(membrane, membrane)
            self.complementary[lag] += dot(rest, rest)
            self.vanished[lag] += int(vanished(paths, lag).sum())
        found = split(paths, g_spikes, self.formula)
        for sums, part in zip(
            self.parts, (found.spatial, found.m1, found.m2, g_current), strict=True
        ):
            for step, value in enumerate(part.unbind()):
                sums[step] += dot(value, value)
        error = found.whole - g_current
        self.error += dot(error, error)
        self.error_max = max(self.error_max, float(error.abs().max()))
        self.whole_max = max(self.whole_max, float(g_current.abs().max()))

    def lags(self) -> tuple[Lag, ...]:
        """Every lag from 0 on."""
        has_rest = self.layer.neuron.name == "clif"
        found = []
        for lag in range(self.steps):
            known = self.splits and lag > 0
            positions = self.positions * (self.steps - lag)
            found.append(
                Lag(
                    lag,
                    self.squares[lag] ** 0.5,
                    self.products[lag] / self.whole if self.whole else None,
                    self.membrane[lag] ** 0.5 if known else None,
                    self.complementary[lag] ** 0.5 if known and has_rest else None,
                    self.vanished[lag] / positions if known else None,
                )
            )
        return tuple(found)

    def split_norms(self) -> SplitNorms | None:
        """The split of every step, None for a neuron whose paths are not known."""
        if not self.splits:
            return None
        spatial, m1, m2, whole = (tuple(x**0.5 for x in part) for part in self.parts)
        return SplitNorms(
            spatial=spatial,
            m1=m1,
            m2=m2,
            whole=whole,
            error_max=self.error_max,
            whole_max=self.whole_max,
            error_norm=self.error**0.5,
            whole_norm=self.whole**0.5,
        )


def dot(a: Tensor, b: Tensor) -> float:
    """The sum of the products, added up in float64: over millions of float32 digits are lost."""
    return float((a * b).sum(dtype=torch.float64))
