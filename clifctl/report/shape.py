"""A report with other columns, digits and labels than it has by itself."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import clifctl
from clifctl.errors import UsageError, nearest
from clifctl.provenance import git_commit
from clifctl.report.render import FORMATS, Column, Measured, Report, Table

# The keys of documents whose values say which runs a result is of.
_OF_RUNS = {"checkpoint", "run", "run_folder", "results_folder", "folder"}
_MOST_RUNS = 100


def unknown_columns(report: Report, columns: Sequence[str], how: str) -> list[str]:
    """Those of `columns` that no table of the format has."""
    tables = report.tables_of(how)
    return [one for one in columns if not any(_named(table, one) for table in tables)]


def only_columns(report: Report, columns: Sequence[str], how: str) -> Report:
    """The report with these columns alone, in this order, of the tables that have any of them. A
    column is named by its key, or by its heading, with its unit or without. Raises UsageError for
    one that no table of the format has."""
    tables = report.tables_of(how)
    for name in unknown_columns(report, columns, how):
        keys = dict.fromkeys(c.key for table in tables for c in table.columns)
        headings = {_without_unit(c.label): c.key for table in tables for c in table.columns}
        near = nearest(name, keys) or headings.get(nearest(name, headings) or "")
        meant = "" if near is None else f"; did you mean {near}?"
        raise UsageError(
            f"--columns {name}: there is no such column{meant}",
            hint=f"there are: {', '.join(keys)}",
        )
    some = [chosen for table in tables if (chosen := _chosen(table, columns)).columns]
    if FORMATS[how].of_one_table:
        return replace(report, data=tuple(some))
    return replace(report, tables=tuple(some), text=None, text_only=False, panels=())


def _without_unit(heading: str) -> str:
    return re.sub(r" \[[^]]*\]$", "", heading)


def _chosen(table: Table, columns: Sequence[str]) -> Table:
    found = list(dict.fromkeys(c for name in columns for c in _named(table, name)))
    rows = tuple({column.key: row[column.key] for column in found} for row in table.rows)
    kept = {column.key for column in found}
    keys = sum(column.key in kept for column in table.columns[: table.keys])
    return replace(table, columns=tuple(found), rows=rows, keys=max(1, keys))


def _named(table: Table, name: str) -> list[Column]:
    exact = [c for c in table.columns if name in (c.key, c.label)]
    return exact or [c for c in table.columns if _without_unit(name) == _without_unit(c.label)]


def with_digits(report: Report, digits: int) -> Report:
    """The report with so many digits behind the point, wherever a column has measured numbers."""
    return replace(report, tables=tuple(_rounded(table, digits) for table in report.tables))


def _rounded(table: Table, digits: int) -> Table:
    rows = tuple(
        {
            key: replace(value, digits=digits) if isinstance(value, Measured) else value
            for key, value in row.items()
        }
        for row in table.rows
    )
    columns = (
        replace(column, digits=digits) if _has_fractions(table, column) else column
        for column in table.columns
    )
    return replace(table, columns=tuple(columns), rows=rows)


def _has_fractions(table: Table, column: Column) -> bool:
    return column.digits != 0 and any(isinstance(row[column.key], float) for row in table.rows)


def transposed(report: Report) -> Report:
    """The report with quantities down and rows across, wherever a table has both."""
    tables = (replace(table, transposed=bool(table.columns)) for table in report.tables)
    return replace(report, tables=tuple(tables))


def with_best(report: Report) -> Report:
    """The report with the best value of each column in bold."""
    return replace(report, tables=tuple(replace(t, bold_best=True) for t in report.tables))


def labelled(report: Report, caption: str | None, label: str | None) -> Report:
    """The report whose first table has this caption and label."""
    if not report.tables:
        return report
    first = replace(report.tables[0], caption=caption, label=label)
    return replace(report, tables=(first, *report.tables[1:]))


def with_origin(report: Report) -> Report:
    """The report with a comment: which clifctl wrote it, and of which runs it is."""
    commit = git_commit() or "that of the installed package"
    runs = list(dict.fromkeys(_runs(report.document)))
    comment = [
        f"written by clifctl {clifctl.__version__}, commit {commit}, "
        f"numerics version {clifctl.NUMERICS_VERSION}",
        *(f"of {run}" for run in runs[:_MOST_RUNS]),
    ]
    if len(runs) > _MOST_RUNS:
        comment.append(f"and of {len(runs) - _MOST_RUNS} more")
    return replace(report, comment=tuple(comment))


def _runs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in _OF_RUNS and isinstance(one, str):
                yield one
            else:
                yield from _runs(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _runs(one)
