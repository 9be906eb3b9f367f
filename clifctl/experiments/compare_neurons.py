"""`compare-neurons`: one net, one data set, the same seeds; another neuron."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from clifctl.commands import command_line
from clifctl.errors import (
    ArgumentError,
    RecipeError,
    UntrustedFile,
    UsageError,
    as_listed,
    unknown_name,
)
from clifctl.experiments.grid.cells import (
    CellGrid,
    compared_numbers,
    finished_trials,
    numbers_by_seed,
    plan_cells,
    run_cells,
)
from clifctl.experiments.grid.grid import Grid, GridOptions
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.grid.summary import (
    CORRECTION,
    BySeed,
    conclude,
    differences,
    machine_notes,
    mean_curve,
    summarise,
)
from clifctl.experiments.grid.trial_gradients import temporal_shares
from clifctl.experiments.published import published_for
from clifctl.models.norm import NormMode
from clifctl.models.options import OWN_NORM
from clifctl.neurons import NEURONS
from clifctl.paper import figure_note
from clifctl.recipe.load import LoadedRecipe, RecipeSource, open_recipe
from clifctl.recipe.neuron_specs import NeuronSpec, label_of, read_specs
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.events import GridObserver
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.summary import MeanCurve
from clifctl.trust import is_file_reference

DEFAULT_RECIPE = "digits_snn5"
DEFAULT_BASELINE = "lif"
# Loss curves of LIF and CLIF on the paper's tasks.
FIGURE_OF_LOSSES = 10
SHARE = "temporal_share_percent"
# What the conclusions are about, in their order.
CONCLUDED = ("accuracy_percent_last", "test_loss", "train_loss_train_mode", SHARE)
NORM_MODES: tuple[str, ...] = get_args(NormMode)


@dataclass(frozen=True)
class NeuronAxes:
    """What a comparison varies: neurons (NAME or NAME(KEY=VALUE, ...)), `seeds` seeds from the
    recipe's on, and settings (None: the recipe's own). `baseline` None is lif, or else the first
    neuron."""

    neurons: Sequence[str]
    seeds: int
    timesteps: Sequence[int] | None = None
    batch_norm: Sequence[str] | None = None
    baseline: str | None = None
    gradients: bool = False


@dataclass(frozen=True)
class _Cell:
    """One row: a neuron, and the setting (T as asked for, batch norm) that it is compared in."""

    neuron: str
    timesteps: int
    batch_norm: str
    own_timesteps: int


@dataclass(frozen=True)
class NeuronGrid(CellGrid[_Cell]):
    """A comparison that can start."""

    baseline: str
    gradients: bool


def plan_comparison(
    reference: str, overrides: Sequence[str], axes: NeuronAxes, options: GridOptions
) -> NeuronGrid:
    """Everything that the comparison needs, checked. Writes nothing.

    Raises ClifctlError for a neuron, an axis or a recipe that will not do.
    """
    return plan_comparison_of(open_recipe(reference, overrides), axes, options)


def plan_comparison_of(source: RecipeSource, axes: NeuronAxes, options: GridOptions) -> NeuronGrid:
    """The same, of a recipe that has been read."""
    base = source.variant()
    seeds = seeds_of(base.recipe.train.seed, axes.seeds)
    if not axes.neurons:
        raise ArgumentError("neurons", None, "there is none to compare")
    neurons = read_specs(axes.neurons)
    _require_sequences(neurons, base)
    baseline = _baseline(axes.baseline, neurons)
    steps = axes.timesteps or [base.recipe.timesteps]
    norms = axes.batch_norm or [base.recipe.model.options.norm_mode]
    if axes.batch_norm is not None:
        _require_batch_norms(norms, base)

    def variant(cell: _Cell, seed: int) -> tuple[LoadedRecipe, str]:
        loaded = _variant(source, neurons[cell.neuron], cell, seed)
        return loaded, _title(cell, seed, steps, norms)

    planned = plan_cells(base, _cells(neurons, steps, norms), seeds, variant, options)
    return NeuronGrid(**vars(planned), baseline=baseline, gradients=axes.gradients)


def require_no_neurons(words: Sequence[str]) -> None:
    """Raise UsageError where all of the words in the place of the recipe are neurons."""
    entries = [entry for word in words for entry in word.split(",")]
    known = [one for one in entries if as_listed(one, NEURONS) in NEURONS or is_file_reference(one)]
    if known and known == entries:
        raise UsageError(
            f"'{words[0]}' is a neuron, and no recipe",
            hint=command_line("compare-neurons", "--neurons", ",".join(entries)),
        )


def compare_neurons(planned: NeuronGrid, observe: GridObserver) -> NeuronComparison:
    """Run what is not finished of a planned comparison, and compare."""
    grid, cells = planned.grid, planned.cells
    run = run_cells(planned, observe)
    measured, trials = run.measured, finished_trials(planned, run)
    bases = {cell: _base_of(cell, cells, planned.baseline) for cell in cells}
    pairs: list[tuple[BySeed, BySeed] | None] = [
        None if bases[cell] == cell else (measured[cell], measured[bases[cell]]) for cell in cells
    ]
    recipes = {trial.name: trial.loaded.recipe for trial in grid.trials}
    shares = _shares(planned, trials, bases)
    rows = []
    for cell, against in zip(cells, differences(pairs), strict=True):
        train, test = _curves(grid, list(trials[cell].values()))
        share, difference = shares[cell]
        rows.append(
            ComparedNeuron(
                neuron=cell.neuron,
                timesteps=cell.own_timesteps,
                batch_norm=cell.batch_norm,
                paired_timesteps=cell.timesteps,
                is_baseline=cell.neuron == planned.baseline,
                summary=replace(summarise(measured[cell]), temporal_share_percent=share),
                differences=against and {**against, SHARE: difference},
                train_loss_curve=train,
                test_loss_curve=test,
                published=published_for(recipes[planned.trials[cell, planned.seeds[0]]]),
            )
        )
    recipe = planned.recipe.recipe
    result = NeuronComparison(
        recipe=planned.recipe.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        epochs=recipe.train.epochs,
        exchange_to=recipe.exchange.neuron.neuron.name if recipe.exchange else None,
        exchange_after_epoch=recipe.exchange.epoch if recipe.exchange else None,
        baseline=planned.baseline,
        seeds_asked=len(planned.seeds),
        correction=CORRECTION,
        results_folder=str(grid.folder.path),
        rows=tuple(rows),
        conclusions=conclusions(rows, planned.baseline),
        notes=(*_notes(rows), *machine_notes(list(measured.values()))),
        trials=run.statuses,
    )
    grid.folder.keep(result)
    return result


def _shares(
    planned: NeuronGrid,
    trials: Mapping[_Cell, Mapping[int, str]],
    bases: Mapping[_Cell, _Cell | None],
) -> Mapping[_Cell, tuple[Estimate | None, Difference | None]]:
    """The mean temporal share of each cell [%], and its difference to the baseline; None where it
    was not asked for."""
    if not planned.gradients:
        return dict.fromkeys(bases, (None, None))
    names = [name for seeds in trials.values() for name in seeds.values()]
    shares = numbers_by_seed(trials, temporal_shares(planned.grid, names))
    return compared_numbers(bases, shares)


def _baseline(asked: str | None, neurons: Mapping[str, NeuronSpec]) -> str:
    if asked is None:
        return DEFAULT_BASELINE if DEFAULT_BASELINE in neurons else next(iter(neurons))
    label = label_of(asked, neurons)
    if label not in neurons:
        raise ArgumentError(
            "baseline",
            None,
            unknown_name("neuron of the comparison", asked, neurons),
            hint="the baseline is one of the neurons that are compared",
        )
    return label


def _require_sequences(neurons: Mapping[str, NeuronSpec], base: LoadedRecipe) -> None:
    """Raise ArgumentError for a neuron of fewer time steps than the data always have."""
    data = base.recipe.data.dataset
    for label, spec in neurons.items():
        most = spec.neuron.max_timesteps
        if most is not None and data.timesteps is not None and most < data.timesteps:
            raise ArgumentError(
                "neurons",
                label,
                f"it runs for {most} time step{'s' * (most > 1)}, and data set '{data.name}' is a "
                f"sequence of {data.timesteps}",
                hint=f"leave {label} out",
            )


def _variant(source: RecipeSource, spec: NeuronSpec, cell: "_Cell", seed: int) -> LoadedRecipe:
    """The recipe of a trial. Raises RecipeError, naming the neuron whose keys will not do."""
    try:
        return source.variant(
            [
                *spec.overrides,
                f"timesteps={cell.own_timesteps}",
                *([] if cell.batch_norm == OWN_NORM else [f"model.batch_norm={cell.batch_norm}"]),
                f"train.seed={seed}",
            ]
        )
    except RecipeError as refused:
        if not spec.keys or isinstance(refused, UntrustedFile):
            raise
        raise RecipeError(f"{cell.neuron}: {refused.message}", hint=refused.hint) from None


def _require_batch_norms(norms: Sequence[str], base: LoadedRecipe) -> None:
    if "batch_norm" not in type(base.recipe.model.options).model_fields:
        raise ArgumentError(
            "batch_norm",
            ",".join(norms),
            f"net '{base.recipe.model.model.name}' decides itself what its batch norm does",
            hint="leave it out",
        )
    for norm in norms:
        if norm not in NORM_MODES:
            raise ArgumentError(
                "batch_norm",
                None,
                unknown_name("batch norm", norm, NORM_MODES),
                hint=f"one or both of {','.join(NORM_MODES)}",
            )


def _cells(
    neurons: Mapping[str, NeuronSpec], timesteps: Sequence[int], norms: Sequence[str]
) -> tuple[_Cell, ...]:
    """Setting by setting, neuron by neuron. A neuron for fewer time steps (the ANN: one) has one
    row, in the setting with the most."""
    cells = []
    for norm in norms:
        for steps in timesteps:
            for name, spec in neurons.items():
                most = spec.neuron.max_timesteps or max(timesteps)
                if steps == max(timesteps) or steps < most:
                    cells.append(_Cell(name, steps, norm, min(steps, most)))
    return tuple(cells)


def _title(cell: _Cell, seed: int, timesteps: Sequence[int], norms: Sequence[str]) -> str:
    parts = [cell.neuron]
    if len(timesteps) > 1 or cell.own_timesteps != cell.timesteps:
        parts.append(f"T = {cell.own_timesteps}")
    if len(norms) > 1:
        parts.append(cell.batch_norm)
    return ", ".join([*parts, f"seed {seed}"])


def _base_of(cell: _Cell, cells: Sequence[_Cell], baseline: str) -> _Cell:
    """The baseline's row in the setting of `cell`: where it has none (an ANN), its only one."""
    rows = [one for one in cells if one.neuron == baseline and one.batch_norm == cell.batch_norm]
    return next((one for one in rows if one.timesteps == cell.timesteps), rows[-1])


def _curves(grid: Grid, names: Sequence[str]) -> tuple[MeanCurve | None, MeanCurve | None]:
    curves = [grid.folder.epochs(name) for name in names]
    if not curves or not all(curve.test_loss for curve in curves):
        return None, None
    train = mean_curve(curves, lambda curve: curve.train_loss_train_mode)
    return train, mean_curve(curves, lambda curve: curve.test_loss)


def conclusions(rows: Sequence[ComparedNeuron], baseline: str) -> tuple[str, ...]:
    """What the differences bear, in sentences: accuracy first, then the losses."""
    compared = [(row, row.differences) for row in rows if row.differences is not None]
    if not compared:
        if all(row.is_baseline for row in rows):
            return ("One neuron: there is nothing to compare it with.",)
        return ("Nothing was compared: no seed is finished for the baseline and another neuron.",)
    several_steps = len({row.paired_timesteps for row, _ in compared}) > 1
    several_norms = len({row.batch_norm for row, _ in compared}) > 1
    named = []
    for row, found in compared:
        parts = [row.setting] * several_steps + [row.batch_norm] * several_norms
        setting = f" ({', '.join(parts)})" if parts else ""
        named.append((f"{row.neuron}{setting}", found))
    return conclude(named, baseline, CONCLUDED)


def _notes(rows: Sequence[ComparedNeuron]) -> tuple[str, ...]:
    """What to know of the paper's numbers, and of the figures that show such runs."""
    notes = [row.published.note for row in rows]
    shown = [row.published.accuracies[0] for row in rows if row.published.accuracies]
    notes += [f"{number.source}, {number.row}: {number.note}" for number in shown if number.note]
    if shown:
        notes.append("The paper's accuracy is that of its best epoch on the test set, of one run.")
        notes.append(figure_note(FIGURE_OF_LOSSES))
    return tuple(dict.fromkeys(note for note in notes if note))
