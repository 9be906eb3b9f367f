"""Synaptic operations under the names of NeuroBench, and in words what an operation is charged as.

Dense: the connections between an input and an output value, at every step at which they are
computed. Effective: those of them whose input is not zero. Products with padding are neither, and
biases are none.
"""

from dataclasses import dataclass
from math import isnan

from clifctl.energy.graph import CONNECTIONS
from clifctl.energy.signals import Signals
from clifctl.results.energy import SynapticOperations


@dataclass(frozen=True)
class Synaptic:
    """The synaptic operations of a net's connections in one inference."""

    signals: Signals

    def dense(self, number: int) -> int | None:
        """Of one connection; None for another operation."""
        operation = self.signals.graph.operations[number]
        if operation.kind not in CONNECTIONS:
            return None
        return operation.pairs * (operation.steps if self.signals.spiking else 1)

    def effective(self, number: int) -> float | None:
        """Of one connection; None for another operation, and where firing rates are not known.
        Values that were not counted are held not to be zero."""
        dense = self.dense(number)
        if dense is None:
            return None
        if self.signals.fed_by(number) != "spikes":
            return self.signals.counted.nonzero.get(number, dense)
        reached = self.signals.reached(number)
        return None if isnan(reached) else reached

    def together(self) -> SynapticOperations:
        """Of the net."""
        numbers = [
            n for n in range(len(self.signals.graph.operations)) if self.dense(n) is not None
        ]
        by_spikes = [n for n in numbers if self.signals.fed_by(n) == "spikes"]
        by_values = [n for n in numbers if n not in by_spikes]
        return SynapticOperations(
            dense=sum(self.dense(n) or 0 for n in numbers),
            effective=self._sum(numbers),
            effective_acs=self._sum(by_spikes),
            effective_macs=self._sum(by_values),
        )

    def _sum(self, numbers: list[int]) -> float | None:
        found = [self.effective(number) for number in numbers]
        return None if None in found else sum(count or 0 for count in found)


def charged_as(signals: Signals, number: int, folded: frozenset[int]) -> str:
    """What the corrected accounting charges an operation as."""
    operation = signals.graph.operations[number]
    spikes = signals.fed_by(number) == "spikes" if operation.inputs else False
    if operation.kind in CONNECTIONS:
        bias = " + bias" if operation.biases else ""
        return ("additions of spikes" if spikes else "dense MACs") + bias
    if operation.kind == "norm":
        return "nothing: in the weights" if number in folded else "MACs"
    if operation.kind == "sum" and signals.is_spikes(number):
        return "nothing: spikes go on"
    words = {
        "pool": "additions of spikes" if spikes else "additions",
        "neuron": "the neuron's step",
        "sum": "additions",
        "gate": "additions: spikes pass" if spikes else "multiplications",
        "concatenation": "nothing: side by side",
        "elementwise": "its definition, a value",
        "unpriced": "NOT COUNTED: no price",
    }
    return words.get(operation.kind, "")
