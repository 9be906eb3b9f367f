"""The `paper` commands -> report: the paper's rows, and below each what was measured here."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from clifctl.amounts import counted
from clifctl.report.render import (
    Column,
    Measured,
    Report,
    Table,
    columns_of,
    document_of,
    list_table,
)
from clifctl.results.paper import (
    PaperColumn,
    PaperLine,
    PaperList,
    PaperPlan,
    PaperRow,
    PaperShown,
    PlannedRuns,
)
from clifctl.results.statistics import Estimate

# Where nothing says how many digits a number has.
_DIGITS = 4


def paper_report(result: PaperList) -> Report:
    """Every table and figure."""
    columns = (
        Column("name", "name"),
        *columns_of(PaperRow, "title"),
        Column("data", "data"),
        Column("here", "data here"),
        Column("measured", "measured"),
        Column("command", "made by"),
    )
    rows = tuple(
        {
            "name": row.name,
            "title": row.title,
            "data": ", ".join(row.data) or None,
            "here": _here(row),
            "measured": f"{row.measured} of {row.points}" if row.points else None,
            "command": _made_by(row),
        }
        for row in result.items
    )
    notes = (
        f"measured: how many of its runs are among the {counted(result.runs, 'run')} below "
        f"'{result.runs_folder}'"
        if result.runs
        else f"there is no run below '{result.runs_folder}'",
        "clifctl paper show NAME prints one, and every command that makes it; clifctl paper run "
        "NAME makes what is missing.",
    )
    table = Table(
        "tables and figures of the paper",
        columns,
        rows,
        notes=notes,
        optional=("command", "data", "measured", "here", "title"),
    )
    flat = list_table(
        "paper",
        PaperRow,
        result.items,
        *("name", "label", "title", "place", "data", "missing_data"),
        *("points", "measured", "commands"),
    )
    return Report(document_of(result), (table,), data=(flat,))


def _here(row: PaperRow) -> str | None:
    if not row.data:
        return "none needed"
    if not row.missing_data:
        return "yes"
    there = len(row.data) - len(row.missing_data)
    return f"{there} of {len(row.data)}" if there else "no"


def _made_by(row: PaperRow) -> str:
    first, *more = row.commands
    return f"{first} (and {len(more)} more)" if more else first


def shown_report(result: PaperShown) -> Report:
    """A table, or the numbers of a figure: the paper's rows, and below each what was measured."""
    said = _numbered(result.lines)
    seeds = any(line.seeds for line in result.lines)
    columns = (
        Column("whose", "whose"),
        *(_column(column, result.lines) for column in result.columns),
        *([Column("seeds", "seeds")] if seeds else []),
    )
    rows = tuple(_row(line, result.columns, said) for line in result.lines)
    marks = tuple(f"[{number}] {note}" for note, number in said.items())
    made = tuple(f"made by: {command}" for command in result.commands)
    table = Table(
        f"{result.label}: {result.title} ({result.place})",
        columns,
        rows,
        notes=(*marks, *result.notes, *made),
        keys=2,
        optional=("venue", "citation", "model"),
        published=tuple(at for at, line in enumerate(result.lines) if line.whose == "paper"),
    )
    return Report(document_of(result), (table,), data=(_flat(result),))


def _numbered(lines: Sequence[PaperLine]) -> dict[str, int]:
    """The doubts, each once, and their numbers."""
    notes = dict.fromkeys(note for line in lines for note in line.notes.values())
    return {note: number for number, note in enumerate(notes, 1)}


def _column(column: PaperColumn, lines: Sequence[PaperLine]) -> Column:
    """With digits, which move it to the right, where it holds numbers alone."""
    digits = column.digits
    if digits is None and column.measured:
        digits = 0 if all(isinstance(line.cells.get(column.key), int) for line in lines) else None
    accuracy = column.measured and "[%]" in column.heading
    return Column(column.key, column.heading, digits, "highest" if accuracy else None)


def _row(line: PaperLine, columns: Sequence[PaperColumn], said: dict[str, int]) -> dict[str, Any]:
    cells = {}
    for column in columns:
        value = _shown(line.cells.get(column.key), column)
        note = line.notes.get(column.key)
        if note is not None:
            value = f"{_text(value, column)} [{said[note]}]"
        cells[column.key] = value
    return {"whose": _whose(line), **cells, "seeds": _seeds(line.seeds)}


def _shown(value: Any, column: PaperColumn) -> Any:
    if isinstance(value, Estimate):
        digits = _DIGITS if column.digits is None else column.digits
        return Measured(value.mean, value.standard_error, digits)
    return value


def _text(value: Any, column: PaperColumn) -> str:
    if value is None:
        return "-"
    is_number = isinstance(value, float) and column.digits is not None
    return f"{value:.{column.digits}f}" if is_number else str(value)


def _whose(line: PaperLine) -> str:
    if line.whose == "paper":
        return "paper"
    what = ", ".join(filter(None, (line.of, line.on and f"on {line.on}")))
    return f"here: {what}"


def _seeds(seeds: Sequence[int]) -> str | None:
    if not seeds:
        return None
    first, last = seeds[0], seeds[-1]
    if len(seeds) > 2 and last - first == len(seeds) - 1:
        return f"{first} to {last}"
    return ", ".join(map(str, seeds))


def _flat(result: PaperShown) -> Table:
    """The lines for csv and jsonl: every digit, and a column for each standard error."""
    errors = {
        column.key
        for column in result.columns
        for line in result.lines
        if isinstance(line.cells.get(column.key), Estimate)
    }
    keys: list[str] = []
    for column in result.columns:
        keys += [column.key, *([f"{column.key}_standard_error"] if column.key in errors else [])]
    columns = ("whose", "of", "on", *keys, "seeds", "notes")
    rows = []
    for line in result.lines:
        cells: dict[str, Any] = {"whose": line.whose, "of": line.of, "on": line.on}
        for key in keys:
            name = key.removesuffix("_standard_error")
            value = line.cells.get(name)
            if isinstance(value, Estimate):
                value = value.mean if key == name else value.standard_error
            elif key != name:
                value = None
            cells[key] = value
        notes = "; ".join(f"{key}: {note}" for key, note in line.notes.items())
        rows.append({**cells, "seeds": list(line.seeds), "notes": notes or None})
    return Table(result.name, tuple(Column(key, key) for key in columns), tuple(rows))


def plan_report(plan: PaperPlan) -> Report:
    """What `paper run --dry-run` says."""
    columns = columns_of(
        PlannedRuns,
        *("recipe", "data", "instead_of", "data_here"),
        *(["problem"] if any(lot.problem for lot in plan.lots) else []),
        *("epochs", "runs", "there", "missing", "results_folder"),
    )
    rows = tuple(map(dataclasses.asdict, plan.lots))
    lines = [f"computed without training: {command}" for command in plan.computed]
    missing = sum(lot.missing for lot in plan.lots if lot.data_here and not lot.problem)
    left = sum(lot.missing for lot in plan.lots) - missing
    if plan.lots:
        lines.insert(0, f"{counted(missing, 'run')} would be made, nothing was run")
    if left:
        lines.append(f"{counted(left, 'run')} cannot be made: no data, or a net that takes others")
    table = Table(
        f"{plan.label}: {plan.title}",
        columns if rows else (),
        rows,
        notes=(*lines, *plan.notes),
        optional=("instead_of", "results_folder"),
    )
    flat = list_table("plan", PlannedRuns, plan.lots, *(column.key for column in columns))
    return Report(document_of(plan), (table,), data=(flat,) if rows else ())
