"""`compare-neurons`: one net, one data set, the same seeds; another neuron."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from clifctl.amounts import counted
from clifctl.commands import command_line
from clifctl.errors import (
    ArgumentError,
    RecipeError,
    UntrustedFile,
    UsageError,
    as_listed,
    unknown_name,
)
from clifctl.experiments.grid.grid import (
    Grid,
    GridOptions,
    plan_grid,
    run_grid,
    statuses,
)
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.grid.statistics import estimate, paired_difference, with_holm
from clifctl.experiments.grid.summary import (
    CORRECTION,
    BySeed,
    by_seed,
    describe,
    differences,
    is_significant,
    machine_notes,
    mean_curve,
    summarise,
    undecided,
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
from clifctl.results.quantities import Quantity
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.summary import ESTIMATES, MeanCurve
from clifctl.results.trials import TrialRecord
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
class NeuronGrid:
    """A comparison that can start: its cells, with the recipe of each, and its trials."""

    grid: Grid
    recipe: LoadedRecipe
    cells: tuple[_Cell, ...]
    baseline: str
    seeds: tuple[int, ...]
    notices: tuple[str, ...]
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
    cells = _cells(neurons, steps, norms)
    places = [(cell, seed) for seed in seeds for cell in cells]
    loaded = [_variant(source, neurons[cell.neuron], cell, seed) for cell, seed in places]
    titles = [_title(cell, seed, steps, norms) for cell, seed in places]
    grid = plan_grid(list(zip(loaded, titles, strict=True)), options)
    notices = dict.fromkeys(line for one in loaded for line in one.notices)
    return NeuronGrid(grid, base, cells, baseline, seeds, tuple(notices), axes.gradients)


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
    found = dict(zip((trial.name for trial in grid.trials), run_grid(grid, observe), strict=True))
    trials = dict(zip(_places(planned), grid.cells, strict=True))
    records: dict[_Cell, list[TrialRecord | None]] = {
        cell: [found[trials[cell, seed]] for seed in planned.seeds] for cell in cells
    }
    measured = {cell: by_seed(records[cell]) for cell in cells}
    bases = {cell: _base_of(cell, cells, planned.baseline) for cell in cells}
    pairs: list[tuple[BySeed, BySeed] | None] = [
        None if bases[cell] == cell else (measured[cell], measured[bases[cell]]) for cell in cells
    ]
    recipes = {trial.name: trial.loaded.recipe for trial in grid.trials}
    shares = _shares(planned, trials, measured) if planned.gradients else None
    rows = []
    for cell, against, share in zip(
        cells, differences(pairs), _share_columns(cells, bases, shares), strict=True
    ):
        names = [trials[cell, seed] for seed in planned.seeds if seed in measured[cell]]
        train, test = _curves(grid, names)
        rows.append(
            ComparedNeuron(
                neuron=cell.neuron,
                timesteps=cell.own_timesteps,
                batch_norm=cell.batch_norm,
                paired_timesteps=cell.timesteps,
                is_baseline=cell.neuron == planned.baseline,
                summary=replace(summarise(measured[cell]), temporal_share_percent=share[0]),
                differences=against and {**against, SHARE: share[1]},
                train_loss_curve=train,
                test_loss_curve=test,
                published=published_for(recipes[trials[cell, planned.seeds[0]]]),
            )
        )
    recipe = planned.recipe.recipe
    return NeuronComparison(
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
        trials=statuses(grid, list(found.values())),
    )


Shares = Mapping[_Cell, Mapping[int, float]]


def _shares(
    planned: NeuronGrid, trials: Mapping[tuple[_Cell, int], str], measured: Mapping[_Cell, BySeed]
) -> Shares:
    """The temporal share of every finished trial [%], by cell and seed."""
    names = {(cell, seed): trials[cell, seed] for cell, seeds in measured.items() for seed in seeds}
    found = temporal_shares(planned.grid, list(names.values()))
    return {
        cell: {seed: found[names[cell, seed]] for seed in seeds if names[cell, seed] in found}
        for cell, seeds in measured.items()
    }


def _share_columns(
    cells: Sequence[_Cell], bases: Mapping[_Cell, _Cell], shares: Shares | None
) -> list[tuple[Estimate | None, Difference | None]]:
    """For each cell the mean share, and its difference to the baseline."""
    if shares is None:
        return [(None, None)] * len(cells)
    found = []
    for cell in cells:
        mine, theirs = shares[cell], shares[bases[cell]]
        both = [seed for seed in mine if seed in theirs and bases[cell] != cell]
        pair = [mine[seed] for seed in both], [theirs[seed] for seed in both]
        found.append(paired_difference(*pair) if both else None)
    means = [estimate(list(shares[cell].values())) if shares[cell] else None for cell in cells]
    return list(zip(means, with_holm(found), strict=True))


def _places(planned: NeuronGrid) -> list[tuple[_Cell, int]]:
    return [(cell, seed) for seed in planned.seeds for cell in planned.cells]


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
    n = min(one.n for _, found in compared for one in [found[CONCLUDED[0]]] if one)
    if n == 1:
        return (
            "One seed: there is no error bar and no p value, and nothing can be concluded about "
            "any difference. Give at least 8 with --seeds.",
        )
    sentences = []
    for name in CONCLUDED:
        known = [(row, one) for row, found in compared if (one := found[name]) is not None]
        if known:
            quantity = ESTIMATES[name]
            title = quantity.title[:1].upper() + quantity.title[1:]
            sentences.append(f"{title} against {baseline}: {_sentence(known, quantity)}")
    if n < 8:
        sentences.append(
            f"With {counted(n, 'seed')} only large differences can be told from chance; "
            "8 or more are better."
        )
    return tuple(sentences)


def _sentence(compared: Sequence[tuple[ComparedNeuron, Difference]], quantity: Quantity) -> str:
    several_steps = len({row.paired_timesteps for row, _ in compared}) > 1
    several_norms = len({row.batch_norm for row, _ in compared}) > 1
    shown, same, open_ = [], [], []
    for row, one in compared:
        parts = [row.setting] * several_steps + [row.batch_norm] * several_norms
        setting = f" ({', '.join(parts)})" if parts else ""
        if is_significant(one):
            shown.append(describe(f"{row.neuron}{setting}", one, quantity))
        elif one.ties == one.n:
            same.append(f"{row.neuron}{setting}")
        else:
            open_.append(undecided(f"{row.neuron}{setting}", one, quantity))
    parts = []
    if shown:
        parts.append("; ".join(shown))
    if same:
        parts.append(f"the same in every seed for {', '.join(same)}")
    if open_:
        parts.append(f"no difference can be concluded for {', '.join(open_)}")
    return "; ".join(parts) + "."


def _notes(rows: Sequence[ComparedNeuron]) -> tuple[str, ...]:
    """What to know of the paper's numbers, and of the figures that show such runs."""
    notes = [row.published.note for row in rows]
    shown = [row.published.accuracies[0] for row in rows if row.published.accuracies]
    notes += [f"{number.source}, {number.row}: {number.note}" for number in shown if number.note]
    if shown:
        notes.append("The paper's accuracy is that of its best epoch on the test set, of one run.")
        notes.append(figure_note(FIGURE_OF_LOSSES))
    return tuple(dict.fromkeys(note for note in notes if note))
