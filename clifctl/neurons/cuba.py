"""CUBA: current-based leaky integrate-and-fire; the input charges a synaptic current that decays.

    i[t] = decay_current * i[t-1] + x[t]        decay_current = 1 - 1/tau_current
    u[t] = decay * v[t-1] + i[t]                decay = 1 - 1/tau
    s[t] = 1 if u[t] >= v_threshold else 0
    v[t] = u[t] - s[t] * v_threshold

x input, i synaptic current, u, v membrane potential before and after reset, s spike; time constants
in time steps.
"""

from typing import Any

from pydantic import Field
from torch import Tensor

from clifctl.neurons.contract import LeakyHyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


class CUBAHyperparameters(LeakyHyperparameters):
    """The synapse."""

    tau_current: float = Field(
        2.0, gt=1.0, description="time constant of the synaptic current [time steps]"
    )


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    i, v = state
    i = (1 - 1 / p.tau_current) * i + x
    u = (1 - 1 / p.tau) * v + i
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (i, u - s * p.v_threshold)


NEURON = Neuron(
    name="cuba",
    title="current-based LIF",
    paper="the current-based model of Davies et al., Loihi, IEEE Micro 2018",
    step=step,
    states=(State("i", "synaptic current"), State("v", "membrane potential after reset")),
    hyperparameters=CUBAHyperparameters,
)
