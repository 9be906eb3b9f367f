"""I-LIF: integer activations in training, as many binary spikes at inference.

    u[t] = decay * v[t-1] + x[t]              decay = 1 - 1/tau
    s[t] = round(clamp(u[t], 0, D))           D = max_value
    v[t] = u[t] - s[t]

    ds/du = 1 where 0 <= u <= D, else 0       straight through

x input current, u membrane potential before reset, v after reset, s integer activation. An s of n
is n of the D binary spikes that a time step has at inference: connections are linear, so they get
the same from either. A tie rounds up: a neuron fires at equality here. SpikeYOLO has D = 4 and
decay 1/4 (tau = 4/3), and its code detaches the s of the reset (`detach_reset`); the Spike-Driven
Transformer V3 divides s by D, which is a factor of the next weights.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from clifctl.neurons.contract import Hyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


class ILIFHyperparameters(Hyperparameters):
    """The leak and the largest activation; the threshold is 1, the gradient straight through."""

    tau: float = Field(2.0, gt=1.0, description="membrane time constant [time steps]")
    max_value: int = Field(
        4, ge=1, le=32, description="D: largest activation, and spikes a time step at inference"
    )
    detach_reset: bool = Field(False, description="no gradient through the activation of the reset")

    @property
    def most_spikes(self) -> int:
        """D."""
        return self.max_value


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    u = (1 - 1 / p.tau) * v + x
    spikes = spike(u - 0.5)
    for n in range(1, p.max_value):
        spikes = spikes + spike(u - (n + 0.5))
    # Exactly `spikes`: the difference of a number and what it is rounded to has no rounding error.
    within = torch.where(u < 0.0, 0.0, torch.where(u > p.max_value, float(p.max_value), u))
    s = within + (spikes - within).detach()
    return s, (u - (s.detach() if p.detach_reset else s),)


NEURON = Neuron(
    name="ilif",
    title="integer LIF: integers in training, spikes at inference",
    paper="Luo et al. (SpikeYOLO), ECCV 2024; Yao et al. (Spike-Driven Transformer V3), TPAMI 2025",
    step=step,
    states=(State("v", "membrane potential after reset"),),
    hyperparameters=ILIFHyperparameters,
)
