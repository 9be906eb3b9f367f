"""Trajectories worked out by hand from each neuron's equations: no code is shared with `step`.

Six steps each. A comment shows the working, step by step and separated by |, with ! where it fires.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.kernels import scan
from clifctl.neurons import NEURONS, Parameters

STEPS = 6


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# Raw values whose sigmoid a pencil can write down: 1 / (1 + exp(-log(a / b))) = a / (a + b).
RAW = {
    0.1: math.log(1 / 9),
    0.2: math.log(1 / 4),
    0.25: math.log(1 / 3),
    0.4: math.log(2 / 3),
    0.5: 0.0,
    0.6: math.log(3 / 2),
    0.75: math.log(3),
    0.8: math.log(4),
}


@dataclass(frozen=True)
class Trajectory:
    """Input, output and each state of a neuron at every step: a number, or one for each channel.
    `learnables` are raw."""

    name: str
    neuron: str
    x: Sequence[Any]
    out: Sequence[Any]
    states: Mapping[str, Sequence[Any]]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    learnables: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, steps: slice) -> Parameters:
        """The neuron for a piece of the sequence: what has a value a step is cut to it."""
        neuron = NEURONS[self.neuron]
        raw = {name: float64(value) for name, value in self.learnables.items()}
        for learnable in neuron.learnables:
            if learnable.by_step:
                raw[learnable.name] = raw[learnable.name][steps]
        return neuron.parameters(raw, **self.hyperparameters)


def float64(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sequence(values: Sequence[Any]) -> Tensor:
    """`[T, 1, C]`: one sample; one channel where each step is a plain number."""
    return float64(values).reshape(len(values), 1, -1)


# threshold 1. u = v + x: .5 | .5+.5=1.0 at equality! | -.25 | .75 | .75+2.25=3! | 2-1.5
IF = Trajectory(
    "if",
    "if",
    x=[0.5, 0.5, -0.25, 1.0, 2.25, -1.5],
    out=[0, 1, 0, 0, 1, 0],
    states={"v": [0.5, 0.0, -0.25, 0.75, 2.0, 0.5]},
)

# v starts at -.5, and goes there. u = v + x: .5 | 1.0 at equality! | .25 | 2.25! | -1.5 | 1.0!
IF_HARD = Trajectory(
    "if-hard",
    "if",
    x=[1.0, 0.5, 0.75, 2.0, -1.0, 2.5],
    out=[0, 1, 0, 1, 0, 1],
    states={"v": [0.5, -0.5, 0.25, -0.5, -1.5, -0.5]},
    hyperparameters={"reset": "hard", "v_reset": -0.5},
)

# decay 1/2, threshold 1. u = v/2 + x, before the reset:
# .5 | .25+.75=1.0 at equality! | 0+1.5! | .25+.25 | .25+2.5=2.75! | .875-1
LIF = Trajectory(
    "lif",
    "lif",
    x=[0.5, 0.75, 1.5, 0.25, 2.5, -1.0],
    out=[0, 1, 1, 0, 1, 0],
    states={"v": [0.5, 0.0, 0.5, 0.5, 1.75, -0.125]},
)

# decay 3/4, v_rest / tau = -.06/4 = -.015, v starts at -.06. u = 3/4 v - .015 + x:
# -.045-.015 stays at rest | -.06+.5 | .33-.015=.315, 3/4 of the way above rest
# | .23625-.015+1=1.22125! | back at rest: -.06+1=.94 | .705-.015+.5=1.19!
LIF_HARD = Trajectory(
    "lif-hard",
    "lif",
    x=[0.0, 0.5, 0.0, 1.0, 1.0, 0.5],
    out=[0, 0, 0, 1, 0, 1],
    states={"v": [-0.06, 0.44, 0.315, -0.06, 0.94, -0.06]},
    hyperparameters={"tau": 4.0, "reset": "hard", "v_reset": -0.06},
)

# u = 3/4 v + x/4, threshold 1:
# 4/4 at equality! | 0+.5 | .375+.5 | .65625+.25 | .6796875+.5=1.1796875! | .134765625-.25
LIF_DECAY_INPUT = Trajectory(
    "lif-decay_input",
    "lif",
    x=[4.0, 2.0, 2.0, 1.0, 2.0, -1.0],
    out=[1, 0, 0, 0, 1, 0],
    states={"v": [0.0, 0.5, 0.875, 0.90625, 0.1796875, -0.115234375]},
    hyperparameters={"tau": 4.0, "decay_input": True},
)

# rate = sigmoid(0) = 1/2, whatever tau (it only says where w starts). u = v/2 + x:
# .25 | .125+.875=1.0 at equality! | 0-.5 | -.25+1.5=1.25! | .125+.75 | .4375+1=1.4375!
PLIF = Trajectory(
    "plif",
    "plif",
    x=[0.25, 0.875, -0.5, 1.5, 0.75, 1.0],
    out=[0, 1, 0, 1, 0, 1],
    states={"v": [0.25, 0.0, -0.5, 0.25, 0.875, 0.4375]},
    hyperparameters={"tau": 5.0},
    learnables={"w": 0.0},
)

# rate = sigmoid(log 3) = 3/4. u = v/4 + x:
# .5 | .125+.5 | .15625+1! | .0390625+.75 | .197265625+1.5! | .17431640625-.5
PLIF_FAST = Trajectory(
    "plif-fast",
    "plif",
    x=[0.5, 0.5, 1.0, 0.75, 1.5, -0.5],
    out=[0, 0, 1, 0, 1, 0],
    states={"v": [0.5, 0.625, 0.15625, 0.7890625, 0.697265625, -0.32568359375]},
    hyperparameters={"tau": 2.0},
    learnables={"w": math.log(3)},
)

# As Fang et al.: the input times the rate 3/4 too, and a hard reset to 0. u = v/4 + 3/4 x:
# .75 | .1875+.75 | .234375+1.125=1.359375! | 0+.375 | .09375+1.5! | 0-.75
PLIF_SOURCE = Trajectory(
    "plif-source",
    "plif",
    x=[1.0, 1.0, 1.5, 0.5, 2.0, -1.0],
    out=[0, 0, 1, 0, 1, 0],
    states={"v": [0.75, 0.9375, 0.0, 0.375, 0.0, -0.75]},
    hyperparameters={"decay_input": True, "reset": "hard", "detach_reset": True},
    learnables={"w": math.log(3)},
)

# k = 2, scale 1, decay 3/4. u = 3/4 v + x, f = relu(2u), v = f - s:
# u .25, f .5 | .375-.5=-.125, 0 | .5, 1.0 at equality! | .75, 1.5! | .375, .75 | .8125, 1.625!
KLIF = Trajectory(
    "klif",
    "klif",
    x=[0.25, -0.5, 0.5, 0.75, 0.0, 0.25],
    out=[0, 0, 1, 1, 0, 1],
    states={"v": [0.5, 0.0, 0.0, 0.5, 0.75, 0.625]},
    hyperparameters={"tau": 4.0},
    learnables={"k": 2.0},
)

# k = 2, scale 2, decay 1/2. u = v/2 + x, f = relu(2u), v = (f - s) / 2:
# u .25, f .5 | .125+.375=.5, 1.0 at equality! | -.5, 0 | 1, 2! | .25+.125=.375, .75
# | .1875+.5=.6875, 1.375!
KLIF_SCALED = Trajectory(
    "klif-scale_reset",
    "klif",
    x=[0.25, 0.375, -0.5, 1.0, 0.125, 0.5],
    out=[0, 1, 0, 1, 0, 1],
    states={"v": [0.25, 0.0, 0.0, 0.5, 0.375, 0.1875]},
    hyperparameters={"tau": 2.0, "scale_reset": True},
    learnables={"k": 2.0},
)

# As above with the hard reset: v_rest / tau = -.03, v starts at -.06. u = v/2 - .03 + x:
# u -.06+.31=.25, f .5 | .125-.03=.095, .19 | .0475-.03+.5=.5175, 1.035! | -.06, 0
# | 0-.03+1=.97, 1.94! | -.06+.26=.2, .4
KLIF_SCALED_HARD = Trajectory(
    "klif-scale_reset-hard",
    "klif",
    x=[0.31, 0.0, 0.5, 0.0, 1.0, 0.26],
    out=[0, 0, 1, 0, 1, 0],
    states={"v": [0.25, 0.095, -0.06, 0.0, -0.06, 0.2]},
    hyperparameters={"tau": 2.0, "reset": "hard", "v_reset": -0.06, "scale_reset": True},
    learnables={"k": 2.0},
)

# Every parameter 1/2: the leak keeps 1 - 1/2 * 1/2 = 3/4, and half of it after a spike; it takes
# 1/2 * 1/2 = 1/4; the input counts 1 - 1/2 * 1/2 = 3/4; a spike takes 1/2 * 1/2 = 1/4 at the next
# step. u = 3/4 u (1 - s/2) - 1/4 + 3/4 x - s/4, threshold 1/2:
# -.25+.75=.5 at equality! | .1875-.25+.75-.25 | .328125-.25 | .05859375-.25+.75=.55859375!
# | .20947265625-.25+1.5-.25=1.20947265625! | .45355224609375-.25-.25
GLIF = Trajectory(
    "glif",
    "glif",
    x=[1.0, 1.0, 0.0, 1.0, 2.0, 0.0],
    out=[1, 0, 0, 1, 1, 0],
    states={
        "u": [0.5, 0.4375, 0.078125, 0.55859375, 1.20947265625, -0.04644775390625],
        "s": [1, 0, 0, 1, 1, 0],
    },
    learnables={
        "alpha": RAW[0.5],
        "beta": RAW[0.5],
        "gamma": RAW[0.5],
        "tau": RAW[0.5],
        "v_threshold": RAW[0.5],
        "linear_decay": RAW[0.5],
        "v_subreset": RAW[0.5],
        "conduct": [RAW[0.5]] * STEPS,
    },
)

# Every parameter another: the leak keeps 1 - .75 * .8 = .4, times 1 - .8 = .2 after a spike; it
# takes .25 * .1 = .025; a spike takes .2 * .4 = .08 at the next step; the input counts
# 1 - .25 (1 - conduct) = .8125, .9375, .8, .95, .875, .775. Threshold .6:
# .325-.025 | .12-.025+.375 | .188-.025+.8=.963! | .07704-.025+.95-.08=.92204!
# | .0737632-.025+.175-.08 | .05750528-.025-.155
GLIF_GATED = Trajectory(
    "glif-gated",
    "glif",
    x=[0.4, 0.4, 1.0, 1.0, 0.2, -0.2],
    out=[0, 0, 1, 1, 0, 0],
    states={
        "u": [0.3, 0.47, 0.963, 0.92204, 0.1437632, -0.12249472],
        "s": [0, 0, 1, 1, 0, 0],
    },
    learnables={
        "alpha": RAW[0.75],
        "beta": RAW[0.25],
        "gamma": RAW[0.8],
        "tau": RAW[0.2],
        "v_threshold": RAW[0.6],
        "linear_decay": RAW[0.1],
        "v_subreset": RAW[0.4],
        "conduct": [RAW[0.25], RAW[0.75], RAW[0.2], RAW[0.8], RAW[0.5], RAW[0.1]],
    },
)


def side_by_side(left: Sequence[float], right: Sequence[float]) -> list[list[float]]:
    """The values of two channels, step by step."""
    return [list(pair) for pair in zip(left, right, strict=True)]


# Two channels that differ in every parameter: the two examples of GLIF.
GLIF_CHANNEL = Trajectory(
    "glif_channel",
    "glif_channel",
    x=side_by_side(GLIF.x, GLIF_GATED.x),
    out=side_by_side(GLIF.out, GLIF_GATED.out),
    states={name: side_by_side(GLIF.states[name], GLIF_GATED.states[name]) for name in ("u", "s")},
    learnables={
        "alpha": [RAW[0.5], RAW[0.75]],
        "beta": [RAW[0.5], RAW[0.25]],
        "gamma": [RAW[0.5], RAW[0.8]],
        "tau": [RAW[0.5], RAW[0.2]],
        "v_threshold": [RAW[0.5], RAW[0.6]],
        "linear_decay": [RAW[0.5], RAW[0.1]],
        "v_subreset": [RAW[0.5], RAW[0.4]],
        "conduct": side_by_side(GLIF.learnables["conduct"], GLIF_GATED.learnables["conduct"]),
    },
)


def clif_by_hand() -> dict[str, list[float]]:
    """v and m of the CLIF example, one line a step."""
    v1, m1 = 1.0 - (1 + sigma(1.0)), 1.0  # u = 1, fires at equality; m = 0 * . + 1
    u2 = 0.5 * v1 + 2.0  # 1.634, fires
    m2 = m1 * sigma(u2 / 2) + 1
    v2 = u2 - (1 + sigma(m2))
    u3 = 0.5 * v2 + 0.5  # below threshold
    m3, v3 = m2 * sigma(u3 / 2), u3
    u4 = 0.5 * v3 + 0.25
    m4, v4 = m3 * sigma(u4 / 2), u4
    u5 = 0.5 * v4 + 3.0  # fires
    m5 = m4 * sigma(u5 / 2) + 1
    v5 = u5 - (1 + sigma(m5))
    u6 = 0.5 * v5
    m6, v6 = m5 * sigma(u6 / 2), u6
    return {"v": [v1, v2, v3, v4, v5, v6], "m": [m1, m2, m3, m4, m5, m6]}


CLIF = Trajectory(
    "clif",
    "clif",
    x=[1.0, 2.0, 0.5, 0.25, 3.0, 0.0],
    out=[1, 1, 0, 0, 1, 0],
    states=clif_by_hand(),
)


def slow_clif_by_hand() -> dict[str, list[float]]:
    """v and m of CLIF with decay 3/4 and threshold 1/2."""
    v1, m1 = 0.25, 0.0  # u = .25
    u2 = 0.75 * v1 + 0.5  # .6875, fires
    m2 = m1 * sigma(u2 / 4) + 1  # 1
    v2 = u2 - (0.5 + sigma(m2))  # -.544
    u3 = 0.75 * v2 + 1.0  # .592, fires
    m3 = m2 * sigma(u3 / 4) + 1
    v3 = u3 - (0.5 + sigma(m3))
    u4 = 0.75 * v3 + 0.5  # -.048: m decays faster than by half
    m4, v4 = m3 * sigma(u4 / 4), u4
    u5 = 0.75 * v4 + 2.0  # fires
    m5 = m4 * sigma(u5 / 4) + 1
    v5 = u5 - (0.5 + sigma(m5))
    u6 = 0.75 * v5 - 0.5
    m6, v6 = m5 * sigma(u6 / 4), u6
    return {"v": [v1, v2, v3, v4, v5, v6], "m": [m1, m2, m3, m4, m5, m6]}


CLIF_SLOW = Trajectory(
    "clif-slow",
    "clif",
    x=[0.25, 0.5, 1.0, 0.5, 2.0, -0.5],
    out=[0, 1, 1, 0, 1, 0],
    states=slow_clif_by_hand(),
    hyperparameters={"tau": 4.0, "v_threshold": 0.5},
)

# decay 1/2, rho = 3/4. u = v/2 + x against 1 + a/2:
# 1 against 1, at equality! | 1.25, 1.5 | .625+.75=1.375, 1.375 at equality!
# | .1875+1.5=1.6875, 1.78125 | .84375+1=1.84375, 1.5859375! | .421875-.5, 1.939453125
ALIF = Trajectory(
    "alif",
    "alif",
    x=[1.0, 1.25, 0.75, 1.5, 1.0, -0.5],
    out=[1, 0, 1, 0, 1, 0],
    states={
        "v": [0.0, 1.25, 0.375, 1.6875, 0.84375, -0.078125],
        "a": [1.0, 0.75, 1.5625, 1.171875, 1.87890625, 1.4091796875],
    },
    hyperparameters={"tau": 2.0, "tau_adaptation": 4.0, "beta": 0.5},
)

# decay 3/4, rho = .9. u = 3/4 v + x against .5 + .2 a; a spike takes .5, not the raised threshold:
# .25 against .5 | .1875+.5=.6875, .5! | .140625+.5=.640625, .7 | .48046875+.25=.73046875, .68!
# | .1728515625+.5=.6728515625, .862 | .504638671875+.5=1.004638671875, .8258!
ALIF_SLOW = Trajectory(
    "alif-slow",
    "alif",
    x=[0.25, 0.5, 0.5, 0.25, 0.5, 0.5],
    out=[0, 1, 0, 1, 0, 1],
    states={
        "v": [0.25, 0.1875, 0.640625, 0.23046875, 0.6728515625, 0.504638671875],
        "a": [0.0, 1.0, 0.9, 1.81, 1.629, 2.4661],
    },
    hyperparameters={"tau": 4.0, "tau_adaptation": 10.0, "beta": 0.2, "v_threshold": 0.5},
)

# i = 3/4 i + x: .5 | .375+.375 | .5625-.3125 | .1875+1 | .890625 | .66796875
# u = v/2 + i: .5 | .25+.75=1.0 at equality! | 0+.25 | .125+1.1875=1.3125!
# | .15625+.890625=1.046875! | .0234375+.66796875
CUBA = Trajectory(
    "cuba",
    "cuba",
    x=[0.5, 0.375, -0.3125, 1.0, 0.0, 0.0],
    out=[0, 1, 0, 1, 1, 0],
    states={
        "i": [0.5, 0.75, 0.25, 1.1875, 0.890625, 0.66796875],
        "v": [0.5, 0.0, 0.25, 0.3125, 0.046875, 0.69140625],
    },
    hyperparameters={"tau": 2.0, "tau_current": 4.0},
)

# i = i/2 + x: .25 | .125+.25 | .1875 | .09375-.5 | -.203125+1 | .3984375
# u = 3/4 v + i, threshold 1/2: .25 | .1875+.375=.5625! | .046875+.1875 | .17578125-.40625
# | -.1728515625+.796875=.6240234375! | .093017578125+.3984375
CUBA_SLOW = Trajectory(
    "cuba-slow",
    "cuba",
    x=[0.25, 0.25, 0.0, -0.5, 1.0, 0.0],
    out=[0, 1, 0, 0, 1, 0],
    states={
        "i": [0.25, 0.375, 0.1875, -0.40625, 0.796875, 0.3984375],
        "v": [0.25, 0.0625, 0.234375, -0.23046875, 0.1240234375, 0.491455078125],
    },
    hyperparameters={"tau": 4.0, "tau_current": 2.0, "v_threshold": 0.5},
)

# sigmoid(c1) = sigmoid(c2) = 1/2, a spike takes 1/2 from the dendrite. Before the resets,
# d = d - v/2 + x: 1 | 1-.25+.5=1.25 | .75-.0625+.0625 | .75-.25+.5=1 | .5-0-1 | -.5+.125+3=2.625
# u = v + d/2: .5 | .5+.625=1.125! | .125+.375 | .5+.5=1.0 at equality! | 0-.25
# | -.25+1.3125=1.0625!
TCLIF = Trajectory(
    "tclif",
    "tclif",
    x=[1.0, 0.5, 0.0625, 0.5, -1.0, 3.0],
    out=[0, 1, 0, 1, 0, 1],
    states={
        "d": [1.0, 0.75, 0.75, 0.5, -0.5, 2.125],
        "v": [0.5, 0.125, 0.5, 0.0, -0.25, 0.0625],
    },
    learnables={"c1": 0.0, "c2": 0.0},
)

# sigmoid(c1) = 1/4, sigmoid(c2) = 3/4, threshold .8, a spike takes .2 from the dendrite.
# d = d - v/4 + x: .8 | .8-.15+.15 | .6-.1-.9 | -.4-.025+.825 | .4-.1+.5 | .6-.05-.55
# u = v + 3/4 d: .6 | .6+.6=1.2! | .4-.3 | .1+.3 | .4+.6=1! | .2+0
TCLIF_COUPLED = Trajectory(
    "tclif-coupled",
    "tclif",
    x=[0.8, 0.15, -0.9, 0.825, 0.5, -0.55],
    out=[0, 1, 0, 0, 1, 0],
    states={
        "d": [0.8, 0.6, -0.4, 0.4, 0.6, 0.0],
        "v": [0.6, 0.4, 0.1, 0.4, 0.2, 0.2],
    },
    hyperparameters={"gamma": 0.2, "v_threshold": 0.8},
    learnables={"c1": RAW[0.25], "c2": RAW[0.75]},
)

# decay 1/2, at most 4. u = v/2 + x: 2.75, 3! | -.125-1 | -.5625+6=5.4375, 4! | .71875-.25
# | .234375+.5, 1! | -.1328125-3
ILIF = Trajectory(
    "ilif",
    "ilif",
    x=[2.75, -1.0, 6.0, -0.25, 0.5, -3.0],
    out=[3, 0, 4, 0, 1, 0],
    states={"v": [-0.25, -1.125, 1.4375, 0.46875, -0.265625, -3.1328125]},
)

# decay 3/4, at most 2. u = 3/4 v + x: .5, a tie, 1! | -.375+1, 1! | -.28125+1, 1!
# | -.2109375+3, 2! | .591796875+.125, 1! | -.21240234375+.5
ILIF_TWO = Trajectory(
    "ilif-two",
    "ilif",
    x=[0.5, 1.0, 1.0, 3.0, 0.125, 0.5],
    out=[1, 1, 1, 2, 1, 0],
    states={"v": [-0.5, -0.375, -0.28125, 0.7890625, -0.283203125, 0.28759765625]},
    hyperparameters={"tau": 4.0, "max_value": 2},
)

RELU = Trajectory(
    "relu",
    "relu",
    x=[1.5, -1.5, 0.0, 0.25, -0.125, 2.0],
    out=[1.5, 0.0, 0.0, 0.25, 0.0, 2.0],
    states={},
)

TRAJECTORIES = [
    IF,
    IF_HARD,
    LIF,
    LIF_HARD,
    LIF_DECAY_INPUT,
    PLIF,
    PLIF_FAST,
    PLIF_SOURCE,
    KLIF,
    KLIF_SCALED,
    KLIF_SCALED_HARD,
    GLIF,
    GLIF_GATED,
    GLIF_CHANNEL,
    CLIF,
    CLIF_SLOW,
    ALIF,
    ALIF_SLOW,
    CUBA,
    CUBA_SLOW,
    TCLIF,
    TCLIF_COUPLED,
    ILIF,
    ILIF_TWO,
    RELU,
]
IN_TIME = [t for t in TRAJECTORIES if NEURONS[t.neuron].max_timesteps is None]

each_target = pytest.mark.parametrize("target", ["reference", "numba"])


def everywhere(trajectories: list[Trajectory]) -> pytest.MarkDecorator:
    """Each as the reference has it, and as compiled; a kernel for each set of hyperparameters
    besides the defaults is for who asks: test_parity.py compiles those of every neuron once."""
    return pytest.mark.parametrize(
        ("trajectory", "target"),
        [
            pytest.param(
                trajectory,
                target,
                id=f"{trajectory.name}-{target}",
                marks=[pytest.mark.exhaustive]
                if target == "numba" and trajectory.name != trajectory.neuron
                else [],
            )
            for trajectory in trajectories
            for target in ("reference", "numba")
        ],
    )


def check(trajectory: Trajectory, steps: slice, out: Tensor, state: tuple[Tensor, ...]) -> None:
    """Outputs exactly, and the states after the last of `steps`."""
    assert out.dtype == torch.float64
    assert out.tolist() == sequence(trajectory.out)[steps].tolist()
    assert [s.name for s in NEURONS[trajectory.neuron].states] == list(trajectory.states)
    for values, tensor in zip(trajectory.states.values(), state, strict=True):
        expected = sequence(values)[steps][-1]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-14)


@everywhere(TRAJECTORIES)
def test_step_by_step(trajectory: Trajectory, target: str) -> None:
    x = sequence(trajectory.x)
    state = None
    for t in range(STEPS):
        now = slice(t, t + 1)
        out, state = scan(x[now], state, trajectory.parameters(now), window=None, target=target)
        check(trajectory, now, out, state)


@everywhere(IN_TIME)
def test_whole_sequence(trajectory: Trajectory, target: str) -> None:
    x = sequence(trajectory.x)
    whole = slice(0, STEPS)
    out, state = scan(x, None, trajectory.parameters(whole), window=None, target=target)
    check(trajectory, whole, out, state)


@each_target
def test_relu_as_one_step_of_six_samples(target: str) -> None:
    x = float64([RELU.x]).unsqueeze(-1)
    out, state = scan(x, None, NEURONS["relu"].parameters(), target=target)
    assert out.flatten().tolist() == RELU.out
    assert state == ()


def test_clif_resets_below_zero() -> None:
    """1 - (1 + sigmoid(1)), from a table of the sigmoid."""
    assert CLIF.states["v"][0] == pytest.approx(-0.7310585786300049, abs=1e-15)


def test_every_neuron_has_a_trajectory() -> None:
    assert set(NEURONS) == {t.neuron for t in TRAJECTORIES}, "add a hand-worked trajectory"


@pytest.mark.parametrize("trajectory", TRAJECTORIES, ids=lambda t: t.name)
def test_a_trajectory_fires_sometimes(trajectory: Trajectory) -> None:
    out = sequence(trajectory.out)
    assert len(trajectory.x) == len(out) == STEPS
    fired = (out > 0).sum(0)
    assert ((fired > 0) & (fired < STEPS)).all()
