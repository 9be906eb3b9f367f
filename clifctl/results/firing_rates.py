"""The firing rate of a net: one definition, wherever it is written."""

from collections.abc import Iterable
from typing import Protocol


class RateOfLayer(Protocol):
    """A layer of neurons, and its spikes per neuron and time step."""

    @property
    def neurons(self) -> int:
        """How many neurons it has."""

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and time step."""


def net_firing_rate(layers: Iterable[RateOfLayer]) -> float | None:
    """Spikes per neuron and time step, over all neurons of the layers: a large layer counts for
    more than a small one. None without any neuron."""
    known = list(layers)
    neurons = sum(layer.neurons for layer in known)
    if neurons == 0:
        return None
    return sum(layer.firing_rate * layer.neurons for layer in known) / neurons
