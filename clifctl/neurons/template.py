"""A neuron to begin with: leaky integrate-and-fire whose spikes tire it.

    u[t] = (1 - 1/tau) * v[t-1] + x[t] - strength * a[t-1]
    s[t] = 1 if u[t] >= v_threshold else 0
    v[t] = u[t] - s[t] * v_threshold
    a[t] = (1 - 1/tau_a) * a[t-1] + s[t]

x input current, u membrane potential before the reset, v after it, a how tired the neuron is;
strength = softplus(raw) > 0 is learned, one a layer. Change what you like, then look whether every
kernel still does what `step` does: clifctl neurons check FILE.py:NEURON
"""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from clifctl.neurons import LeakyHyperparameters, Learnable, Neuron, State, spike


# What a recipe sets as neuron.KEY=VALUE. LeakyHyperparameters brings tau, v_threshold, surrogate
# and surrogate_width along; SpikingHyperparameters is the same without tau.
class Tiring(LeakyHyperparameters):
    """Hyperparameters, each with its default, its range and a description."""

    tau_a: float = Field(4.0, gt=1.0, description="time constant of the tiredness [time steps]")


# One time step, and the reference of everything else: kernels for CPU and GPU, and all gradients,
# are derived from it. `x` is the input current, `state` holds the states in the order in which they
# are declared below, `p` every hyperparameter and learned value under its name.
#
# Allowed are + - * /, comparisons, torch.where, exp, sigmoid, tanh, relu, abs, clamp, minimum,
# maximum, .detach(), and spike(). What depends on hyperparameters alone may be any Python; what
# depends on x or a state may not be asked by `if`: use torch.where.
def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    v, a = state
    u = (1 - 1 / p.tau) * v + x - p.strength * a
    # 1 where u reaches the threshold; backward takes the surrogate's gradient.
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    v = u - s * p.v_threshold  # soft reset; a hard one to 0 is u * (1 - s)
    a = (1 - 1 / p.tau_a) * a + s
    return s, (v, a)  # the output, then the new states


def softplus(raw: Tensor) -> Tensor:
    """A number greater than 0."""
    return torch.relu(raw) + torch.log1p(torch.exp(-torch.abs(raw)))


NEURON = Neuron(
    name="tiring",  # a neuron of a file goes by FILE.py:NEURON
    title="leaky integrate-and-fire that tires",
    paper="your paper, and its equations",
    step=step,
    # Each begins at 0; State("v", "...", 0.5), or a function of the hyperparameters: elsewhere.
    states=(
        State("v", "membrane potential after the reset"),
        State("a", "tiredness"),
    ),
    hyperparameters=Tiring,
    # What is trained beside the weights: name, description, shape (scalar, channel, step or
    # step_channel), where the raw number starts, and what keeps it in range, which `step` sees.
    # A neuron without any leaves this out.
    learnables=(
        Learnable(
            "strength",
            "how much tiredness takes from the input",
            "scalar",
            lambda p, timesteps: math.log(math.exp(0.1) - 1),  # softplus of it is 0.1
            softplus,
        ),
    ),
)
