"""The costs of a net with one kind of neuron, in both accountings, whole and by operation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

from clifctl.energy import as_published, corrected
from clifctl.energy.constants import Constants
from clifctl.energy.graph import CONNECTIONS, Operation, OperationGraph
from clifctl.energy.neuron_cost import NeuronCost, step_cost
from clifctl.energy.signals import Counted, Signals
from clifctl.energy.synaptic import Synaptic, charged_as
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.results.energy import (
    MEMORY_KEYS,
    SOP_KEYS,
    Cost,
    LayerCost,
    SynapticOperations,
    UnpricedOperation,
)

NeuronValues = tuple[Neuron, Hyperparameters]
METHODS = {"sop": ("functions", *SOP_KEYS), "memory": MEMORY_KEYS}


@dataclass(frozen=True)
class NetCosts:
    """A net's costs; `parameters` are those of the net with these neurons."""

    parameters: int
    timesteps: int
    paper: Cost
    corrected: Cost
    layers: tuple[LayerCost, ...]
    synaptic: SynapticOperations
    unpriced: tuple[UnpricedOperation, ...]


def net_costs(
    graph: OperationGraph,
    neuron: Neuron,
    hyperparameters: Hyperparameters,
    *,
    rates: Mapping[str, float] | None,
    constants: Constants,
    counted: Counted | None = None,
    methods: Sequence[str] = tuple(METHODS),
    bias_share: float = 1.0,
    own_neuron: bool = True,
    neurons: Mapping[str, NeuronValues] | None = None,
) -> NetCosts:
    """The costs of `graph` with `neuron`: relu makes it the ANN, which has one time step.

    `rates` maps layers of neurons to firing rates (None: unknown; what needs them is None then).
    `counted` is what a `SpikeCounter` found with them, which `corrected` charges; the published
    accounting knows rates alone.
    `bias_share`: batches / samples of the evaluation, for Table 6. `own_neuron`: whether the graph
    is that of a net with this neuron, or with another one, whose learnable parameters do not count.
    `neurons`: those of a net whose layers may have different ones, by layer.
    """
    by_rates = Signals(graph, neuron.spiking, rates or {}, most_spikes=hyperparameters.most_spikes)
    signals = replace(by_rates, counted=counted) if counted else by_rates

    def step(operation: Operation) -> NeuronCost:
        if neurons is not None:
            return step_cost(*neurons[operation.name])
        return step_cost(neuron, hyperparameters.with_threshold(operation.own_threshold))

    paper, paper_layers = as_published.costs(
        by_rates, neuron.name, constants, bias_share=bias_share
    )
    charges = corrected.charges(signals, step, constants)
    corrected_total, corrected_layers = corrected.together(charges, constants)
    synaptic, folded = Synaptic(signals), graph.folded_norms(neuron.spiking)
    layers = tuple(
        LayerCost(
            layer=operation.name,
            kind=operation.kind,
            fed_by=signals.fed_by(number),
            input_shape=operation.input_shape,
            output_shape=operation.output_shape,
            parameters=operation.weights + operation.biases,
            fan_out=operation.fan_out if operation.pairs else None,
            spike_fan_out=_spike_fan_out(signals, number),
            firing_rate=_rate(signals, number),
            paper=Cost() if unpriced else _shown(paper_layers[number], methods),
            corrected=Cost() if unpriced else _shown(corrected_layers[number], methods),
            function=operation.function or None,
            steps=operation.steps if neuron.spiking else 1,
            dense_synaptic_operations=synaptic.dense(number),
            effective_synaptic_operations=synaptic.effective(number),
            charged_as=charged_as(signals, number, folded),
        )
        for number, operation in enumerate(graph.operations)
        for unpriced in (operation.kind == "unpriced",)
        if operation.kind != "image"
    )
    return NetCosts(
        parameters=graph.parameters - (0 if own_neuron else graph.neuron_parameters),
        timesteps=graph.timesteps if neuron.spiking else 1,
        paper=_shown(paper, methods),
        corrected=_shown(corrected_total, methods),
        layers=layers,
        synaptic=synaptic.together(),
        unpriced=tuple(
            UnpricedOperation(layer=op.name, function=op.function) for op in graph.unpriced
        ),
    )


def synaptic_operations(signals: Signals) -> tuple[float, float]:
    """ACs and MACs of all connections in one inference: additions that spikes cause, and
    multiply-accumulates of what the image or other values feed; biases are not counted."""
    acs = macs = 0.0
    for number, operation in enumerate(signals.graph.operations):
        if operation.kind not in CONNECTIONS:
            continue
        if signals.fed_by(number) == "spikes":
            acs += signals.reached(number)
        else:
            macs += operation.macs * (operation.steps if signals.spiking else 1)
    return acs, macs


def _rate(signals: Signals, number: int) -> float | None:
    """The firing rate of what feeds an operation, of a layer of neurons its own."""
    neurons = signals.graph.operations[number].kind == "neuron"
    if not (signals.is_spikes(number) if neurons else signals.fed_by(number) == "spikes"):
        return None
    rate = signals.rate(number) if neurons else signals.input_rate(number)
    return None if isnan(rate) else rate


def _spike_fan_out(signals: Signals, number: int) -> float | None:
    """Outputs that a spike of an operation's input reaches, where they were counted."""
    operation = signals.graph.operations[number]
    if number not in signals.counted.reached or not operation.fan_outs:
        return None
    spikes = operation.n_in * operation.steps * signals.input_rate(number)
    return signals.reached(number) / spikes if spikes else None


def _shown(cost: Cost, methods: Sequence[str]) -> Cost:
    """`cost` with None for what was not asked for and what is not known, and whole numbers of MACs
    as such."""
    wanted = {key for method in methods for key in METHODS[method]}
    values: dict[str, float | None] = {}
    for key, value in vars(cost).items():
        known = key in wanted and value is not None and not isnan(value)
        values[key] = value if known else None
        if known and key in ("macs", "functions") and float(value).is_integer():
            values[key] = int(value)
    return Cost(**values)
