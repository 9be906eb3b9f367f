"""GLIF: gated leaky integrate-and-fire; gates choose between two kinds of leak, input and reset.

    u[t] = (1 - alpha (1 - tau)) u[t-1] (1 - gamma s[t-1]) - (1 - alpha) linear_decay
           + (1 - beta (1 - conduct[t])) x[t] - (1 - gamma) v_subreset s[t-1]
    s[t] = 1 if u[t] >= v_threshold else 0

Every parameter is learnable and the sigmoid of a raw value: the gates alpha, beta, gamma; tau, the
factor of exponential decay; v_threshold; linear_decay; v_subreset, the amount of the soft reset;
conduct, one for each time step. `glif` has one of each a layer, `glif_channel` one a channel. The
raw gates start at random in (-0.1, 0.1), tau at 0.25, the others at 0.5 and linear_decay at
v_threshold / (2 T). x input current, u membrane potential before reset, s spike.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from clifctl.neurons.contract import Learnable, Neuron, State, SurrogateHyperparameters
from clifctl.neurons.surrogates import spike

THRESHOLD, TAU, SUBRESET, CONDUCT, GATES = 0.5, 0.25, 0.5, 0.5, 0.1


def step(x: Tensor, state: tuple[Tensor, ...], p: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    u, s = state
    leaked = (1 - p.alpha * (1 - p.tau)) * u * (1 - p.gamma * s) - (1 - p.alpha) * p.linear_decay
    charged = leaked + (1 - p.beta * (1 - p.conduct)) * x
    u = charged - (1 - p.gamma) * p.v_subreset * s
    s = spike(u - p.v_threshold, p.surrogate, p.surrogate_width)
    return s, (u, s)


def _logit(value: float) -> float:
    return -math.log(1 / value - 1)


def _learnables(
    once: Literal["scalar", "channel"], each_step: Literal["step", "step_channel"]
) -> tuple[Learnable, ...]:
    def gate(name: str, description: str) -> Learnable:
        return Learnable(name, description, once, lambda p, T: 0.0, torch.sigmoid, spread=GATES)

    def at(name: str, description: str, value: float) -> Learnable:
        return Learnable(name, description, once, lambda p, T: _logit(value), torch.sigmoid)

    return (
        gate("alpha", "gate of the leak: exponential against linear"),
        gate("beta", "gate of the input: by conductance against plain"),
        gate("gamma", "gate of the reset: hard against soft"),
        at("tau", "factor of exponential decay", TAU),
        at("v_threshold", "firing threshold", THRESHOLD),
        Learnable(
            "linear_decay",
            "amount of linear decay",
            once,
            lambda p, timesteps: _logit(THRESHOLD / (2 * timesteps)),
            torch.sigmoid,
        ),
        at("v_subreset", "amount of the soft reset", SUBRESET),
        Learnable(
            "conduct",
            "conductance of the input at each time step",
            each_step,
            lambda p, timesteps: _logit(CONDUCT),
            torch.sigmoid,
        ),
    )


_STATES = (State("u", "membrane potential before reset"), State("s", "last spike"))
_PAPER = "Yao et al., NeurIPS 2022; CLIF, ICML 2024, Figure 4"

NEURON = Neuron(
    name="glif",
    title="gated LIF, parameters of a layer",
    paper=_PAPER,
    step=step,
    states=_STATES,
    hyperparameters=SurrogateHyperparameters,
    learnables=_learnables("scalar", "step"),
)
CHANNEL_NEURON = Neuron(
    name="glif_channel",
    title="gated LIF, parameters of each channel",
    paper=_PAPER,
    step=step,
    states=_STATES,
    hyperparameters=SurrogateHyperparameters,
    learnables=_learnables("channel", "step_channel"),
)
