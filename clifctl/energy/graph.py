"""The operations of a net as a graph of data flow: what is computed from what, and how often.

Shapes and counts are those of one sample and one time step. An operation that is computed once for
all time steps (the stem of a static image) has `steps` = 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

Kind = Literal[
    "image",
    "convolution",
    "linear",
    "product",
    "norm",
    "pool",
    "neuron",
    "sum",
    "gate",
    "concatenation",
    "elementwise",
    "unpriced",
]
# Where weights, or another operand, are multiplied with an input and summed.
CONNECTIONS = ("convolution", "linear", "product")
# What a neuron integrates passes through these without being held in a memory of its own.
PASSING = ("norm", "sum", "neuron", "concatenation")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. `inputs` are the numbers of the operations whose results it takes, `function`
    is that of torch.

    `macs` is the dense count, padding included; `pairs` are the connections between an input and an
    output value that exist, borders of the image taken into account. `fan_outs` has, for each
    dimension of a map that windows move over, how many of their positions each place lies in, and
    `maps` how many maps of the result a map of the input reaches: the fan-out of a value is the
    product. Without `fan_outs` it is the same everywhere. `biases` are learnable ones.
    `additions`, `multiplications` and `functions` are what an elementwise operation computes.
    `parts` are the sizes of what a concatenation puts together, `constant` says that something
    besides is in it that does not depend on the image. `subtracts`: a sum is a difference.
    `inverted`: a gate lets pass where its second operand does not spike. `own_threshold` is a layer
    of neurons' own firing threshold, where it is not the net's; a layer that is `analog` gives its
    potential and no spikes, as a read-out does. `recurrent` is the matrix through which a layer of
    neurons, its input, feeds itself.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    steps: int
    function: str = ""
    macs: int = 0
    pairs: int = 0
    fan_outs: tuple[tuple[int, ...], ...] = ()
    maps: int = 1
    weights: int = 0
    biases: int = 0
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    maximum: bool = False
    padded: bool = False
    additions: int = 0
    multiplications: int = 0
    functions: int = 0
    parts: tuple[int, ...] = ()
    constant: bool = False
    subtracts: bool = False
    inverted: bool = False
    own_threshold: float | None = None
    recurrent: bool = False
    analog: bool = False

    @property
    def fires(self) -> bool:
        """Whether it is a layer of neurons that give spikes (an ANN's give values there)."""
        return self.kind == "neuron" and not self.analog

    @property
    def n_in(self) -> int:
        """Input values of one time step (of the first operand)."""
        return prod(self.input_shape)

    @property
    def n_out(self) -> int:
        """Output values of one time step."""
        return prod(self.output_shape)

    @property
    def copies(self) -> bool:
        """Whether it is a pool each of whose windows holds one value."""
        return self.kind == "pool" and self.pairs == self.n_out

    @property
    def fan_out(self) -> float:
        """Output values that an input value reaches, on average over the input."""
        return self.pairs / self.n_in

    @property
    def bias_operations(self) -> int:
        """Additions of a bias in one time step."""
        return self.n_out if self.biases else 0


@dataclass(frozen=True)
class OperationGraph:
    """The operations in the order in which they are computed; `operations[0]` is the image.

    `parameters` counts every learnable number of the net, `neuron_parameters` those of its neurons.
    """

    operations: tuple[Operation, ...]
    timesteps: int
    parameters: int
    neuron_parameters: int

    @property
    def spiking_layers(self) -> tuple[str, ...]:
        """Names of the layers of neurons that fire, in forward order."""
        return tuple(op.name for op in self.operations if op.fires)

    @property
    def unpriced(self) -> tuple[Operation, ...]:
        """The operations whose price is not known."""
        return tuple(op for op in self.operations if op.kind == "unpriced")

    @property
    def unpriced_places(self) -> tuple[str, ...]:
        """What has no price, and where: `gru in 'mixer'`, each once."""
        places = (
            f"{op.function} in " + (f"'{op.name}'" if op.name else "the net's own forward")
            for op in self.unpriced
        )
        return tuple(dict.fromkeys(places))

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """Operation -> the operations that take its result."""
        found: list[list[int]] = [[] for _ in self.operations]
        for number, operation in enumerate(self.operations):
            for source in operation.inputs:
                found[source].append(number)
        return tuple(map(tuple, found))

    def sources(self, number: int) -> Iterator[Operation]:
        """What the operation `number` takes the results of."""
        return (self.operations[source] for source in self.operations[number].inputs)

    @cached_property
    def fired_into(self) -> tuple[str | None, ...]:
        """Operation -> the first layer of neurons that its result reaches, None for the last."""
        found: list[str | None] = [None] * len(self.operations)
        for number in reversed(range(len(self.operations))):
            for consumer in self.consumers[number]:
                operation = self.operations[consumer]
                found[number] = operation.name if operation.fires else found[consumer]
                if found[number]:
                    break
        return tuple(found)

    @cached_property
    def fired_from(self) -> tuple[str | None, ...]:
        """Operation -> the last layer of neurons before it, None where the image alone is."""
        found: list[str | None] = []
        for operation in self.operations:
            before = [self.operations[source] for source in operation.inputs]
            names = [
                source.name if source.fires else found[number]
                for number, source in zip(operation.inputs, before, strict=True)
            ]
            found.append(next((name for name in names if name), None))
        return tuple(found)

    def folded_norms(self, spiking: bool) -> frozenset[int]:
        """The batch norms that disappear in a neighbour, with exactly the same results.

        Before: everything that is normalised is the result of connections that nothing else reads,
        or of spikes that are added to it (an ANN's values would have to be multiplied). After: only
        connections without padding read the result.
        """
        return frozenset(
            number
            for number, operation in enumerate(self.operations)
            if operation.kind == "norm"
            and (self._after_connections(number, spiking) or self._before_connections(number))
        )

    def _after_connections(self, number: int, spiking: bool) -> bool:
        (source,) = self.operations[number].inputs
        return self.operations[source].kind != "neuron" and self._scales(source, spiking)

    def _scales(self, number: int, spiking: bool) -> bool:
        """Whether the result of `number` is scaled by scaling weights that stand before it."""
        operation = self.operations[number]
        if operation.kind == "neuron":
            return spiking  # the scale becomes the weight with which a spike is added
        if len(self.consumers[number]) != 1:
            return False
        if operation.kind in ("convolution", "linear"):
            return True
        if operation.kind == "concatenation":  # a spike in it is not added to anything
            kinds = [source.kind for source in self.sources(number)]
            if operation.constant or "neuron" in kinds:
                return False
        elif operation.kind != "sum" or operation.maximum:
            average = operation.kind == "pool" and not operation.maximum and not operation.padded
            return average and self._after_connections(number, spiking)
        return all(self._scales(source, spiking) for source in operation.inputs)

    def _before_connections(self, number: int) -> bool:
        readers = [self.operations[consumer] for consumer in self.consumers[number]]
        return bool(readers) and all(
            reader.kind in ("convolution", "linear") and not reader.padded for reader in readers
        )

    @cached_property
    def without_shortcuts(self) -> tuple[int, ...]:
        """The connections on the longest way through the net: at each sum, of all operands the one
        with the most connections before it is followed."""
        depth: list[int] = []
        for operation in self.operations:
            before = max((depth[source] for source in operation.inputs), default=0)
            depth.append(before + (operation.kind in CONNECTIONS))
        kept, waiting = set(), [len(self.operations) - 1]
        while waiting:
            number = waiting.pop()
            if number in kept:
                continue
            kept.add(number)
            operation = self.operations[number]
            deepest = max(operation.inputs, key=lambda source: depth[source], default=None)
            follow = (deepest,) if operation.kind == "sum" else operation.inputs
            waiting += [source for source in follow if source is not None]
        return tuple(n for n in sorted(kept) if self.operations[n].kind in CONNECTIONS)

    def is_held(self, number: int) -> bool:
        """Whether a result is written to memory as it is, instead of into a neuron's potential."""
        if self.operations[number].recurrent:
            return False
        readers = self.consumers[number]
        passing = all(self.operations[reader].kind in PASSING for reader in readers)
        return len(readers) != 1 or not passing
