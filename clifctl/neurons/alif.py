"""ALIF: leaky integrate-and-fire with an adaptive threshold.

    u[t] = decay * v[t-1] + x[t]                           decay = 1 - 1/tau
    s[t] = 1 if u[t] >= v_threshold + beta * a[t-1] else 0
    a[t] = rho * a[t-1] + s[t]                             rho = 1 - 1/tau_adaptation
    v[t] = u[t] - s[t] * v_threshold

x input current, u, v membrane potential before and after reset, a adaptation, s spike; time
constants in time steps. Bellec et al. write the decays as exp(-1/tau); the first-order form here is
the one of every other neuron of the table.
"""

from typing import Any

from pydantic import Field
from torch import Tensor

from clifctl.neurons.contract import LeakyHyperparameters, Neuron, State
from clifctl.neurons.surrogates import spike


class ALIFHyperparameters(LeakyHyperparameters):
    """The adaptation."""

    tau_adaptation: float = Field(
        10.0, gt=1.0, description="time constant of the adaptation [time steps]"
    )
    beta: float = Field(0.2, ge=0.0, description="how much a spike raises the threshold")


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    v, a = state
    u = (1 - 1 / p.tau) * v + x
    s = spike(u - (p.v_threshold + p.beta * a), p.surrogate, p.surrogate_width)
    return s, (u - s * p.v_threshold, (1 - 1 / p.tau_adaptation) * a + s)


NEURON = Neuron(
    name="alif",
    title="LIF with an adaptive threshold",
    paper="Bellec et al., Nature Communications 2020, the ALIF model",
    step=step,
    states=(State("v", "membrane potential after reset"), State("a", "adaptation")),
    hyperparameters=ALIFHyperparameters,
)
