"""CLIF: complementary leaky integrate-and-fire.

    u[t] = decay * v[t-1] + x[t]            decay = 1 - 1/tau                   (Eq. 1)
    s[t] = 1 if u[t] >= v_threshold else 0                                      (Eq. 2)
    m[t] = m[t-1] * sigmoid(u[t] / tau) + s[t]                                  (Eq. 15, 16)
    v[t] = u[t] - s[t] * (v_threshold + sigmoid(m[t]))                          (Eq. 18)

x input current, u membrane potential before reset, v after reset, m complementary potential (never
negative), s spike; tau in time steps. m decays with the membrane potential before reset, and the
reset uses m after the spike was added to it. Nothing is detached. At T = 1 CLIF equals LIF.
"""

from typing import Any

import torch
from torch import Tensor

from clifctl.neurons.contract import LeakyHyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    v, m = state
    u = (1 - 1 / p.tau) * v + x
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    m = m * torch.sigmoid(u / p.tau) + s
    v = u - s * (p.v_threshold + torch.sigmoid(m))
    return s, (v, m)


NEURON = Neuron(
    name="clif",
    title="complementary leaky integrate-and-fire",
    paper="CLIF, ICML 2024, Eq. 15-19 and Algorithm 1",
    step=step,
    states=(
        State("v", "membrane potential after reset"),
        State("m", "complementary potential"),
    ),
    hyperparameters=LeakyHyperparameters,
)
