"""What an inference of a module costs that no recipe names."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from clifctl.energy.accounting import net_costs
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.defects import DEFECTS
from clifctl.energy.graph import OperationGraph
from clifctl.energy.rates import rates_of_layers
from clifctl.energy.signals import Counted
from clifctl.energy.tracing import trace_net
from clifctl.errors import ArgumentError, EnergyError
from clifctl.experiments.energy import (
    PAPER_RATES,
    Rates,
    assumptions,
    constants_of,
    given_rates,
    measured_rates,
)
from clifctl.models import FiringRates, SpikingNet, firing_modules
from clifctl.models.layers import NetState
from clifctl.neurons import NEURONS, Hyperparameters, Neuron
from clifctl.results.energy import EnergyResult, EnergyRow, RateRow
from clifctl.results.eval import LayerRate
from clifctl.training.evaluation import layer_rates

Inputs = Tensor | Iterable[Tensor]


class _Whole(SpikingNet):
    """Anybody's module as a net: all time steps at once, `[T, N, *]`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """What the module returns; its layers begin anew with each call."""
        return self.net(x), ()


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
    neuron: Neuron
    hyperparameters: Hyperparameters
    measured: _Measured | None

    @classmethod
    def of(
        cls,
        module: nn.Module,
        input_shape: Sequence[int] | None,
        timesteps: int | None,
        inputs: Inputs | None,
    ) -> "ModuleCost":
        """The operations of `module` for one sample `[T, 1, *input_shape]`. Raises EnergyError for
        a module without layers of neurons or with several kinds of them, and for an operation that
        has no rule; ArgumentError where the shape is not known, or not that of the inputs."""
        batches = [inputs] if isinstance(inputs, Tensor) else list(inputs or ())
        if batches:
            timesteps, input_shape = _shape_of(batches, input_shape, timesteps)
        for name, value in (("input_shape", input_shape), ("timesteps", timesteps)):
            if value is None:
                raise ArgumentError(name, None, "a module needs it, or inputs [T, N, *]")
        neuron, hyperparameters = _neuron_of(module)
        net = module if isinstance(module, SpikingNet) else _Whole(module)
        with_shapes = copy.deepcopy(net).to("meta")  # where nothing is computed
        graph = trace_net(with_shapes, tuple(input_shape or ()), timesteps or 0)
        measured = _measure(net, graph, batches) if batches else None
        return cls(type(module).__name__, graph, neuron, hyperparameters, measured)

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
        if rates == PAPER_RATES:
            raise EnergyError("the paper has no firing rates for a module of your own")
        charged = constants_of(constants)
        rows, origin = [], "unknown"
        own: dict[str, float] | None = None
        shown: tuple[RateRow, ...] = ()
        if rates is not None:
            document = rates if isinstance(rates, Mapping) else {"rates": list(rates)}
            own = rates_of_layers(
                document,
                self.graph.spiking_layers,
                "firing rates",
                highest=self.hyperparameters.most_spikes,
            )
            origin, shown = "given", given_rates(own, self.graph)
        elif self.measured is not None:
            own = {layer.layer: layer.firing_rate for layer in self.measured.rates}
            origin, shown = "measured", measured_rates(self.measured.rates)
        seen = self.measured if rates is None else None
        ann = NEURONS["relu"]
        kinds: list[tuple[Neuron, Hyperparameters]] = [(self.neuron, self.hyperparameters)]
        if self.neuron.spiking:
            kinds.insert(0, (ann, ann.hyperparameters()))
        for neuron, values in kinds:
            mine = neuron is self.neuron
            costs = net_costs(
                self.graph,
                neuron,
                values,
                rates=own if mine else None,
                counted=seen.counted if seen and mine else None,
                constants=charged,
                methods=methods,
                bias_share=seen.batches / seen.samples if seen else 1.0,
                own_neuron=mine,
            )
            rows.append(
                EnergyRow(
                    source=self.name,
                    data=None,
                    model=self.name,
                    neuron=neuron.name,
                    timesteps=costs.timesteps,
                    parameters=costs.parameters,
                    rates=origin if neuron.spiking else "none",
                    accuracy_percent=None,
                    paper=costs.paper,
                    corrected=costs.corrected,
                    published=None,
                    firing_rates=shown if neuron.spiking else (),
                    layers=costs.layers if per_layer else None,
                )
            )
        return EnergyResult(
            methods=methods,
            constants=charged.as_document(),
            rows=tuple(rows),
            assumptions=assumptions(rows, [self.graph], charged),
            defects=tuple(map(asdict, DEFECTS)),
        )


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


def _neuron_of(module: nn.Module) -> tuple[Neuron, Hyperparameters]:
    """The one kind of neuron that a module has; thresholds may be a layer's own."""
    layers = list(firing_modules(module).values())
    # What a layer of its own threshold has besides is compared with the others.
    shared = [one.hyperparameters for one in layers if one.own_threshold is None]
    threshold = getattr(shared[0], "v_threshold", None) if shared else None
    kinds: dict[str, tuple[Neuron, Hyperparameters]] = {}
    for layer in layers:
        values = layer.hyperparameters
        alike = values if layer.own_threshold is None else values.with_threshold(threshold)
        kinds.setdefault(f"{layer.neuron.name} {alike!r}", (layer.neuron, alike))
    if not kinds:
        raise EnergyError(
            f"{type(module).__name__} has no layer of neurons that clifctl knows",
            hint="build them of clifctl.nn, such as clifctl.nn.LIF()",
        )
    if len(kinds) > 1:
        raise EnergyError(
            f"{type(module).__name__} has several kinds of neurons: {'; '.join(kinds)}",
            hint="energy is counted for nets of one kind",
        )
    (found,) = kinds.values()
    return found


def _measure(net: SpikingNet, graph: OperationGraph, batches: Sequence[Tensor]) -> _Measured:
    """Run `net` on the inputs, in evaluation mode, and count."""
    rates, counter = FiringRates(net), SpikeCounter(graph)
    was_training = net.training
    net.eval()
    try:
        with torch.inference_mode(), rates.recording(), counter.following(net):
            for batch in batches:
                net(batch)
    finally:
        net.train(was_training)
    samples = sum(batch.shape[1] for batch in batches)
    return _Measured(layer_rates(rates), counter.counted(), len(batches), samples)
