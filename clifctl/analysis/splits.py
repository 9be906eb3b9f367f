"""The gradient of LIF and CLIF, split as the paper splits it, but exactly.

With g[t] the gradient that arrives at the spike of step t and h[t] the surrogate gradient:

    P[t]   = g[t] h[t]                                             spatial (Eq. 11)
    eps[t] = du[t+1]/du[t], through the spike too; m held fixed    (Eq. 7, 46)
    psi[t] = m[t-1] sigmoid'(u[t]/tau)/tau + h[t]                  dm[t]/du[t] (Eq. 23, 47)
    phi[t] = -decay s[t] sigmoid'(m[t])                            du[t+1]/dm[t]
    rho[t] = sigmoid(u[t]/tau)                                     dm[t]/dm[t-1]
    xi[t]  = eps[t] + phi[t] psi[t]                                (Eq. 22)

The total derivatives of the loss, du and dm, obey exactly

    dm[t] = phi[t] du[t+1] + rho[t+1] dm[t+1]
    du[t] = P[t] + eps[t] du[t+1] + psi[t] dm[t]

The printed recursion (Eq. 45, 48) has xi in the place of eps and rho[t+1] + psi[t+1] phi[t] in the
place of rho[t+1]: it counts the paths u -> m -> u and m -> u -> m twice.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clifctl.neurons import NEURONS, SURROGATES, Hyperparameters, Neuron

# name -> what it is
FORMULAS: dict[str, str] = {
    "exact": "M1 by eps, M2 by the complementary potential's whole gradient",
    "exact-xi": "M1 by the paper's xi, M2 by what does not pass the next membrane potential",
    "paper": "as printed in Eq. 45 and 48: it counts some paths twice and is not the gradient",
}


@dataclass(frozen=True)
class Paths:
    """The factors of a layer, each `[T, N, *]`; eps and phi of the last step lead nowhere. psi, phi
    and rho are None for LIF. `per_current` is du/dx."""

    h: Tensor
    eps: Tensor
    psi: Tensor | None
    phi: Tensor | None
    rho: Tensor | None
    per_current: float


@dataclass(frozen=True)
class GradientParts:
    """Parts of the gradient with respect to the input current, each `[T, N, *]`."""

    spatial: Tensor
    m1: Tensor
    m2: Tensor

    @property
    def whole(self) -> Tensor:
        """The sum of the parts."""
        return self.spatial + self.m1 + self.m2


def can_split(neuron: Neuron) -> bool:
    """Whether the split is known for `neuron`: LIF and CLIF of the table."""
    return neuron in (NEURONS["lif"], NEURONS["clif"])


def paths_of(neuron: Neuron, hyperparameters: Hyperparameters, current: Tensor) -> Paths:
    """The factors for input current `[T, N, *]`, from zero states. Raises ValueError for a neuron
    whose split is not known."""
    if not can_split(neuron):
        raise ValueError(f"the split of '{neuron.name}' is not known")
    p: Any = hyperparameters
    return _lif(p, current) if neuron.name == "lif" else _clif(p, current)


def _lif(p: Any, current: Tensor) -> Paths:
    decay, rest = 1 - 1 / p.tau, p.v_reset / p.tau
    per_current = 1 / p.tau if p.decay_input else 1.0
    h, eps = torch.empty_like(current), torch.empty_like(current)
    v = torch.full_like(current[0], p.v_reset)
    for t, x in enumerate(current):
        u = decay * v + x * per_current + rest
        h[t] = SURROGATES[p.surrogate].derivative(u - p.v_threshold, p.surrogate_width)
        s = (u >= p.v_threshold).to(u.dtype)
        through = 0.0 if p.detach_reset else h[t]
        if p.reset == "soft":
            v = u - s * p.v_threshold
            eps[t] = decay * (1 - p.v_threshold * through)
        else:
            v = u * (1 - s) + s * p.v_reset
            eps[t] = decay * ((1 - s) + (p.v_reset - u) * through)
    return Paths(h, eps, None, None, None, per_current)


def _clif(p: Any, current: Tensor) -> Paths:
    decay = 1 - 1 / p.tau
    h, eps, psi, phi, rho = (torch.empty_like(current) for _ in range(5))
    v = torch.zeros_like(current[0])
    m = torch.zeros_like(v)
    for t, x in enumerate(current):
        u = decay * v + x
        h[t] = SURROGATES[p.surrogate].derivative(u - p.v_threshold, p.surrogate_width)
        s = (u >= p.v_threshold).to(u.dtype)
        rho[t] = torch.sigmoid(u / p.tau)
        psi[t] = m * rho[t] * (1 - rho[t]) / p.tau + h[t]
        m = m * rho[t] + s
        q = torch.sigmoid(m)
        v = u - s * (p.v_threshold + q)
        eps[t] = decay * (1 - (p.v_threshold + q) * h[t])
        phi[t] = -decay * s * q * (1 - q)
    return Paths(h, eps, psi, phi, rho, 1.0)


def split(paths: Paths, g_spikes: Tensor, formula: str = "exact") -> GradientParts:
    """Spatial, M1 and M2 part of every step, for one of FORMULAS.

    The exact ones add up to the gradient. LIF has no M2, and one formula only: eps is exact there.
    """
    spatial = g_spikes * paths.h
    m1, m2 = torch.zeros_like(spatial), torch.zeros_like(spatial)
    du = spatial[-1].clone()
    dm = torch.zeros_like(du)
    for t in range(len(spatial) - 2, -1, -1):
        if paths.psi is None or paths.phi is None or paths.rho is None:
            m1[t] = paths.eps[t] * du
        else:
            carried = paths.rho[t + 1] * dm
            xi = paths.eps[t] + paths.phi[t] * paths.psi[t]
            if formula == "paper":
                carried = carried + paths.psi[t + 1] * paths.phi[t] * dm
            dm = paths.phi[t] * du + carried
            m1[t] = (paths.eps[t] if formula == "exact" else xi) * du
            m2[t] = paths.psi[t] * (carried if formula == "exact-xi" else dm)
        du = spatial[t] + m1[t] + m2[t]
    scale = paths.per_current
    return GradientParts(spatial * scale, m1 * scale, m2 * scale)


def membrane_part(paths: Paths, g_spikes: Tensor, lag: int) -> Tensor:
    """What reaches each step from `lag` steps later through the membrane potential alone,
    P[t + lag] eps[t] ... eps[t + lag - 1]: `[T - lag, N, *]`."""
    steps = len(g_spikes) - lag
    part = g_spikes[lag:] * paths.h[lag:] * paths.per_current
    for back in range(lag):
        part = part * paths.eps[back : back + steps]
    return part


def vanished(paths: Paths, lag: int) -> Tensor:
    """Where the product eps[t] ... eps[t + lag - 1] is zero, `[T - lag, N, *]`: part II of Eq. 14,
    as its part I, the decay, is not. Zero but for rounding: threshold * (1 / threshold) is not
    always 1."""
    rounding = 4 * torch.finfo(paths.eps.dtype).eps
    steps = len(paths.eps) - lag
    gone = torch.zeros_like(paths.eps[:steps], dtype=torch.bool)
    for back in range(lag):
        gone |= paths.eps[back : back + steps].abs() <= rounding
    return gone
