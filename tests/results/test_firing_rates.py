"""The firing rate of a net."""

from dataclasses import dataclass

import pytest

from clifctl.results.firing_rates import net_firing_rate


@dataclass(frozen=True)
class Layer:
    neurons: int
    firing_rate: float


def test_every_neuron_counts_alike() -> None:
    layers = [Layer(300, 0.1), Layer(100, 0.5)]
    assert net_firing_rate(layers) == pytest.approx(0.2)
    assert net_firing_rate(iter(layers[1:])) == 0.5
    assert net_firing_rate([]) is None
