"""Trajectories worked out by hand from the paper's equations: they share no code with `step`."""

import math

import pytest
import torch

from clifctl.kernels import scan
from clifctl.neurons import NEURONS


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# tau = 2 (decay 1/2), threshold 1. Input, spikes and membrane potential after reset.
LIF_INPUT = [0.5, 0.75, 1.5, 0.25, 2.5, -1.0]
LIF_SPIKES = [0, 1, 1, 0, 1, 0]
# u: .5 | .25+.75=1.0 fires at equality | 0+1.5 | .25+.25 | .25+2.5=2.75 | .875-1
LIF_V = [0.5, 0.0, 0.5, 0.5, 1.75, -0.125]

CLIF_INPUT = [1.0, 2.0, 0.5, 0.25, 3.0, 0.0]
CLIF_SPIKES = [1, 1, 0, 0, 1, 0]


def clif_by_hand() -> tuple[list[float], list[float]]:
    """v and m of the CLIF example, one line a step."""
    v1, m1 = 1.0 - (1 + sigma(1.0)), 1.0  # u = 1, fires; m = 0 * . + 1
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
    return [v1, v2, v3, v4, v5, v6], [m1, m2, m3, m4, m5, m6]


def trace(name: str, currents: list[float]) -> tuple[list[float], list[list[float]]]:
    """Spikes, and each state's values, of one neuron fed step by step."""
    parameters = NEURONS[name].parameters()
    state = None
    spikes: list[float] = []
    states: list[list[float]] = [[] for _ in NEURONS[name].states]
    for current in currents:
        x = torch.tensor([[[current]]], dtype=torch.float64)
        out, state = scan(x, state, parameters)
        spikes.append(out.item())
        for values, tensor in zip(states, state, strict=True):
            values.append(tensor.item())
    return spikes, states


def test_lif() -> None:
    spikes, (v,) = trace("lif", LIF_INPUT)
    assert spikes == LIF_SPIKES
    assert v == LIF_V


def test_clif() -> None:
    spikes, (v, m) = trace("clif", CLIF_INPUT)
    expected_v, expected_m = clif_by_hand()
    assert spikes == CLIF_SPIKES
    assert v == pytest.approx(expected_v, abs=1e-14)
    assert m == pytest.approx(expected_m, abs=1e-14)
    assert v[0] == pytest.approx(-0.7310585786300049, abs=1e-15)


def test_relu() -> None:
    out, _ = trace("relu", [1.5])
    assert out == [1.5]
    assert trace("relu", [-1.5])[0] == [0.0]


def test_every_neuron_has_a_trajectory() -> None:
    assert set(NEURONS) == {"lif", "clif", "relu"}, "add a hand-worked trajectory"
