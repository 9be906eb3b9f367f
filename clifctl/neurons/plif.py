"""PLIF: leaky integrate-and-fire with a learnable time constant (one a layer).

    u[t] = (1 - rate) * v[t-1] + rate * v_rest + x[t]        rate = 1/tau = sigmoid(w)
    s[t], v[t]: as LIF

w starts at -log(tau - 1), so that the time constant starts at tau. Fang et al. (ICCV 2021) divide
the input by tau too, reset hard to 0 and detach the reset: `decay_input`, `reset`, `detach_reset`.
The CLIF authors' comparison does neither, and that is the default.
"""

import math
from typing import Any

import torch
from torch import Tensor

from clifctl.neurons.contract import LeakyResetHyperparameters, Learnable, Neuron, State
from clifctl.neurons.lif import charge, reset
from clifctl.neurons.surrogates import spike


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    u = charge(x, v, p.w, p)
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (reset(u, s, p),)


NEURON = Neuron(
    name="plif",
    title="parametric LIF: learnable time constant",
    paper="Fang et al., ICCV 2021; CLIF, ICML 2024, Figure 4",
    step=step,
    states=(State("v", "membrane potential after reset", lambda p: p.v_reset),),
    hyperparameters=LeakyResetHyperparameters,
    learnables=(
        Learnable(
            "w",
            "1/tau = sigmoid(w)",
            "scalar",
            lambda p, timesteps: -math.log(p.tau - 1),
            torch.sigmoid,
        ),
    ),
)
