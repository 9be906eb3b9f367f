"""IF: integrate-and-fire without a leak, the neuron that rate-coded ANNs are converted to.

    u[t] = v[t-1] + x[t]
    s[t], v[t]: as LIF

x input current, u membrane potential before reset, v after reset, s spike. With the hard reset the
membrane starts at v_reset, as SpikingJelly's IFNode does.
"""

from typing import Any

from torch import Tensor

from clifctl.neurons.contract import Neuron, ResetHyperparameters, State
from clifctl.neurons.lif import reset
from clifctl.neurons.surrogates import spike


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    (v,) = state
    u = v + x
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (reset(u, s, p),)


NEURON = Neuron(
    name="if",
    title="integrate-and-fire, without a leak",
    paper="Rueckauer et al., Frontiers in Neuroscience 2017",
    step=step,
    states=(State("v", "membrane potential after reset", lambda p: p.v_reset),),
    hyperparameters=ResetHyperparameters,
)
