"""LIF: leaky integrate-and-fire.

    u[t] = decay * v[t-1] + v_rest / tau + x[t]      decay = 1 - 1/tau                     (Eq. 1)
    s[t] = 1 if u[t] >= v_threshold else 0                                                  (Eq. 2)
    v[t] = u[t] - s[t] * v_threshold                 reset: soft                            (Eq. 3)
    v[t] = u[t] * (1 - s[t]) + s[t] * v_reset        reset: hard                            (Eq. 3)

x input current, u membrane potential before reset, v after reset, s spike; tau in time steps. With
the hard reset the membrane leaks towards v_reset and starts there (v_rest = v_reset, SpikingJelly's
reading); with the soft one v_rest = 0. `decay_input` divides x by tau; `detach_reset` lets no
gradient pass through the s of the reset. The paper uses neither, and the soft reset.
"""

from typing import Any

from torch import Tensor

from clifctl.neurons.contract import LeakyResetHyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


def charge(x: Tensor, v: Tensor, rate: Any, p: Any) -> Tensor:
    """Membrane potential before reset; `rate` is 1/tau, a number or a tensor."""
    if p.decay_input:
        x = x * rate
    u = (1 - rate) * v + x
    return u + p.v_reset * rate if p.v_reset != 0.0 else u


def reset(u: Tensor, s: Tensor, p: Any) -> Tensor:
    """Membrane potential after the spikes `s`, for either kind of reset."""
    if p.detach_reset:
        s = s.detach()
    return u - s * p.v_threshold if p.reset == "soft" else u * (1 - s) + s * p.v_reset


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    u = charge(x, v, 1 / p.tau, p)
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (reset(u, s, p),)


NEURON = Neuron(
    name="lif",
    title="leaky integrate-and-fire",
    paper="CLIF, ICML 2024, Eq. 1-3",
    step=step,
    states=(State("v", "membrane potential after reset", lambda p: p.v_reset),),
    hyperparameters=LeakyResetHyperparameters,
)
