"""`paper ls`, `paper show` and `paper run`: the paper's tables and figures, beside what is measured
here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from clifctl.commands import command_line
from clifctl.errors import ClifctlError, DataError, RecipeError, UsageError
from clifctl.experiments.build import build_net
from clifctl.experiments.grid.grid import GridOptions, plan_grid, run_grid, statuses
from clifctl.experiments.grid.seeds import seeds_of
from clifctl.experiments.reproduce.bases import Bases, commands_of, in_the_place_of
from clifctl.experiments.reproduce.beside import beside
from clifctl.experiments.reproduce.cells import Basis, Cell, cells_of
from clifctl.experiments.reproduce.computed import computed_lines, computes, deploy_run, deployed
from clifctl.experiments.reproduce.found import FoundRuns
from clifctl.experiments.reproduce.layout import skeleton_of
from clifctl.experiments.reproduce.names import named_item
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.experiments.run.resume import decisive
from clifctl.files import to_json
from clifctl.paper import PaperItem, paper_items
from clifctl.recipe.load import LoadedRecipe
from clifctl.results.events import GridObserver
from clifctl.results.paper import PaperList, PaperPlan, PaperRow, PaperShown, PlannedRuns
from clifctl.results.trials import TrialStatus

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class PaperOptions:
    """Where runs lie (None: in `runs`, which need not be there), the data to take where the paper's
    are not here, and overrides of every recipe."""

    runs: Path | None = None
    data: str | None = None
    overrides: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where runs lie."""
        return DEFAULT_RUNS if self.runs is None else self.runs


@dataclass(frozen=True)
class RunPaperOptions(PaperOptions):
    """How runs are made: so many seeds (None: as many as the paper), on what, and how many at
    once (None: by the size of the net)."""

    seeds: int | None = None
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    workers: int | None = None


def list_paper(runs: Path | None = None) -> PaperList:
    """Every table and figure, each once. Raises UsageError for a folder that is not there."""
    options = PaperOptions(runs)
    found, bases = _found(options), Bases(options.overrides, options.data)
    return PaperList(
        runs_folder=str(options.folder),
        runs=found.count,
        items=tuple(_row(item, found, bases) for item in paper_items()),
    )


def _row(item: PaperItem, found: FoundRuns, bases: Bases) -> PaperRow:
    cells = skeleton_of(item).cells
    own = {bases.own(grid.recipe).data: bases.own(grid.recipe) for grid in item.grids}
    measured = sum(bool(found.of(bases.own(cell.recipe), cell).done) for cell in cells)
    return PaperRow(
        name=item.name,
        label=item.label,
        title=item.title,
        place=item.place,
        data=tuple(own),
        missing_data=tuple(name for name, basis in own.items() if not basis.data_here),
        points=len(cells),
        measured=measured,
        commands=commands_of(item, bases),
    )


def _found(options: PaperOptions) -> FoundRuns:
    if options.runs is not None and not options.runs.is_dir():
        raise UsageError(
            f"--runs {options.runs}: there is no such folder", hint="clifctl train makes runs"
        )
    return FoundRuns(options.folder)


def show_paper(name: str, options: PaperOptions) -> PaperShown:
    """A table or figure with the paper's numbers, and those of the runs that are there. Raises
    UsageError for a name or a folder that is not there, RecipeError for overrides that do not
    hold."""
    item = named_item(name)
    bases, found = Bases(options.overrides, options.data), _found(options)
    return beside(item, skeleton_of(item), bases, found)


@dataclass(frozen=True)
class _Lot:
    """The runs of one recipe, and the recipes of the paper that it is, or stands in the place of:
    how many are finished, and the variants that are missing. `problem`: why its net does not take
    the data that stand in the place of the paper's."""

    basis: Basis
    of_paper: tuple[Basis, ...]
    seeds: tuple[int, ...]
    there: int
    missing: tuple[tuple[LoadedRecipe, str], ...]
    folder: Path
    problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether its runs can be made."""
        return self.basis.data_here and self.problem is None


@dataclass(frozen=True)
class Reproduction:
    """A table or figure that can be made. `notices` are to be said before (for stderr)."""

    item: PaperItem
    options: RunPaperOptions
    lots: tuple[_Lot, ...]
    notices: tuple[str, ...]

    @property
    def ready(self) -> tuple[_Lot, ...]:
        """The lots that can be run."""
        return tuple(lot for lot in self.lots if lot.ready)


def plan_paper(name: str, options: RunPaperOptions) -> Reproduction:
    """What making a table or figure needs, checked without data or nets. Writes nothing.

    Raises UsageError for what is not known, RecipeError for overrides or data that do not hold.
    """
    item = named_item(name)
    bases = Bases(options.overrides, options.data)
    found = FoundRuns(options.folder)
    lots = tuple(_lots(item, options, bases, found))
    return Reproduction(item, options, lots, tuple(_notices(lots)))


def _notices(lots: Sequence[_Lot]) -> Iterator[str]:
    """On which data it is made, and what cannot be."""
    for lot in lots:
        if lot.problem is not None:
            yield f"{lot.basis.recipe} cannot be run on {lot.basis.data}: {lot.problem}"
    taken = {lot.basis: [one.recipe for one in lot.of_paper] for lot in lots if not lot.problem}
    for data, bases in _by_data(basis for basis in taken if not basis.substituted).items():
        recipes = ", ".join(basis.recipe for basis in bases)
        if bases[0].data_here:
            yield f"on {data}, the paper's data: {recipes}"
        else:
            check = command_line("data", "check", data)
            yield f"{data} is not here: {recipes} cannot be run ({check} says how to get it)"
    if instead := {basis: recipes for basis, recipes in taken.items() if basis.substituted}:
        yield in_the_place_of(instead)


def _by_data(bases: Iterable[Basis]) -> dict[str, list[Basis]]:
    found: dict[str, list[Basis]] = {}
    for basis in bases:
        found.setdefault(basis.data, []).append(basis)
    return found


def _lots(
    item: PaperItem, options: RunPaperOptions, bases: Bases, found: FoundRuns
) -> Iterator[_Lot]:
    cells: dict[Basis, dict[Cell, None]] = {}
    papers: dict[Basis, dict[Basis, None]] = {}
    by_name: dict[str, Basis] = {}
    for grid in item.grids:
        own = bases.own(grid.recipe)
        basis = own if own.data_here else bases.other(grid.recipe) or own
        # Two recipes of the paper may have one in their place: its runs are made once.
        basis = by_name.setdefault(basis.name, basis)
        papers.setdefault(basis, {})[own] = None
        cells.setdefault(basis, {}).update(
            dict.fromkeys(replace(cell, recipe=basis.name) for cell in cells_of(grid))
        )
    seen: set[str] = set()
    for basis, of_basis in cells.items():
        recipe = basis.loaded.recipe
        count = item.seeds if options.seeds is None else options.seeds
        seeds = seeds_of(recipe.train.seed, count)
        there, missing = 0, []
        for seed in seeds:
            for cell in of_basis:
                variant = basis.variant(cell, seed)
                # Two recipes of the paper may come to the same run on other data.
                decides = to_json(decisive(variant.recipe.document))
                if decides in seen:
                    continue
                seen.add(decides)
                if seed in found.of(basis, cell).done:
                    there += 1
                else:
                    missing.append((variant, f"{cell.title}, seed {seed}"))
        yield _Lot(
            basis=basis,
            of_paper=tuple(papers[basis]),
            seeds=seeds,
            there=there,
            missing=tuple(missing),
            folder=options.folder / f"paper-{basis.name}",
            problem=_problem(basis) if basis.substituted else None,
        )


def _problem(basis: Basis) -> str | None:
    """Why the net of a recipe does not take its data; None where it does."""
    try:
        with torch.device("meta"):
            build_net(basis.loaded.recipe)
    except ClifctlError as refused:
        return refused.message
    return None


def paper_plan(planned: Reproduction) -> PaperPlan:
    """What a dry run says. Nothing is timed, loaded or built."""
    item = planned.item
    return PaperPlan(
        name=item.name,
        label=item.label,
        title=item.title,
        lots=tuple(
            PlannedRuns(
                recipe=lot.basis.recipe,
                data=lot.basis.data,
                instead_of=_data_of(lot.of_paper) if lot.basis.substituted else None,
                data_here=lot.basis.data_here,
                problem=lot.problem,
                runs=lot.there + len(lot.missing),
                there=lot.there,
                missing=len(lot.missing),
                epochs=lot.basis.loaded.recipe.train.epochs,
                seeds=lot.seeds,
                results_folder=str(lot.folder),
                titles=tuple(title for _, title in lot.missing),
            )
            for lot in planned.lots
        ),
        computed=tuple(f"clifctl {command}" for command in item.commands),
        notes=item.notes,
    )


def _data_of(bases: Sequence[Basis]) -> str:
    return ", ".join(dict.fromkeys(basis.data for basis in bases))


def run_paper(
    planned: Reproduction,
    watch: Callable[[], AbstractContextManager[GridObserver]],
    say: Callable[[str], None],
) -> tuple[PaperShown, Sequence[tuple[str, Sequence[TrialStatus]]]]:
    """Make what is missing of a planned table or figure and whose data are here. Returns it as
    `show_paper` does, and how the trials stand in each of their folders.

    Raises DataError where none of its data are here, RecipeError where none of its nets takes those
    that were named.
    """
    item, options = planned.item, planned.options
    if planned.lots and not planned.ready:
        names = _data_of([lot.basis for lot in planned.lots if lot.problem is None])
        if not names:
            raise RecipeError(
                f"none of {item.label}'s nets can be run on {planned.lots[0].basis.data}: "
                f"{planned.lots[0].problem}",
                hint="choose other --data",
            )
        raise DataError(
            f"{item.label} needs {names}, which {'are' if ',' in names else 'is'} not here",
            hint=f"{command_line('data', 'check', planned.lots[0].basis.data)} says how to get it; "
            "--data fashion_mnist, or --data digits, trains on others",
        )
    ended = [_run_lot(lot, options, watch) for lot in planned.ready if lot.missing]
    bases, found = Bases(options.overrides, options.data), FoundRuns(options.folder)
    skeleton = skeleton_of(item)
    if item.table == 8:
        for cell in skeleton.cells:
            for basis in bases.all_of(cell.recipe):
                for run in found.of(basis, cell).done.values():
                    if basis.data_here and deployed(found.folder, run) is None:
                        deploy_run(found.folder, run, options.execution, say)
    computed = computed_lines(item, skeleton) if computes(item) else None
    shown = beside(item, skeleton, bases, found, computed)
    trials = tuple(one for _, statuses_ in ended for one in statuses_)
    return replace(shown, trials=trials), ended


def _run_lot(
    lot: _Lot, options: RunPaperOptions, watch: Callable[[], AbstractContextManager[GridObserver]]
) -> tuple[str, Sequence[TrialStatus]]:
    how = GridOptions(out=lot.folder, execution=options.execution, workers=options.workers)
    grid = plan_grid(lot.missing, how)
    with watch() as observe:
        records = run_grid(grid, observe)
    return str(lot.folder), statuses(grid, records)
