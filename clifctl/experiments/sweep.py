"""`sweep`: any keys of a recipe, each point trained with the same seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clifctl.errors import UsageError, unknown_name
from clifctl.experiments.grid.cells import (
    CellGrid,
    RunCells,
    compared_numbers,
    finished_trials,
    numbers_by_seed,
    plan_cells,
    run_cells,
)
from clifctl.experiments.grid.grid import GridOptions
from clifctl.experiments.grid.points import (
    SEED,
    Axes,
    Point,
    distinct,
    partner,
    read_baseline,
)
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.grid.summary import (
    CORRECTION,
    BySeed,
    conclude,
    differences,
    machine_notes,
    summarise,
)
from clifctl.experiments.grid.trial_energy import ENERGIES, energies
from clifctl.recipe.load import LoadedRecipe, open_recipe
from clifctl.results.events import GridObserver
from clifctl.results.quantities import Quantity, quantities_of
from clifctl.results.statistics import Estimate
from clifctl.results.summary import ESTIMATES, Differences, Summary
from clifctl.results.sweep import BestPoint, ParetoPoint, SweepResult, SweptPoint

# More trials than this are run only where it was agreed to.
MANY_TRIALS = 1000
ACCURACY, VALIDATION = "accuracy_percent_last", "validation_accuracy_percent_last"
# What the conclusions are about where nothing else is asked for.
CONCLUDED = (ACCURACY, "test_loss", "train_loss_train_mode")
# How many points a sentence names.
MOST_NAMED = 8
# What a sweep measures: the estimates over seeds, and sizes that are the same for every seed.
SIZES = ("parameters", "kept_for_backward_bytes", "peak_memory_bytes")
QUANTITIES: dict[str, Quantity] = {
    **ESTIMATES,
    **{name: quantities_of(Summary)[name] for name in SIZES},
}
del QUANTITIES["temporal_share_percent"]  # compare-neurons --gradients measures it
# What a quantity is called in short.
SHORT = {
    "accuracy": ACCURACY,
    "validation_accuracy": VALIDATION,
    "loss": "test_loss",
    "energy": "sop_energy_nj",
    "memory_energy": "memory_energy_nj",
    "time": "train_seconds",
}


@dataclass(frozen=True)
class SweepAxes:
    """What a sweep varies: the texts of the values of each key (a key with one is an override),
    with `seeds` seeds from the recipe's on; every value with every other, or `zipped` side by side;
    `sample`: so many points, drawn with `sample_seed`.

    `baseline`: the values by which each point is compared, all others equal (None: with the first
    point). `quantities` are the columns, None for the usual ones; of the first, accuracy unless
    asked otherwise, and `against` the Pareto front is found. `agreed` is asked before more than
    MANY_TRIALS trials are run.
    """

    values: Mapping[str, Sequence[str]]
    seeds: int
    zipped: bool = False
    sample: int | None = None
    sample_seed: int = 0
    baseline: Mapping[str, str] | None = None
    quantities: Sequence[str] | None = None
    against: str | None = None
    agreed: Callable[[str], bool] = lambda question: False


@dataclass(frozen=True)
class SweepGrid(CellGrid[Point]):
    """A sweep that can start: its cells are points. `bases` has the point that each is compared
    with, itself for a baseline."""

    axes: Axes
    asked: SweepAxes
    bases: Mapping[Point, Point | None]
    quantities: tuple[str, ...]
    against: str | None

    @property
    def quantity(self) -> str:
        """What is set against `against`, and drawn."""
        return self.quantities[0] if self.quantities else ACCURACY


def plan_sweep(
    reference: str, overrides: Sequence[str], asked: SweepAxes, options: GridOptions
) -> SweepGrid:
    """Everything that the sweep needs, checked. Writes nothing.

    Raises ClifctlError for a key, a value or a recipe that will not do, and for many trials to
    which nobody agreed.
    """
    quantities = tuple(dict.fromkeys(_named("--quantity", one) for one in asked.quantities or ()))
    against = None if asked.against is None else _named("--against", asked.against)
    fixed = [f"{key}={text}" for key, (text, *more) in asked.values.items() if not more]
    axes = Axes({key: texts for key, texts in asked.values.items() if len(texts) > 1}, asked.zipped)
    wanted = None if asked.baseline is None else read_baseline(asked.baseline, axes)
    source = open_recipe(reference, [*overrides, *fixed])
    drawn = axes.points() if asked.sample is None else axes.sample(asked.sample, asked.sample_seed)
    points = distinct(axes, drawn)
    cells = list(points.values())
    base = source.variant(axes.overrides(cells[0]))
    seeds = seeds_of(base.recipe.train.seed, asked.seeds)
    _require_agreement(len(cells) * len(seeds), asked, options)
    bases = _bases(axes, points, wanted)

    def variant(point: Point, seed: int) -> tuple[LoadedRecipe, str]:
        loaded = source.variant([*axes.overrides(point), f"{SEED}={seed}"])
        return loaded, ", ".join(filter(None, (axes.title(point), f"seed {seed}")))

    planned = plan_cells(base, cells, seeds, variant, options, axes.keys)
    return SweepGrid(
        **vars(planned),
        axes=axes,
        asked=asked,
        bases=bases,
        quantities=quantities,
        against=against,
    )


def _named(option: str, name: str) -> str:
    """The quantity that a person means. Raises UsageError."""
    found = SHORT.get(name, name).replace("-", "_")
    if found not in QUANTITIES:
        raise UsageError(
            f"{option}: {unknown_name('quantity', name, [*SHORT, *QUANTITIES])}",
            hint=f"as in {option} energy",
        )
    return found


def _require_agreement(trials: int, asked: SweepAxes, options: GridOptions) -> None:
    if trials <= MANY_TRIALS or options.dry_run:
        return
    if not asked.agreed(f"run {trials:,} trials?"):
        raise UsageError(
            f"{trials:,} trials are more than {MANY_TRIALS:,}: nothing was run",
            hint="--yes runs them, --dry-run lists them, --sample N draws N points",
        )


def _bases(
    axes: Axes, points: Mapping[str, Point], wanted: Mapping[str, Any] | None
) -> dict[Point, Point | None]:
    if wanted is None:
        first = next(iter(points.values()))
        return dict.fromkeys(points.values(), first)
    bases = {point: partner(point, axes, points, wanted) for point in points.values()}
    if not any(bases.values()):
        raise UsageError(
            "--baseline: none of the points has these values",
            hint="with --zip or --sample not every value meets every other",
        )
    return bases


def sweep(planned: SweepGrid, observe: GridObserver) -> SweepResult:
    """Run what is not finished of a planned sweep, and compare each point with its baseline."""
    axes, asked, bases = planned.axes, planned.asked, planned.bases
    run = run_cells(planned, observe)
    later = _measured_later(planned, run, observe)
    pairs: list[tuple[BySeed, BySeed] | None] = [
        None if base is None or base == point else (run.measured[point], run.measured[base])
        for point, base in bases.items()
    ]
    rows = []
    for point, found in zip(bases, differences(pairs), strict=True):
        extra = {name: columns[point] for name, columns in later.items()}
        means: dict[str, Any] = {name: mean for name, (mean, _) in extra.items()}
        if found is not None:
            found = {**found, **{name: one for name, (_, one) in extra.items()}}
        rows.append(
            SweptPoint(
                title=axes.title(point) or planned.recipe.name,
                values=axes.read(point),
                is_baseline=bases[point] == point,
                summary=replace(summarise(run.measured[point]), **means),
                differences=found,
            )
        )
    baseline = _baseline_in_words(planned)
    result = SweepResult(
        recipe=planned.recipe.name,
        keys=axes.keys,
        zipped=axes.zipped,
        points_of_product=axes.count,
        sample_seed=None if asked.sample is None else asked.sample_seed,
        baseline=baseline,
        seeds_asked=len(planned.seeds),
        epochs=planned.recipe.recipe.train.epochs,
        quantities=planned.quantities,
        quantity=planned.quantity,
        against=planned.against,
        correction=CORRECTION,
        results_folder=str(planned.grid.folder.path),
        rows=tuple(rows),
        best=_best(rows),
        pareto=_pareto(rows, planned.quantity, planned.against),
        conclusions=_conclusions(rows, baseline, planned.quantities),
        notes=machine_notes(list(run.measured.values())),
        trials=run.statuses,
    )
    planned.grid.folder.keep(result)
    return result


Columns = Mapping[Point, tuple[Estimate | None, Any]]


def _measured_later(
    planned: SweepGrid, run: RunCells[Point], observe: GridObserver
) -> Mapping[str, Columns]:
    """The energies, where they are asked for: those of the trained nets."""
    asked = {*planned.quantities, planned.against} & set(ENERGIES)
    if not asked:
        return {}
    trials = finished_trials(planned, run)
    names = [name for seeds in trials.values() for name in seeds.values()]
    found = energies(planned.grid, names, observe)
    return {
        name: compared_numbers(planned.bases, numbers_by_seed(trials, found[name]))
        for name in ENERGIES
    }


def _baseline_in_words(planned: SweepGrid) -> str:
    if planned.asked.baseline is not None:
        return ", ".join(f"{key} = {text}" for key, text in planned.asked.baseline.items())
    return planned.axes.title(planned.cells[0]) or planned.recipe.name


def estimate_of(summary: Summary, name: str) -> Estimate | None:
    """A quantity of QUANTITIES over the seeds of a point; a size is the largest of its trials."""
    value = getattr(summary, name)
    if value is None or isinstance(value, Estimate):
        return value
    return Estimate(mean=float(value), standard_error=None, n=len(summary.seeds))


def _best(rows: Sequence[SweptPoint]) -> BestPoint | None:
    """The best point by validation data, which every finished point has to have, else by test."""
    known = [row for row in rows if row.summary.accuracy_percent_last is not None]
    if not known:
        return None
    validated = all(row.summary.validation_accuracy_percent_last for row in known)
    name = VALIDATION if validated else ACCURACY
    best = max(known, key=lambda row: getattr(row.summary, name).mean)
    accuracy = best.summary.accuracy_percent_last
    assert accuracy is not None
    return BestPoint(
        said="best by validation data" if validated else "best on test",
        title=best.title,
        values=best.values,
        validation_accuracy_percent_last=best.summary.validation_accuracy_percent_last,
        accuracy_percent_last=accuracy,
    )


def _pareto(
    rows: Sequence[SweptPoint], quantity: str, against: str | None
) -> tuple[ParetoPoint, ...]:
    """The points by two quantities, the best in `against` first."""
    if against is None:
        return ()
    signs = [-1 if QUANTITIES[name].higher_is_better else 1 for name in (against, quantity)]
    known = []
    for row in rows:
        one, other = (estimate_of(row.summary, name) for name in (against, quantity))
        if one is not None and other is not None:
            known.append((signs[0] * one.mean, signs[1] * other.mean, row, one, other))
    known.sort(key=lambda entry: entry[:2])
    return tuple(
        ParetoPoint(
            title=row.title,
            values=row.values,
            quantity=other,
            against=one,
            on_front=not any(a <= x and b <= y and (a, b) != (x, y) for a, b, *_ in known),
        )
        for x, y, row, one, other in known
    )


def _conclusions(
    rows: Sequence[SweptPoint], baseline: str, quantities: Sequence[str]
) -> tuple[str, ...]:
    compared: list[tuple[str, Differences]] = [
        (row.title, row.differences) for row in rows if row.differences is not None
    ]
    if not compared:
        if len(rows) == 1:
            return ("One point: there is nothing to compare it with.",)
        return ("Nothing was compared: no seed is finished for a point and its baseline.",)
    chosen = [one for one in quantities if one in ESTIMATES and ESTIMATES[one].compared]
    return conclude(compared, baseline, chosen or CONCLUDED, MOST_NAMED)
