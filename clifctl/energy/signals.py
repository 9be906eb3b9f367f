"""What each operation gets: the image, spikes or other values, how many spikes of them, and what
these reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from clifctl.energy.graph import OperationGraph

FedBy = Literal["image", "spikes", "values"]
UNKNOWN = float("nan")


@dataclass(frozen=True)
class Counted:
    """What was counted spike by spike, by the numbers of operations.

    `reached`: the outputs that the spikes of an operation's input reach, each by the fan-out of its
    own place, in one inference. `rates`: spikes per value and time step of a maximum, a product or
    a sum of spikes. `nonzero`: as `reached`, of the values of a connection that is not fed by
    spikes and that are not zero.
    """

    reached: Mapping[int, float] = field(default_factory=dict)
    rates: Mapping[int, float] = field(default_factory=dict)
    nonzero: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Signals:
    """The results of a graph's operations, for a net that spikes or an ANN. A whole number n where
    spikes are (I-LIF's activation, a sum of spikes) is n spikes.

    `rates` maps each layer of neurons to its firing rate; a layer that it lacks has an unknown one.
    What was not `counted` follows from these rates. A neuron gives `most_spikes` a time step.
    """

    graph: OperationGraph
    spiking: bool
    rates: Mapping[str, float]
    counted: Counted = field(default_factory=Counted)
    most_spikes: int = 1

    def is_spikes(self, number: int) -> bool:
        """Whether the result of an operation is spikes: that of neurons, and what only takes the
        maximum, the product or the sum of spikes, copies them, or puts them
        side by side."""
        operation = self.graph.operations[number]
        if operation.kind == "neuron":
            return self.spiking and operation.fires
        if operation.subtracts or operation.constant:
            return False
        joins = operation.kind in ("gate", "sum", "concatenation")
        if operation.maximum or operation.copies or joins:
            return all(map(self.is_spikes, operation.inputs))
        return False

    def rate(self, number: int) -> float:
        """Spikes per value and time step of a result that is spikes. Where they were not counted,
        spikes that a maximum or a product takes together are held to be independent."""
        if number in self.counted.rates:
            return self.counted.rates[number]
        operation = self.graph.operations[number]
        if operation.kind == "neuron":
            return self.rates.get(operation.name, UNKNOWN)
        inputs = [self.rate(source) for source in operation.inputs]
        if operation.kind == "concatenation":
            parts = zip(inputs, operation.parts, strict=True)
            return sum(rate * size for rate, size in parts) / sum(operation.parts)
        if operation.kind == "sum" and not operation.maximum:
            return sum(inputs)
        if operation.copies:
            return inputs[0]
        if operation.kind == "gate":
            first, second = inputs
            return first * (1.0 - second if operation.inverted else second)
        if not all(map(self._is_binary, operation.inputs)):
            return UNKNOWN
        if operation.kind == "sum":
            return 1.0 - prod(1.0 - rate for rate in inputs)
        window = operation.pairs / operation.n_out
        return 1.0 - (1.0 - inputs[0]) ** window

    def _is_binary(self, number: int) -> bool:
        """Whether spikes are one at most a value and time step."""
        operation = self.graph.operations[number]
        if operation.kind == "neuron":
            return self.most_spikes == 1
        adds = operation.kind == "sum" and not operation.maximum
        return not adds and all(map(self._is_binary, operation.inputs))

    def fed_by(self, number: int) -> FedBy:
        """What an operation takes: `spikes` where one of its operands is spikes."""
        inputs = self.graph.operations[number].inputs
        if any(map(self.is_spikes, inputs)):
            return "spikes"
        only_image = all(self.graph.operations[source].kind == "image" for source in inputs)
        return "image" if only_image else "values"

    def input_rate(self, number: int) -> float:
        """The firing rate of an operation's input; of two operands that are spikes, the lower one,
        or that of the first where the second is inverted."""
        operation = self.graph.operations[number]
        inputs = operation.inputs[:1] if operation.inverted else operation.inputs
        return min(self.rate(source) for source in inputs if self.is_spikes(source))

    def reached(self, number: int) -> float:
        """The outputs that the spikes of an operation's input reach in one inference. Where they
        were not counted each has the mean fan-out."""
        if number in self.counted.reached:
            return self.counted.reached[number]
        operation = self.graph.operations[number]
        return operation.pairs * operation.steps * self.input_rate(number)
