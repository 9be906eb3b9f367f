"""The accounting behind Tables 6 and 7 of the CLIF paper, defects included (see `defects`).

Table 6 counts synaptic operations per sample and time step; Table 7 counts memory accesses after
Lemaire et al. (2022), as the authors' released script does. What the two tables say nothing of
keeps to their spirit: neurons other than CLIF are charged as LIF, and matrix products as linear
layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan, prod

from clifctl.energy.constants import PICO_TO_MICRO, PICO_TO_MILLI, SIZES, Constants
from clifctl.energy.graph import Operation, OperationGraph
from clifctl.energy.signals import Signals
from clifctl.results.energy import Cost


@dataclass(frozen=True)
class PublishedNeuron:
    """What the tables charge a neuron, per element and step: MACs of Table 6; in Table 7 the factor
    of its MACs and of what goes with them, and of reads, writes and addressing."""

    macs: int
    operations: int
    reads: int
    writes: int
    addressing: int


LIF = PublishedNeuron(macs=0, operations=1, reads=1, writes=1, addressing=1)
NEURONS = {"lif": LIF, "clif": PublishedNeuron(4, 3, 4, 2, 2)}
# Table 6 prints millions with two digits, and its energies follow from those.
PRINTED = 10_000
_COUNTS = (
    "mac", "ac", "read_in", "read_parameters", "read_potential", "write_out", "write_potential",
    "addressing_mac", "addressing_ac",
)  # fmt: skip


def synaptic_operations(
    signals: Signals, number: int, neuron: PublishedNeuron, *, bias_share: float = 1
) -> tuple[float, float]:
    """ACs and MACs of one operation, per sample and time step.

    `bias_share` is what a sample is charged of the bias of a linear layer, which the published
    numbers charge once a batch: batches / samples.
    """
    operation = signals.graph.operations[number]
    if operation.recurrent and not signals.spiking:
        return 0.0, 0.0  # an ANN has one step, and nothing to feed back
    if operation.kind == "norm":
        return 0.0, 2 * operation.n_out
    if operation.kind == "neuron":
        if not signals.spiking:
            return 0.0, operation.n_out
        return operation.n_out, neuron.macs * operation.n_out
    if operation.kind == "pool":
        count: float = operation.n_in
    else:
        share = bias_share if operation.kind == "linear" else 1
        count = operation.macs + operation.bias_operations * share
    if count and _fed_directly(signals, number):
        return count * signals.input_rate(number), 0
    return 0.0, count


def _fed_directly(signals: Signals, number: int) -> bool:
    sources = signals.graph.sources(number)
    return signals.spiking and any(source.fires for source in sources)


def printed_energy_uj(acs: float, macs: float, constants: Constants) -> float:
    """The energy as Table 6 has it: from its columns, rounded to 0.01 million (where there is a
    million at all)."""
    return (constants.ac_pj * _printed(acs) + constants.mac_pj * _printed(macs)) * PICO_TO_MICRO


def _printed(count: float) -> float:
    return round(count / PRINTED) * PRINTED if count >= 1e6 else count


def accesses(
    signals: Signals, number: int, neuron: PublishedNeuron, timesteps: int
) -> dict[str, float]:
    """The counts of one layer of Table 7's list, which gives every layer a bias."""
    graph = signals.graph
    operation = graph.operations[number]
    convolution = operation.kind == "convolution"
    n_in, n_out = operation.n_in, operation.n_out
    channels, kernel = _channels(operation)
    from_one = channels * kernel  # parameters that an input value meets
    if not signals.spiking:
        into_one = operation.macs // n_out
        dense = (
            operation.macs,
            n_out,
            operation.macs if convolution else n_in,
            operation.macs + n_out if convolution else (into_one + 1) * n_out,
            0,
            n_out,
            0,
            0,
            n_in + n_out + (from_one if convolution else 0),
        )
        return dict(zip(_COUNTS, map(float, dense), strict=True))
    s_in = n_in * _published_rate(signals, graph.fired_from[number], at_image=1.0)
    s_out = n_out * _published_rate(signals, graph.fired_into[number], at_image=0.0)
    if convolution:
        whole_strides = prod(
            k // s for k, s in zip(operation.kernel, operation.stride, strict=True)
        )
        synapses, connected = s_in * whole_strides * channels, s_in * from_one
        ac = synapses + timesteps * n_out + neuron.operations * s_out
        read_potential = connected + n_out
    else:
        connected = s_in * n_out
        ac = s_in * n_in * n_out + neuron.operations * timesteps * s_out
        read_potential = (s_in + 1) * s_out
    touched = connected + n_out
    counts = (
        neuron.operations * timesteps * n_out,
        ac,
        s_in,
        touched,
        neuron.reads * read_potential,
        s_out,
        neuron.writes * touched,
        neuron.addressing * 2 * s_in if convolution else 0,
        neuron.addressing * connected,
    )
    return dict(zip(_COUNTS, counts, strict=True))


def _channels(operation: Operation) -> tuple[int, int]:
    """Output channels, and values of a kernel."""
    return operation.output_shape[0], prod(operation.kernel)


def _published_rate(signals: Signals, layer: str | None, *, at_image: float) -> float:
    return at_image if layer is None else signals.rates.get(layer, nan)


def access_pj(count: float, constants: Constants) -> float:
    """Energy of each of `count` accesses as the script has it: by their number, not by the size of
    a memory, and without the offsets of the pieces."""
    first, second, third = SIZES
    small, middle, large = constants.levels
    if count <= first:
        return small * count / first
    if count <= second:
        return (middle - small) * (count - first) / (second - first)
    if count <= third:
        return (large - middle) * (count - second) / (third - second)
    return large


def costs(
    signals: Signals,
    neuron_name: str,
    constants: Constants,
    *,
    bias_share: float,
) -> tuple[Cost, tuple[Cost, ...]]:
    """The net and each operation, in the order of the graph. Numbers that need a firing rate that
    is unknown are NaN."""
    graph = signals.graph
    neuron = NEURONS.get(neuron_name, LIF)
    synaptic = [
        synaptic_operations(signals, number, neuron) for number in range(len(graph.operations))
    ]
    printed = [
        synaptic_operations(signals, number, neuron, bias_share=bias_share)
        for number in range(len(graph.operations))
    ]
    memory = {
        number: accesses(signals, number, neuron, graph.timesteps)
        for number in graph.without_shortcuts
    }
    totals = _summed(memory)
    each = {name: access_pj(total, constants) for name, total in totals.items()}
    none = dict.fromkeys(_COUNTS, 0.0)
    layers = tuple(
        Cost(
            acs=acs,
            macs=macs,
            sop_energy_uj=PICO_TO_MICRO * (constants.ac_pj * ac + constants.mac_pj * mac),
            **_memory_energies(memory.get(number, none), each, constants),
        )
        for number, ((acs, macs), (ac, mac)) in enumerate(zip(synaptic, printed, strict=True))
    )
    net = Cost(
        acs=sum(acs for acs, _ in synaptic),
        macs=sum(macs for _, macs in synaptic),
        sop_energy_uj=printed_energy_uj(
            sum(acs for acs, _ in printed), sum(macs for _, macs in printed), constants
        ),
        **_memory_energies(totals, each, constants),
    )
    return net, layers


def _summed(memory: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(counts[name] for counts in memory.values()) for name in _COUNTS}


def _memory_energies(
    counts: Mapping[str, float], each: Mapping[str, float], constants: Constants
) -> dict[str, float]:
    """The columns of Table 7, where an access of each kind costs `each` [pJ]."""

    def accessed(*names: str) -> float:
        return sum(counts[name] * each[name] for name in names) * PICO_TO_MILLI

    def computed(mac: float, ac: float) -> float:
        return mac * (constants.mul_pj + constants.add_pj) + ac * constants.add_pj

    potential = accessed("read_potential", "write_potential")
    parameters = accessed("read_parameters")
    in_out = accessed("read_in", "write_out")
    operations = computed(counts["mac"], counts["ac"]) * PICO_TO_MILLI
    addressing = computed(counts["addressing_mac"], counts["addressing_ac"])
    return {
        "potential_mj": potential,
        "parameters_mj": parameters,
        "in_out_mj": in_out,
        "operations_mj": operations,
        "addressing_uj": addressing * PICO_TO_MICRO,
        "total_mj": potential + parameters + in_out + operations + addressing * PICO_TO_MILLI,
    }


def without_rule(graph: OperationGraph) -> tuple[str, ...]:
    """Kinds of operations of the net of which Table 6 says nothing, and which it counts as none."""
    without = ("sum", "gate", "elementwise")
    return tuple(sorted({op.kind for op in graph.operations if op.kind in without}))
