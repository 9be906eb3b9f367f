"""The corrected accounting: per inference, every operation charged once, as it is computed.

An operation is charged additions, multiplications and accesses to memories of known sizes; energies
follow from those. A MAC is a multiplication with the addition beside it. docs/energy.md derives the
formulas, with an example by hand; `ASSUMPTIONS` is printed below every table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from clifctl.energy.constants import PICO_TO_MICRO, PICO_TO_MILLI, Constants
from clifctl.energy.graph import Operation
from clifctl.energy.neuron_cost import NeuronCost
from clifctl.energy.signals import Signals
from clifctl.results.energy import Cost

VALUE_BYTES = 4  # a parameter, a state, an analog value
SPIKE_BYTES = 1 / 8

ASSUMPTIONS = (
    "corrected: one inference, all time steps; batch norm folded into weights where that is exact",
    "corrected: a layer fed by spikes reads a weight, and reads and writes a potential, a synaptic "
    "operation; every state is read and written once a step; a spike is 1 bit, a value 4 bytes",
    "corrected: a layer fed by the image or by other values is dense: it multiplies padding too, "
    "reads a weight a MAC and an input a MAC (linear: once), sums in a register; the stem of a "
    "static image is computed once, and its result read at every step",
    "corrected: results that meet in a sum are added in place; spikes that meet there go on "
    "as they are, and a whole number n (I-LIF) is n spikes; a pool's division goes into the next "
    "weights",
    "corrected: an access costs by the size of the memory, which each operation has for itself; "
    "above 1 MiB as at 1 MiB",
)

# What holds of the rows whose firing rates were measured, and of those to which rates were given.
COUNTED = (
    "corrected, rates measured: each spike is charged the outputs that it reaches from its own "
    "place; spikes whose maximum or product is taken are counted"
)
GIVEN = (
    "corrected, rates given: mean rate times mean fan-out (borders counted, but each place fires "
    "alike); spikes whose maximum or product is taken are independent"
)


@dataclass
class Charge:
    """What an operation takes in one inference. `accesses` are (component, number, bytes)."""

    additions: float = 0.0
    multiplications: float = 0.0
    functions: float = 0.0
    addressing_macs: float = 0.0
    addressing_additions: float = 0.0
    accesses: list[tuple[str, float, float]] = field(default_factory=list)

    def access(self, component: str, number: float, size_bytes: float) -> None:
        """`number` accesses to a memory of `size_bytes`."""
        self.accesses.append((component, number, size_bytes))

    def compute(self, *, additions: float = 0.0, multiplications: float = 0.0) -> None:
        """So many operations."""
        self.additions += additions
        self.multiplications += multiplications

    def cost(self, constants: Constants) -> Cost:
        """The energies of all of it."""
        energies = dict.fromkeys(("potential", "parameters", "in_out"), 0.0)
        for component, number, size in self.accesses:
            energies[component] += number * constants.access_pj(size) * PICO_TO_MILLI
        operations = self.additions * constants.add_pj + self.multiplications * constants.mul_pj
        addressing = (
            self.addressing_macs * (constants.add_pj + constants.mul_pj)
            + self.addressing_additions * constants.add_pj
        )
        # An addition beside a multiplication is part of its MAC.
        acs = self.additions - min(self.additions, self.multiplications)
        return Cost(
            acs=acs,
            macs=self.multiplications,
            functions=self.functions,
            sop_energy_uj=(constants.ac_pj * acs + constants.mac_pj * self.multiplications)
            * PICO_TO_MICRO,
            potential_mj=energies["potential"],
            parameters_mj=energies["parameters"],
            in_out_mj=energies["in_out"],
            operations_mj=operations * PICO_TO_MILLI,
            addressing_uj=addressing * PICO_TO_MICRO,
            total_mj=sum(energies.values()) + (operations + addressing) * PICO_TO_MILLI,
        )


@dataclass(frozen=True)
class _Net:
    signals: Signals
    step: Callable[[Operation], NeuronCost]
    constants: Constants
    folded: frozenset[int]

    @property
    def timesteps(self) -> int:
        return self.signals.graph.timesteps if self.signals.spiking else 1

    def steps(self, operation: Operation) -> int:
        """At how many steps it is computed; an ANN has one."""
        return operation.steps if self.signals.spiking else 1


def charges(
    signals: Signals, step: Callable[[Operation], NeuronCost], constants: Constants
) -> tuple[Charge, ...]:
    """The charge of each operation, in the order of the graph; `step` gives what a layer of neurons
    computes. Counts that need an unknown firing rate are NaN."""
    net = _Net(signals, step, constants, signals.graph.folded_norms(signals.spiking))
    found = []
    for number, operation in enumerate(signals.graph.operations):
        charge = Charge()
        rule = _RULES.get(operation.kind)
        # An ANN has one step, and nothing to feed back.
        if rule is not None and (signals.spiking or not operation.recurrent):
            rule(net, number, charge)
        found.append(charge)
    return tuple(found)


def together(parts: tuple[Charge, ...], constants: Constants) -> tuple[Cost, tuple[Cost, ...]]:
    """The net, as the sum of its operations, and each operation."""
    layers = tuple(charge.cost(constants) for charge in parts)
    return Cost(**{name: sum(getattr(c, name) for c in layers) for name in vars(layers[0])}), layers


def _connection(net: _Net, number: int, charge: Charge) -> None:
    """A convolution, a linear layer or a product of two results."""
    operation = net.signals.graph.operations[number]
    steps = net.steps(operation)
    weights_bytes = VALUE_BYTES * (operation.weights + operation.biases)
    biases = operation.bias_operations * steps
    charge.compute(additions=biases)
    if operation.biases:
        charge.access("parameters", biases, weights_bytes)
    if net.signals.fed_by(number) == "spikes":
        synaptic = _events(net, number, charge)
        charge.compute(additions=synaptic)
        charge.access("potential", 2 * synaptic, VALUE_BYTES * operation.n_out)
        reads = synaptic
    else:
        reads = operation.macs * steps
        charge.compute(additions=reads, multiplications=reads)
        convolution = operation.kind == "convolution"
        inputs = operation.n_in * steps if operation.kind == "linear" else reads
        charge.access("in_out", inputs, VALUE_BYTES * operation.n_in)
        if operation.kind == "product":
            charge.access("in_out", reads, VALUE_BYTES * operation.n_in)
        kernels = operation.output_shape[0] * prod(operation.kernel) if convolution else 0
        charge.addressing_additions += steps * (operation.n_in + operation.n_out + kernels)
    if operation.weights:
        charge.access("parameters", reads, weights_bytes)
    _write(net, number, charge)


def _events(net: _Net, number: int, charge: Charge) -> float:
    """Synaptic operations of an operation that spikes drive, with what it takes to read and route
    those spikes."""
    signals = net.signals
    operation = signals.graph.operations[number]
    synaptic = signals.reached(number)
    for source in operation.inputs:
        values = (
            operation.n_in if len(operation.inputs) == 1 else signals.graph.operations[source].n_out
        )
        if signals.is_spikes(source):
            spikes = values * net.steps(operation) * signals.rate(source)
            charge.access("in_out", spikes, SPIKE_BYTES * values)
            if operation.kind in ("convolution", "pool"):
                charge.addressing_macs += 2 * spikes
        else:  # the other operand of a product is read where a spike asks for it
            charge.access("in_out", synaptic, VALUE_BYTES * values)
    charge.addressing_additions += synaptic
    return synaptic


def _write(net: _Net, number: int, charge: Charge) -> None:
    """Values that are kept as they are, and not integrated by a neuron at once."""
    graph = net.signals.graph
    operation = graph.operations[number]
    steps = net.steps(operation)
    if graph.is_held(number) and not net.signals.is_spikes(number):
        charge.access("in_out", operation.n_out * steps, VALUE_BYTES * operation.n_out)


def _pool(net: _Net, number: int, charge: Charge) -> None:
    signals = net.signals
    operation = signals.graph.operations[number]
    steps = net.steps(operation)
    if signals.fed_by(number) == "spikes":
        additions = _events(net, number, charge)
    else:
        additions = operation.pairs * steps
        charge.access("in_out", additions, VALUE_BYTES * operation.n_in)
        charge.addressing_additions += steps * (operation.n_in + operation.n_out)
    charge.compute(additions=0.0 if operation.copies else additions)
    if signals.is_spikes(number):
        spikes = operation.n_out * steps * signals.rate(number)
        charge.access("in_out", spikes, SPIKE_BYTES * operation.n_out)
    _write(net, number, charge)


def _norm(net: _Net, number: int, charge: Charge) -> None:
    operation = net.signals.graph.operations[number]
    if number in net.folded:
        return
    elements = operation.n_out * net.steps(operation)
    charge.compute(additions=elements, multiplications=elements)
    size = VALUE_BYTES * (operation.weights + operation.biases)
    charge.access("parameters", 2 * elements, size)
    _write(net, number, charge)


def _neuron(net: _Net, number: int, charge: Charge) -> None:
    operation = net.signals.graph.operations[number]
    elements = operation.n_out * net.timesteps
    constants, neuron = net.constants, net.step(operation)
    charge.compute(
        additions=elements * neuron.all_additions(constants.function_additions),
        multiplications=elements * neuron.all_multiplications(constants.function_multiplications),
    )
    charge.functions += elements * neuron.functions
    for _ in range(neuron.states):
        charge.access("potential", 2 * elements, VALUE_BYTES * operation.n_out)
    (source,) = net.signals.graph.sources(number)
    if net.steps(source) < net.timesteps:
        # Its input was computed once: written then, and read at each step.
        charge.access("in_out", operation.n_out + elements, VALUE_BYTES * operation.n_out)
    if net.signals.is_spikes(number):
        spikes = elements * net.signals.rate(number)
        charge.access("in_out", spikes, SPIKE_BYTES * operation.n_out)
    else:
        charge.access("in_out", elements, VALUE_BYTES * operation.n_out)


def _sum(net: _Net, number: int, charge: Charge) -> None:
    """Results that are still being summed are added in place; spikes are added where they are, and
    values that lie in memory are read and added. Spikes alone are not added: all of them go where
    the sum goes."""
    graph, signals = net.signals.graph, net.signals
    if signals.is_spikes(number):
        return
    operation = graph.operations[number]
    elements = operation.n_out * net.steps(operation)
    in_memory = 0
    for source in operation.inputs:
        if signals.is_spikes(source):
            spikes = elements * signals.rate(source)
            charge.compute(additions=spikes)
            charge.access("in_out", spikes, SPIKE_BYTES * operation.n_out)
            charge.access("potential", 2 * spikes, VALUE_BYTES * operation.n_out)
        elif graph.operations[source].kind == "neuron" or graph.is_held(source):
            in_memory += 1
            charge.access("in_out", elements, VALUE_BYTES * operation.n_out)
    if in_memory == len(operation.inputs):  # the first of them is taken over, not added
        in_memory -= 1
    charge.compute(additions=elements * in_memory)
    _write(net, number, charge)


def _gate(net: _Net, number: int, charge: Charge) -> None:
    """A product of two results, value by value: between spikes, or a spike and a value, it lets
    pass or not; between values it multiplies."""
    signals = net.signals
    operation = signals.graph.operations[number]
    if signals.fed_by(number) == "spikes":
        charge.compute(additions=_gated(net, number, charge))
    else:
        elements = operation.n_out * net.steps(operation)
        charge.compute(multiplications=elements)
        charge.access("in_out", 2 * elements, VALUE_BYTES * operation.n_out)
    _write(net, number, charge)


def _gated(net: _Net, number: int, charge: Charge) -> float:
    signals = net.signals
    operation = signals.graph.operations[number]
    elements = operation.n_out * net.steps(operation)
    passing = elements * signals.input_rate(number)
    for source in operation.inputs:
        # One that is broadcast lies in memory once, and is looked at for each element.
        held = signals.graph.operations[source].n_out
        if signals.is_spikes(source):
            charge.access("in_out", elements * signals.rate(source), SPIKE_BYTES * held)
        else:
            charge.access("in_out", passing, VALUE_BYTES * held)
    if signals.is_spikes(number):
        written = elements * signals.rate(number)
        charge.access("in_out", written, SPIKE_BYTES * operation.n_out)
    return passing


def _concatenation(net: _Net, number: int, charge: Charge) -> None:
    """Spikes go on as they are; values that do not lie in memory yet are written."""
    graph, signals = net.signals.graph, net.signals
    operation = graph.operations[number]
    if signals.is_spikes(number) or not graph.is_held(number):
        return
    whole = sum(operation.parts)
    for source, part in zip(operation.inputs, operation.parts, strict=True):
        there = graph.operations[source].kind == "neuron" or graph.is_held(source)
        if not there:
            values = operation.n_out * net.steps(operation) * part / whole
            charge.access("in_out", values, VALUE_BYTES * operation.n_out)


def _elementwise(net: _Net, number: int, charge: Charge) -> None:
    """Reads each value, and the weights of it where it has some."""
    signals, constants = net.signals, net.constants
    operation = signals.graph.operations[number]
    steps = net.steps(operation)
    functions = operation.functions * steps
    charge.compute(
        additions=operation.additions * steps + functions * constants.function_additions,
        multiplications=operation.multiplications * steps
        + functions * constants.function_multiplications,
    )
    charge.functions += functions
    for source in operation.inputs:
        values = min(operation.n_in, signals.graph.operations[source].n_out)
        if signals.is_spikes(source):
            spikes = values * steps * signals.rate(source)
            charge.access("in_out", spikes, SPIKE_BYTES * values)
        else:
            charge.access("in_out", values * steps, VALUE_BYTES * values)
    parameters = VALUE_BYTES * (operation.weights + operation.biases)
    for numbers in (operation.weights, operation.biases):
        if numbers:
            charge.access("parameters", operation.n_out * steps, parameters)
    _write(net, number, charge)


_RULES: dict[str, Callable[[_Net, int, Charge], None]] = {
    "convolution": _connection,
    "linear": _connection,
    "product": _connection,
    "pool": _pool,
    "norm": _norm,
    "neuron": _neuron,
    "sum": _sum,
    "gate": _gate,
    "concatenation": _concatenation,
    "elementwise": _elementwise,
}
