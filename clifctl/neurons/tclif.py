"""TC-LIF: two compartments, a dendrite that remembers and a soma that fires.

    d[t] = d[t-1] - sigmoid(c1) * v[t-1] + x[t]         dendrite
    u[t] = v[t-1] + sigmoid(c2) * d[t]                  soma
    s[t] = 1 if u[t] >= v_threshold else 0
    d[t] <- d[t] - s[t] * gamma                         soft resets
    v[t] = u[t] - s[t] * v_threshold

c1 and c2 are learnable, one of each a layer, and start at 0. x input current, d dendritic and u, v
somatic potential (before and after reset), s spike.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from clifctl.neurons.contract import Learnable, Neuron, SpikingHyperparameters, State
from clifctl.neurons.surrogates import spike


class TCLIFHyperparameters(SpikingHyperparameters):
    """The dendrite's reset."""

    gamma: float = Field(0.5, ge=0.0, description="what a spike takes from the dendrite")


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    d, v = state
    d = d - p.c1 * v + x
    u = v + p.c2 * d
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (d - s * p.gamma, u - s * p.v_threshold)


NEURON = Neuron(
    name="tclif",
    title="two-compartment LIF",
    paper="Zhang et al., AAAI 2024",
    step=step,
    states=(
        State("d", "dendritic potential after reset"),
        State("v", "somatic potential after reset"),
    ),
    hyperparameters=TCLIFHyperparameters,
    learnables=(
        Learnable("c1", "soma to dendrite", "scalar", lambda p, timesteps: 0.0, torch.sigmoid),
        Learnable("c2", "dendrite to soma", "scalar", lambda p, timesteps: 0.0, torch.sigmoid),
    ),
)
