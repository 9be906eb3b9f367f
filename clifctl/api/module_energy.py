"""What an inference of a module costs that no recipe names."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from clifctl.energy.accounting import NeuronValues, net_costs
from clifctl.energy.constants import Constants
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.defects import DEFECTS
from clifctl.energy.graph import OperationGraph
from clifctl.energy.rates import rates_of_layers
from clifctl.energy.signals import Counted
from clifctl.energy.tracing import trace_net
from clifctl.errors import ArgumentError, EnergyError
from clifctl.experiments.energy import (
    Rates,
    assumptions,
    constants_of,
    given_rates,
    measured_rates,
    neurons_of,
)
from clifctl.models import FiringRates, Spiking, SpikingNet
from clifctl.models.own.net import own_net_of
from clifctl.neurons import NEURONS, Hyperparameters, Neuron
from clifctl.results.energy import EnergyResult, EnergyRow, RateRow
from clifctl.results.eval import LayerRate
from clifctl.training.evaluation import layer_rates

Inputs = Tensor | Iterable[Tensor]


@dataclass(frozen=True)
class _Measured:
    """What was found on inputs: rates, what was counted with them, batches and samples."""

    rates: tuple[LayerRate, ...]
    counted: Counted
    batches: int
    samples: int


@dataclass(frozen=True)
class ModuleCost:
    """A module whose operations are known, of one kind of neuron, and what was measured on its
    inputs, where it was given any."""

    name: str
    graph: OperationGraph
    neurons: dict[str, NeuronValues]
    measured: _Measured | None

    @classmethod
    def of(
        cls,
        module: nn.Module,
        input_shape: Sequence[int] | None,
        timesteps: int | None,
        inputs: Inputs | None,
    ) -> "ModuleCost":
        """The operations of `module` for one sample `[T, 1, *input_shape]`. Raises ModelError for a
        module that breaks the contract of a net of one's own, EnergyError for one with several
        kinds of neurons; ArgumentError where the shape is not known, or not that of the inputs."""
        batches = [inputs] if isinstance(inputs, Tensor) else list(inputs or ())
        if batches:
            timesteps, input_shape = _shape_of(batches, input_shape, timesteps)
        for name, value in (("input_shape", input_shape), ("timesteps", timesteps)):
            if value is None:
                raise ArgumentError(name, None, "a module needs it, or inputs [T, N, *]")
        shape, steps = tuple(input_shape or ()), timesteps or 0
        net = module
        if not isinstance(net, SpikingNet):
            net = own_net_of(net, input_shape=shape, timesteps=steps)
        neurons = neurons_of(net)
        kinds = dict.fromkeys(neuron.name for neuron, _ in neurons.values())
        if len(kinds) > 1:
            raise EnergyError(
                f"{type(module).__name__} has several kinds of neurons: {', '.join(kinds)}",
                hint="energy is counted for nets of one kind",
            )
        graph = trace_net(copy.deepcopy(net).to("meta"), shape, steps)  # nothing is computed there
        measured = _measure(net, graph, batches) if batches else None
        return cls(type(module).__name__, graph, neurons, measured)

    def result(
        self,
        rates: Rates | str | None,
        methods: tuple[str, ...],
        constants: str | None,
        *,
        per_layer: bool,
    ) -> EnergyResult:
        """The rows of the ANN and of the module itself. Raises EnergyError for rates or constants
        that are not usable."""
        charged = constants_of(constants)
        used = self._used(rates)
        neuron, values = next(iter(self.neurons.values()))
        ann = NEURONS["relu"]
        rows = [self._row(neuron, values, used, charged, methods)]
        if neuron.spiking:
            rows.insert(0, self._row(ann, ann.hyperparameters(), _Used("none"), charged, methods))
        if not per_layer:
            rows = [replace(row, layers=None) for row in rows]
        return EnergyResult(
            methods=methods,
            constants=charged.as_document(),
            rows=tuple(rows),
            assumptions=assumptions(rows, [self.graph], charged),
            defects=tuple(map(asdict, DEFECTS)),
        )

    def _used(self, rates: Rates | str | None) -> "_Used":
        neuron, values = next(iter(self.neurons.values()))
        if not neuron.spiking:
            return _Used("none")
        if isinstance(rates, str):
            raise EnergyError(f"rates = {rates}: the paper has none for a module of your own")
        if rates is not None:
            document = rates if isinstance(rates, Mapping) else {"rates": list(rates)}
            layers, most = self.graph.spiking_layers, values.most_spikes
            own = rates_of_layers(document, layers, "firing rates", highest=most)
            return _Used("given", own, given_rates(own, self.graph))
        if self.measured is None:
            return _Used("unknown")
        own = {layer.layer: layer.firing_rate for layer in self.measured.rates}
        return _Used("measured", own, measured_rates(self.measured.rates), self.measured)

    def _row(
        self,
        neuron: Neuron,
        values: Hyperparameters,
        used: "_Used",
        constants: Constants,
        methods: tuple[str, ...],
    ) -> EnergyRow:
        mine = neuron is next(iter(self.neurons.values()))[0]
        seen = used.measured
        costs = net_costs(
            self.graph,
            neuron,
            values,
            rates=used.of_layers,
            counted=seen.counted if seen else None,
            constants=constants,
            methods=methods,
            bias_share=seen.batches / seen.samples if seen else 1.0,
            own_neuron=mine,
            neurons=self.neurons if mine else None,
        )
        return EnergyRow(
            source=self.name,
            data=None,
            model=self.name,
            neuron=neuron.name,
            timesteps=costs.timesteps,
            parameters=costs.parameters,
            rates=used.origin,
            accuracy_percent=None,
            paper=costs.paper,
            corrected=costs.corrected,
            published=None,
            firing_rates=used.rows,
            layers=costs.layers,
            synaptic=costs.synaptic,
            unpriced=costs.unpriced,
        )


@dataclass(frozen=True)
class _Used:
    """The firing rates of a row: where they come from, by layer, as rows; None: not known."""

    origin: str
    of_layers: Mapping[str, float] | None = None
    rows: tuple[RateRow, ...] = ()
    measured: _Measured | None = None


def _shape_of(
    batches: Sequence[Tensor], input_shape: Sequence[int] | None, timesteps: int | None
) -> tuple[int, tuple[int, ...]]:
    """T and the shape of a time step of a sample, which all batches have alike."""
    first = batches[0]
    steps, shape = len(first), tuple(first.shape[2:])
    for batch in batches:
        if batch.dim() < 3 or (len(batch), tuple(batch.shape[2:])) != (steps, shape):
            raise ArgumentError(
                "inputs", None, f"a batch is {list(batch.shape)}, not [T, N, *] with one T"
            )
    for name, given, found in (
        ("timesteps", timesteps, steps),
        ("input_shape", None if input_shape is None else list(input_shape), list(shape)),
    ):
        if given not in (None, found):
            raise ArgumentError(name, given, f"that of the inputs is {found}")
    return steps, shape


def _measure(net: SpikingNet, graph: OperationGraph, batches: Sequence[Tensor]) -> _Measured:
    """Run `net` on the inputs, in evaluation mode, and count."""
    rates, counter = FiringRates(net), SpikeCounter(graph)
    was_training = net.training
    net.eval()
    try:
        with torch.inference_mode(), rates.recording(), counter.following(net):
            for batch in batches:
                for layer in net.modules():
                    if isinstance(layer, Spiking):  # one that is stateful begins anew
                        layer.reset()
                net(batch)
    finally:
        net.train(was_training)
    samples = sum(batch.shape[1] for batch in batches)
    return _Measured(layer_rates(rates), counter.counted(), len(batches), samples)
