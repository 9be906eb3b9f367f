"""LIF: leaky integrate-and-fire with soft reset.

    u[t] = decay * v[t-1] + x[t]            decay = 1 - 1/tau                   (Eq. 1)
    s[t] = 1 if u[t] >= v_threshold else 0                                      (Eq. 2)
    v[t] = u[t] - s[t] * v_threshold                                            (Eq. 3)

x input current, u membrane potential before reset, v after reset, s spike; tau in time steps. The
input is not scaled by 1/tau and the reset is not detached, as in the authors' training code.
"""

from typing import Any

from torch import Tensor

from clifctl.neurons.contract import LeakyHyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    u = (1 - 1 / p.tau) * v + x
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (u - s * p.v_threshold,)


NEURON = Neuron(
    name="lif",
    title="leaky integrate-and-fire, soft reset",
    paper="CLIF, ICML 2024, Eq. 1-3",
    step=step,
    states=(State("v", "membrane potential after reset"),),
    hyperparameters=LeakyHyperparameters,
)
