"""KLIF: leaky integrate-and-fire whose membrane potential is scaled by a learnable k (one a layer).

    u[t] = decay * v[t-1] + v_rest / tau + x[t]      decay = 1 - 1/tau
    f[t] = relu(k * u[t])
    s[t] = 1 if f[t] >= v_threshold else 0
    v[t] = (f[t] - s[t] * v_threshold) / scale       reset: soft
    v[t] = f[t] * (1 - s[t]) / scale + s[t] * v_reset   reset: hard

`scale_reset` false: scale = 1; true: scale = k. The source leaves room for both readings. k starts
at 1. x input current, u, v membrane potential before scaling and after reset, s spike.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from clifctl.neurons.contract import LeakyResetHyperparameters, Learnable, Neuron, State
from clifctl.neurons.lif import charge
from clifctl.neurons.surrogates import spike


class KLIFHyperparameters(LeakyResetHyperparameters):
    """KLIF's own choice besides LIF's."""

    scale_reset: bool = Field(False, description="divide by k again after the reset")


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    f = torch.relu(p.k * charge(x, v, 1 / p.tau, p))
    s = spike(f - p.v_threshold, p.surrogate, p.surrogate_width)
    r = s.detach() if p.detach_reset else s
    rest = f - r * p.v_threshold if p.reset == "soft" else f * (1 - r)
    if p.scale_reset:
        rest = rest / p.k
    return s, (rest + r * p.v_reset if p.reset == "hard" else rest,)


NEURON = Neuron(
    name="klif",
    title="LIF with a learnable scale of the membrane potential",
    paper="Jiang and Zhang, arXiv 2302.09238; CLIF, ICML 2024, Figure 4",
    step=step,
    states=(State("v", "membrane potential after reset", lambda p: p.v_reset),),
    hyperparameters=KLIFHyperparameters,
    learnables=(
        Learnable("k", "scale of the membrane potential", "scalar", lambda p, timesteps: 1.0),
    ),
)
