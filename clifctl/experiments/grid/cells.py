"""The cells of a grid: what a command varies, each trained with the same seeds and summed up over
them."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from clifctl.experiments.grid.grid import Grid, GridOptions, plan_grid, run_grid, statuses
from clifctl.experiments.grid.statistics import estimate, paired_difference, with_holm
from clifctl.experiments.grid.summary import BySeed, by_seed
from clifctl.recipe.load import LoadedRecipe
from clifctl.results.events import GridObserver
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.trials import TrialRecord, TrialStatus

Cell = TypeVar("Cell", bound=Hashable)
# Seed -> a number that its trial gave.
NumberBySeed = Mapping[int, float]


@dataclass(frozen=True)
class CellGrid(Generic[Cell]):
    """A grid that can start: its cells, the trial of each with each seed, the recipe that they are
    variants of, and what is to be said before (for stderr)."""

    grid: Grid
    recipe: LoadedRecipe
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    trials: Mapping[tuple[Cell, int], str]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class RunCells(Generic[Cell]):
    """What the trials of a grid gave, cell by cell."""

    records: Mapping[str, TrialRecord | None]
    measured: Mapping[Cell, BySeed]
    statuses: tuple[TrialStatus, ...]


def plan_cells(
    base: LoadedRecipe,
    cells: Sequence[Cell],
    seeds: tuple[int, ...],
    variant: Callable[[Cell, int], tuple[LoadedRecipe, str]],
    options: GridOptions,
    axes: Sequence[str] = (),
) -> CellGrid[Cell]:
    """The grid of `cells` times `seeds`, seed by seed; `variant` gives the recipe and the title of
    a trial. `axes` as for `plan_grid`. Writes nothing. Raises ClifctlError as `plan_grid`."""
    places = [(cell, seed) for seed in seeds for cell in cells]
    variants = [variant(cell, seed) for cell, seed in places]
    grid = plan_grid(variants, options, axes)
    said = dict.fromkeys(line for loaded, _ in variants for line in loaded.notices)
    trials = dict(zip(places, grid.cells, strict=True))
    return CellGrid(grid, base, tuple(cells), seeds, trials, tuple(said))


def run_cells(planned: CellGrid[Cell], observe: GridObserver) -> RunCells[Cell]:
    """Run what is not finished. Raises as `run_grid`."""
    grid, trials = planned.grid, planned.trials
    records = dict(zip((trial.name for trial in grid.trials), run_grid(grid, observe), strict=True))
    measured = {
        cell: by_seed([records[trials[cell, seed]] for seed in planned.seeds])
        for cell in planned.cells
    }
    return RunCells(records, measured, statuses(grid, list(records.values())))


def finished_trials(
    planned: CellGrid[Cell], run: RunCells[Cell]
) -> Mapping[Cell, Mapping[int, str]]:
    """The finished trial of each cell with each seed."""
    return {
        cell: {seed: planned.trials[cell, seed] for seed in planned.seeds if seed in measured}
        for cell, measured in run.measured.items()
    }


def numbers_by_seed(
    trials: Mapping[Cell, Mapping[int, str]], found: Mapping[str, float]
) -> Mapping[Cell, NumberBySeed]:
    """`found`, a number by trial, cell by cell; a trial without one is not there."""
    return {
        cell: {seed: found[name] for seed, name in names.items() if name in found}
        for cell, names in trials.items()
    }


def compared_numbers(
    bases: Mapping[Cell, Cell | None], numbers: Mapping[Cell, NumberBySeed]
) -> dict[Cell, tuple[Estimate | None, Difference | None]]:
    """For each cell the mean of its numbers over seeds, and the paired difference to the cell that
    it is compared with (None, or itself: there is no difference). All of them are one family."""
    found = []
    for cell, base in bases.items():
        theirs = {} if base is None or base == cell else numbers[base]
        both = [seed for seed in numbers[cell] if seed in theirs]
        pair = [numbers[cell][seed] for seed in both], [theirs[seed] for seed in both]
        found.append(paired_difference(*pair) if both else None)
    means = [estimate(list(numbers[cell].values())) if numbers[cell] else None for cell in bases]
    return dict(zip(bases, zip(means, with_holm(found), strict=True), strict=True))
