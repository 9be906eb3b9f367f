"""The paper's numbers, and below each row those that were measured here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import clifctl
from clifctl.amounts import counted
from clifctl.commands import command_line
from clifctl.experiments.grid.statistics import estimate
from clifctl.experiments.reproduce.bases import Bases, commands_of, in_the_place_of
from clifctl.experiments.reproduce.cells import Basis, Cell
from clifctl.experiments.reproduce.computed import computes, deployed, deployed_values, recipe_lines
from clifctl.experiments.reproduce.found import FoundRun, FoundRuns, Match
from clifctl.experiments.reproduce.layout import Line, Skeleton, Slot
from clifctl.paper import PaperItem, table
from clifctl.results.paper import LineRun, PaperLine, PaperShown
from clifctl.results.statistics import Estimate

# How many runs a note names.
_MOST_NAMED = 3
BEST_EPOCH, LAST_EPOCH = "best epoch", "last epoch"


def beside(
    item: PaperItem,
    skeleton: Skeleton,
    bases: Bases,
    found: FoundRuns,
    computed: Mapping[str, PaperLine] | None = None,
) -> PaperShown:
    """A table or figure with what the runs of `found` gave, and what was `computed`, by the row."""
    settings = recipe_lines(item, skeleton)
    lines: list[PaperLine] = []
    for line in skeleton.lines:
        printed = {key: slot.printed for key, slot in line.slots.items()}
        cells = {**line.heads, **printed}
        lines.append(PaperLine(row=line.row, whose="paper", cells=cells, notes=dict(line.notes)))
        lines += [known[line.row] for known in (settings, computed or {}) if line.row in known]
        lines += _measured(line, skeleton, bases, found)
    notes = [*item.notes]
    if item.table is not None and not item.name.startswith("table"):
        printed_table = table(item.table)
        notes += filter(None, (printed_table.footnote, printed_table.note))
    return PaperShown(
        name=item.name,
        label=item.label,
        title=item.title,
        place=item.place,
        columns=skeleton.columns,
        lines=tuple(lines),
        notes=(*notes, *_notes_on_runs(item, skeleton, bases, found, computed)),
        commands=commands_of(item, bases),
        runs_folder=str(found.folder),
    )


Value = Callable[[FoundRun, Slot], float | None]
_MEASURES: Mapping[str, Mapping[str, Value]] = {
    "accuracy": {
        BEST_EPOCH: lambda run, slot: run.row.accuracy_percent_best,
        LAST_EPOCH: lambda run, slot: run.row.accuracy_percent_last,
    },
    "loss": {LAST_EPOCH: lambda run, slot: run.row.train_loss_train_mode},
    "rates": {LAST_EPOCH: lambda run, slot: dict(enumerate(run.firing_rates)).get(slot.layer or 0)},
}


def _measured(
    line: Line, skeleton: Skeleton, bases: Bases, found: FoundRuns
) -> Iterator[PaperLine]:
    """The lines of a row that runs give: on the paper's data, then on those that were named."""
    recipes = dict.fromkeys(slot.cell.recipe for slot in line.slots.values() if slot.cell)
    sets = dict.fromkeys(basis.data for recipe in recipes for basis in bases.all_of(recipe))
    for data in sets:
        for of, value in _MEASURES[skeleton.quantity].items():
            one = _line_on(line, data, value, bases, found)
            if one is not None:
                if of == BEST_EPOCH:
                    one = _with_deployed(one, line, data, bases, found)
                yield replace(one, of=of)


def _line_on(
    line: Line, data: str, value: Value, bases: Bases, found: FoundRuns
) -> PaperLine | None:
    """What the runs on one data set gave for a row; None where there is no run."""
    cells: dict[str, Estimate | None] = {}
    runs: dict[str, int] = {}
    instead = False
    for key, slot in line.slots.items():
        values = []
        for basis, run in _runs_of(slot.cell, data, bases, found):
            instead |= basis.substituted
            runs[run.row.run] = run.row.seed
            values.append(value(run, slot))
        known = [one for one in values if one is not None]
        cells[key] = estimate(known) if known else None
    if not runs:
        return None
    return PaperLine(
        row=line.row,
        whose="here",
        on=data if instead else None,
        cells={**line.heads, **cells},
        runs=tuple(LineRun(run=run, seed=seed) for run, seed in runs.items()),
        notes={},
    )


def _runs_of(
    cell: Cell | None, data: str, bases: Bases, found: FoundRuns
) -> Iterator[tuple[Basis, FoundRun]]:
    """The finished runs of a cell on one data set, a seed each."""
    if cell is None:
        return
    for basis in bases.all_of(cell.recipe):
        if basis.data == data:
            yield from ((basis, run) for run in found.of(basis, cell).done.values())


def _with_deployed(
    shown: PaperLine, line: Line, data: str, bases: Bases, found: FoundRuns
) -> PaperLine:
    """A line of Table 8 with what deployments of its runs gave."""
    slot = line.slots.get("pretrained_accuracy_percent")
    if slot is None:
        return shown
    values: dict[str, list[float]] = {}
    for _, run in _runs_of(slot.cell, data, bases, found):
        result = deployed(found.folder, run)
        for key, number in (deployed_values(line, result) if result else {}).items():
            values.setdefault(key, []).append(number)
    means = {key: estimate(numbers) for key, numbers in values.items()}
    return replace(shown, cells={**shown.cells, **means})


def _notes_on_runs(
    item: PaperItem,
    skeleton: Skeleton,
    bases: Bases,
    found: FoundRuns,
    computed: Mapping[str, PaperLine] | None,
) -> Iterator[str]:
    """What to know of the runs: whether there are any, and which are not counted."""
    if computes(item) and not computed:
        command = command_line("paper", "run", item.name)
        yield f"{command} computes these numbers: nothing is trained."
    if not item.grids:
        return
    pairs = [(basis, cell) for cell in skeleton.cells for basis in bases.all_of(cell.recipe)]
    matches = [found.of(basis, cell) for basis, cell in pairs]
    taken: dict[Basis, list[str]] = {}
    for basis, cell in pairs:
        if basis.substituted:
            taken.setdefault(basis, []).append(cell.recipe)
    if taken:
        yield f"Also {in_the_place_of(taken)}"
    if bases.changed and any(match.done for match in matches):
        yield f"Measured with {', '.join(bases.changed)}, and so not the runs of the paper."
    if not found.count:
        yield f"There is no run below '{found.folder}'."
    elif not any(match.done for match in matches):
        yield (
            f"Of the {counted(found.count, 'run')} below '{found.folder}' none is one of these: "
            f"{command_line('paper', 'run', item.name)} makes them."
        )
    else:
        yield (
            "Measured here: mean and standard error over seeds, one seed has none. The best epoch "
            "is chosen on the test set, as the paper does."
        )
    yield from _not_counted(matches)


def _not_counted(matches: Sequence[Match]) -> Iterator[str]:
    """The runs that are not counted, and those that are though an older clifctl made them."""
    rows = {run.row.run: run.row for match in matches for run in match.unfinished}
    yield from _named(
        "not finished, and not counted",
        [f"{run} (epoch {row.epochs_done} of {row.epochs})" for run, row in rows.items()],
    )
    done = {run.row.run: run for match in matches for run in match.done.values()}
    versions = {name: run.numerics_version for name, run in done.items()}
    yield from _named(
        f"of another numerics version than {clifctl.NUMERICS_VERSION}, and counted",
        [
            f"{name} (version {version})"
            for name, version in versions.items()
            if version not in (None, clifctl.NUMERICS_VERSION)
        ],
    )
    others = {run.row.run: why for match in matches for run, why in match.others}
    yield from _named(
        "of another protocol, and not counted",
        [f"{run} ({why})" for run, why in others.items() if run not in done],
    )


def _named(what: str, runs: Sequence[str]) -> Iterator[str]:
    if runs:
        more = f"; and {len(runs) - _MOST_NAMED} more" if len(runs) > _MOST_NAMED else ""
        yield f"{what}: {'; '.join(runs[:_MOST_NAMED])}{more}"
