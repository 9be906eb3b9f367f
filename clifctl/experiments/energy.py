"""`energy`: what an inference costs, for nets of recipes and checkpoints, beside the paper's."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from clifctl import paper
from clifctl.devices import CPU
from clifctl.energy.accounting import METHODS, NetCosts, NeuronValues, net_costs
from clifctl.energy.as_published import NEURONS as NEURONS_OF_THE_PAPER
from clifctl.energy.as_published import without_rule
from clifctl.energy.constants import DEFAULT, PRESETS, Constants, constants_from
from clifctl.energy.corrected import ASSUMPTIONS, COUNTED, GIVEN
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.defects import DEFECTS
from clifctl.energy.graph import OperationGraph
from clifctl.energy.rates import rates_of_layers
from clifctl.energy.signals import Counted
from clifctl.energy.tracing import trace_net
from clifctl.errors import ArgumentError, DataError, EnergyError, UsageError, unknown_name
from clifctl.experiments.build import build_net, repeat_of, unfilled_net
from clifctl.experiments.checkpoints import (
    CheckpointOptions,
    OpenedCheckpoint,
    OpenedNet,
    is_checkpoint,
    open_checkpoint,
    refused_override,
)
from clifctl.experiments.eval import EvalRequest, evaluate_checkpoint, evaluate_net
from clifctl.experiments.published import keeps_the_net, protocol_note
from clifctl.files import parse_json
from clifctl.models import SpikingNet, firing_modules
from clifctl.neurons import NEURONS, Hyperparameters, Neuron
from clifctl.reading import read_given_text
from clifctl.recipe.load import LoadedRecipe, load_recipe
from clifctl.recipe.schema import MAX_TIMESTEPS, Recipe
from clifctl.results.energy import EnergyResult, EnergyRow, PublishedCost, RateRow
from clifctl.results.eval import EvalResult, LayerRate

PAPER_RATES = "paper"
FIGURE_OF_RATES = 11


# By layer, or in forward order.
Rates = Mapping[str, float] | Sequence[float]
# A recipe's name or path, a checkpoint's path, a recipe that was read, a net with its recipe.
NetSource = str | LoadedRecipe | OpenedNet


@dataclass(frozen=True)
class EnergyOptions:
    """What is asked for. `rates`: `paper`, a file, what a file holds, None (measured, for a
    checkpoint); `checkpoint`: how a checkpoint is opened, and on what its rates are measured."""

    overrides: Sequence[str] = ()
    rates: str | Rates | None = None
    methods: Sequence[str] = tuple(METHODS)
    per_layer: bool = False
    constants: str | None = None
    timesteps: int | None = None
    checkpoint: CheckpointOptions = field(default_factory=CheckpointOptions)
    say: Callable[[str], None] = field(default=lambda line: None)


@dataclass(frozen=True)
class _Source:
    """One net: its recipe, what it computes with which neurons, and its weights where there are
    any."""

    name: str
    recipe: Recipe
    graph: OperationGraph
    neurons: Mapping[str, NeuronValues]
    opened: OpenedCheckpoint | None = None


@dataclass(frozen=True)
class _Rates:
    """Firing rates of the layers of one net, None where they are not known, and their origin; what
    was counted with them, where they are measured."""

    origin: str
    of_layers: Mapping[str, float] | None = None
    measured: EvalResult | None = None
    counted: Counted | None = None


def energy(sources: Sequence[NetSource], options: EnergyOptions) -> EnergyResult:
    """The costs of every source, in the order given: the ANN of the same net, LIF for a CLIF net
    whose published rates are used, and the net itself. An ANN or LIF that several sources have
    alike is one row, of the first of them.

    Raises ClifctlError for a source, firing rates or constants that cannot be used, and for a net
    whose layers of neurons do not all run. Nothing is written. An operation without a rule is
    named in the result, and no total has it.
    """
    constants = constants_of(options.constants)
    opened = [_open(source, options) for source in _sorted_out(sources, options)]
    rows: list[EnergyRow] = []
    for source in opened:
        *references, own = _rows(source, options, constants)
        # Checkpoints of one net have the same ANN beside them: once is enough.
        there = [replace(row, source="") for row in rows]
        rows += [row for row in references if replace(row, source="") not in there]
        rows.append(own)
    return EnergyResult(
        methods=tuple(options.methods),
        constants=constants.as_document(),
        rows=tuple(rows),
        assumptions=assumptions(rows, [source.graph for source in opened], constants),
        defects=tuple(map(asdict, DEFECTS)),
    )


def constants_of(reference: str | None) -> Constants:
    """The constants of a preset's name or a JSON file. Raises EnergyError."""
    if reference is None:
        return DEFAULT
    if reference in PRESETS:
        return PRESETS[reference]
    if not Path(reference).exists() and not Path(reference).suffix:
        raise EnergyError(
            unknown_name("set of constants", reference, PRESETS),
            hint="or give a JSON file, with energies in pJ",
        )
    return constants_from(given_json(reference), f"constants '{reference}'")


def given_json(reference: str) -> Any:
    """What a JSON file of a person's own holds. Raises EnergyError."""
    try:
        return parse_json(read_given_text(Path(reference)))
    except OSError as unreadable:
        raise EnergyError(
            f"cannot read '{reference}': {unreadable.strerror}", hint="give the path of a JSON file"
        ) from None
    except UnicodeDecodeError:
        raise EnergyError(f"'{reference}' is not UTF-8", hint="give a JSON file") from None
    except ValueError as broken:
        raise EnergyError(f"'{reference}' {broken}", hint="give a JSON file") from None


def _sorted_out(sources: Sequence[NetSource], options: EnergyOptions) -> Sequence[NetSource]:
    """The sources, once it is sure that overrides and T mean something for them."""
    if list(sources).count("-") > 1:
        raise UsageError("stdin was given twice as a recipe", hint="give - once")
    own = [source for source in sources if isinstance(source, str) and is_checkpoint(source)]
    if own and options.overrides and options.checkpoint.foreign_recipe is None:
        raise refused_override(
            options.overrides[0],
            f"the checkpoint '{own[0]}' is costed as it was trained",
            timesteps="--timesteps T",
        )
    steps = options.timesteps
    if steps is not None and any(item.startswith("timesteps=") for item in options.overrides):
        raise ArgumentError("timesteps", steps, "timesteps= was given too", hint="give one")
    if steps is not None and not 1 <= steps <= MAX_TIMESTEPS:
        raise ArgumentError(
            "timesteps",
            steps,
            f"must be between 1 and {MAX_TIMESTEPS}",
            hint="without it, those of the recipe",
        )
    return sources


def _open(source: NetSource, options: EnergyOptions) -> _Source:
    if isinstance(source, LoadedRecipe):
        return _Source(source.name, source.recipe, *_operations(source.recipe))
    if isinstance(source, OpenedNet):
        return _Source(source.name, source.recipe, *_operations(source.recipe, source.own), source)
    if not is_checkpoint(source):
        overrides = list(options.overrides)
        if options.timesteps is not None:
            overrides.append(f"timesteps={options.timesteps}")
        loaded = load_recipe(source, overrides)
        for notice in loaded.notices:
            options.say(notice)
        return _Source(loaded.name, loaded.recipe, *_operations(loaded.recipe))
    opened = open_checkpoint(Path(source), options.checkpoint, timesteps=options.timesteps)
    return _Source(source, opened.recipe, *_operations(opened.recipe), opened)


def _operations(
    recipe: Recipe, own: SpikingNet | None = None
) -> tuple[OperationGraph, dict[str, NeuronValues]]:
    """The operations of a recipe's net, or of its `own` one, and the neurons of each layer."""
    if own is None:
        with torch.device("meta"):
            net = build_net(recipe)
    else:
        net = copy.deepcopy(own).to("meta")
    graph = trace_net(net, recipe.data.input_shape, recipe.timesteps, repeat=repeat_of(recipe))
    return graph, neurons_of(net)


def neurons_of(net: SpikingNet) -> dict[str, NeuronValues]:
    """The neurons of each layer of a net."""
    layers = firing_modules(net).items()
    return {name: (layer.neuron, layer.hyperparameters) for name, layer in layers}


def _rates(source: _Source, options: EnergyOptions) -> _Rates:
    """The firing rates of a source's own net."""
    own = source.recipe.neuron
    if not own.neuron.spiking:
        return _Rates("none")
    if options.rates == PAPER_RATES:
        name = own.neuron.name
        return _Rates("paper", _published_rates(source, name, options))
    if options.rates is not None:
        document, origin, where = _given(options.rates)
        layers, highest = source.graph.spiking_layers, own.hyperparameters.most_spikes
        return _Rates(origin, rates_of_layers(document, layers, where, highest=highest))
    if source.opened is None:
        return _Rates("unknown")
    options.say(f"measuring firing rates of '{source.name}' on its test data")
    try:
        counter = SpikeCounter(source.graph)
        measured = _measured(source, source.opened, options, counter)
    except DataError as missing:
        hint = "firing rates can also be given: --rates FILE.json"
        raise DataError(
            missing.message, hint=f"{missing.hint}; {hint}" if missing.hint else hint
        ) from None
    rates = {layer.layer: layer.firing_rate for layer in measured.firing_rates}
    return _Rates("measured", rates, measured, counter.counted())


def _measured(
    source: _Source, opened: OpenedCheckpoint, options: EnergyOptions, counter: SpikeCounter
) -> EvalResult:
    """The evaluation of a net that `counter` follows."""
    how, watch = options.checkpoint, counter.following
    if isinstance(opened, OpenedNet):
        return evaluate_net(opened, how, watch=watch)
    request = EvalRequest(timesteps=options.timesteps)
    return evaluate_checkpoint(Path(source.name), how, request, watch=watch)


def _given(rates: str | Rates) -> tuple[Any, str, str]:
    """Firing rates of a file, or as they are: the document, where they come from, and what they
    are called in an error."""
    if isinstance(rates, str):
        return given_json(rates), rates, f"firing rates '{rates}'"
    document = rates if isinstance(rates, Mapping) else {"rates": list(rates)}
    return document, "given", "firing rates"


def _published_rates(source: _Source, neuron: str, options: EnergyOptions) -> dict[str, float]:
    recipe = source.recipe
    data, model = recipe.data.dataset.name, recipe.model.model.name
    found = paper.firing_rates(data, neuron)
    if found is None or found.model != model or not keeps_the_net(recipe):
        changed = found is not None and found.model == model
        raise EnergyError(
            f"--rates paper: the paper has no firing rates for '{neuron}' in '{model}' on '{data}'"
            + (" in another width" if changed else ""),
            hint="it has those of lif and clif, resnet18 on cifar10 and cifar100, vgg13 on "
            "tiny_imagenet, vgg11 on dvs_gesture and cifar10_dvs; give others in a file",
        )
    if found.timesteps != recipe.timesteps and neuron == recipe.neuron.neuron.name:
        options.say(f"the published firing rates are those of T = {found.timesteps}")
    return dict(zip(source.graph.spiking_layers, found.firing_rates, strict=True))


def _rows(source: _Source, options: EnergyOptions, constants: Constants) -> list[EnergyRow]:
    """The rows of one source: the ANN, LIF where its rates are known, the net itself."""
    recipe = source.recipe
    graph, own = source.graph, recipe.neuron
    rates = _rates(source, options)
    if source.opened is not None and rates.measured is None:
        _require_weights_fit(source)
    share = _bias_share(recipe, rates.measured)

    def row(neuron: Neuron, values: Hyperparameters, used: _Rates) -> EnergyRow:
        costs = net_costs(
            graph,
            neuron,
            values,
            rates=used.of_layers,
            counted=used.counted,
            constants=constants,
            methods=options.methods,
            bias_share=share,
            own_neuron=neuron is own.neuron,
            neurons=source.neurons if neuron is own.neuron else None,
        )
        return _row(source, neuron, costs, used, options, constants)

    rows = []
    if own.neuron.spiking:
        ann = NEURONS["relu"]
        rows.append(row(ann, ann.hyperparameters(), _Rates("none")))
    if own.neuron.name == "clif" and options.rates == PAPER_RATES:
        lif = NEURONS["lif"]
        values = {
            name: value
            for name, value in own.hyperparameters
            if name in lif.hyperparameters.model_fields
        }
        published = _published_rates(source, "lif", options)
        rows.append(row(lif, lif.hyperparameters(**values), _Rates("paper", published)))
    rows.append(row(own.neuron, own.hyperparameters, rates))
    return rows


def _row(
    source: _Source,
    neuron: Neuron,
    costs: NetCosts,
    rates: _Rates,
    options: EnergyOptions,
    constants: Constants,
) -> EnergyRow:
    recipe = source.recipe
    return EnergyRow(
        source=source.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=neuron.name,
        timesteps=costs.timesteps,
        parameters=costs.parameters,
        rates=rates.origin,
        accuracy_percent=rates.measured.accuracy_percent if rates.measured else None,
        paper=costs.paper,
        corrected=costs.corrected,
        published=_published(source, neuron, rates, costs.timesteps)
        if constants == DEFAULT
        else None,
        firing_rates=_rate_rows(rates, source.graph),
        layers=costs.layers if options.per_layer else None,
        synaptic=costs.synaptic,
        unpriced=costs.unpriced,
    )


def _rate_rows(rates: _Rates, graph: OperationGraph) -> tuple[RateRow, ...]:
    if rates.measured is not None:
        return measured_rates(rates.measured.firing_rates)
    return given_rates(rates.of_layers or {}, graph)


def measured_rates(layers: Sequence[LayerRate]) -> tuple[RateRow, ...]:
    """Rates that were measured, as rows."""
    return tuple(RateRow(**vars(layer)) for layer in layers)


def given_rates(rates: Mapping[str, float], graph: OperationGraph) -> tuple[RateRow, ...]:
    """Rates that are given for the layers of a net, as rows."""
    sizes = {op.name: op.n_out for op in graph.operations if op.kind == "neuron"}
    return tuple(
        RateRow(layer=layer, neurons=sizes[layer], firing_rate=rate)
        for layer, rate in rates.items()
    )


def _require_weights_fit(source: _Source) -> None:
    """Raise CheckpointError where a file does not hold the weights of the net that is costed."""
    net = unfilled_net(source.recipe, torch.device(CPU))
    if source.opened is not None:
        source.opened.fill(net)


def _bias_share(recipe: Recipe, measured: EvalResult | None) -> float:
    """Batches / samples of the evaluation: the paper's, for a task of the paper."""
    counts = paper.counts(recipe.data.dataset.name)
    if measured is not None:
        samples, batch = measured.samples, measured.batch_size
    elif counts is not None:
        samples, batch = counts.test_images, counts.evaluation_batch
    else:
        samples = batch = recipe.eval.batch_size
    return math.ceil(samples / batch) / samples


def _published(
    source: _Source, neuron: Neuron, rates: _Rates, timesteps: int
) -> PublishedCost | None:
    """The paper's own row, for the net of its tables."""
    recipe = source.recipe
    data = recipe.data.dataset.name
    sop, memory = paper.energy(data).get(neuron.name), paper.memory(data).get(neuron.name)
    if sop is None or memory is None or not keeps_the_net(recipe):
        return None
    if sop.model != recipe.model.model.name:
        return None
    notes = [sop.note, memory.note]
    if sop.timesteps != timesteps:
        notes.insert(0, f"of T = {sop.timesteps}, where this net has T = {timesteps}")
    if rates.measured is not None:  # what was counted does not depend on training
        notes.append(protocol_note(recipe))
    return PublishedCost(
        timesteps=sop.timesteps,
        parameters_millions=sop.parameters_millions,
        note="; ".join(filter(None, notes)) or None,
        acs_millions=sop.ac_millions,
        macs_millions=sop.mac_millions,
        sop_energy_uj=sop.energy_uj,
        potential_mj=float(memory.potential_mj),
        parameters_mj=memory.parameters_mj,
        in_out_mj=memory.in_out_mj,
        operations_mj=memory.operations_mj,
        addressing_uj=memory.addressing_uj,
        total_mj=memory.total_mj,
    )


def assumptions(
    rows: Sequence[EnergyRow], graphs: Sequence[OperationGraph], constants: Constants
) -> tuple[str, ...]:
    """What is to be read below every table."""
    left_out = dict.fromkeys(place for graph in graphs for place in graph.unpriced_places)
    lines = [
        f"NOT COUNTED, no price is known: {place}; every total is without it, and so too low"
        for place in left_out
    ]
    lines += [
        "paper: as Tables 6 and 7 count, defects included. Synaptic operations are those of one "
        "time step (the ANN's of one inference), ACs approximate: no rule reproduces them exactly",
    ]
    spiking = {row.neuron for row in rows} - {"relu"}
    strange = sorted(spiking - set(NEURONS_OF_THE_PAPER))
    if strange:
        lines.append(f"paper: it knows lif and clif; {', '.join(strange)} is charged as lif")
    unknown = sorted({kind for graph in graphs for kind in without_rule(graph)})
    if unknown:
        lines.append(f"paper: operations of kind {', '.join(unknown)} are not counted")
    if any(row.published is not None for row in rows):
        lines.append("(published): as printed, where parameters and operations are in millions")
    lines += [
        f"(published) {row.source}, {row.neuron}: {row.published.note}"
        for row in rows
        if row.published is not None and row.published.note
    ]
    if any(row.rates == PAPER_RATES for row in rows):
        lines += filter(None, [paper.figure_note(FIGURE_OF_RATES)])
    if any(row.rates == "unknown" for row in rows):
        lines.append("- : not known without firing rates; --rates gives them")
    lines += ASSUMPTIONS
    origins = {row.rates for row in rows} - {"none", "unknown"}
    if "measured" in origins:
        lines.append(COUNTED)
    if origins - {"measured"}:
        lines.append(GIVEN)
    lines.append(
        f"constants {constants.name}: {constants.source}; a sigmoid, exp or tanh counts as "
        f"{constants.function_multiplications:g} multiplications and "
        f"{constants.function_additions:g} additions"
    )
    return tuple(lines)
