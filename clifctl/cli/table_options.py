"""Which table of a result is written, and into what kind of file."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from clifctl.cli.shape_options import Shape
from clifctl.errors import UsageError
from clifctl.report.render import ENDINGS, Report
from clifctl.report.shape import (
    labelled,
    only_columns,
    transposed,
    with_best,
    with_digits,
    with_origin,
)

TABLE = "table"  # the name of the parameter


def table_parameters(tables: tuple[str, ...]) -> list[inspect.Parameter]:
    """The option --table of a command whose result has these tables; none for a single one."""
    if not tables:
        return []
    option: Any = typer.Option(
        "--table",
        metavar="NAME",
        help=f"Only this table of the result: {', '.join(tables)}.",
        rich_help_panel="Result",
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    annotation = Annotated[str | None, option]
    return [inspect.Parameter(TABLE, kind, default=None, annotation=annotation)]


def require_table(table: str | None, tables: tuple[str, ...], how: str) -> None:
    """Raise UsageError for a table that a command never has, and for one of a JSON document."""
    if table is None:
        return
    if table not in tables:
        raise UsageError(
            f"--table {table}: there is no such table", hint=f"there are: {', '.join(tables)}"
        )
    if how == "json":
        raise UsageError(
            "--table and JSON contradict each other: JSON has every table",
            hint="leave --table out, or: --format jsonl",
        )


def require_agreement(
    path: Path | None, asked: str | None, how: str, text_endings: tuple[str, ...]
) -> None:
    """Raise UsageError for a file whose ending is no format's, unless one was `asked` for, and
    where the ending is that of another one than `how`."""
    ending = "" if path is None else path.suffix.lower()
    meant = ENDINGS.get(ending)
    if meant not in (None, how):
        raise UsageError(
            f"-o {path} and the format {how} contradict each other: {ending} is {meant}",
            hint=f"leave the format out, or: -o {path.with_suffix(_ending(how))}",  # type: ignore[union-attr]
        )
    if ending in text_endings:
        return
    if ending and meant is None and asked is None and how != "json":
        known = ", ".join((*text_endings, *(f"{one} ({name})" for one, name in ENDINGS.items())))
        raise UsageError(
            f"-o {path}: no format has the ending {ending}", hint=f"there are: {known}"
        )


def _ending(how: str) -> str:
    return next(ending for ending, name in ENDINGS.items() if name == how)


def only_table(report: Report, table: str, how: str) -> Report:
    """The report of one table alone. Raises UsageError where this result lacks it."""
    chosen = report.only(table, how)
    if chosen is None:
        names = ", ".join(dict.fromkeys(one.name for one in report.tables_of(how)))
        raise UsageError(f"--table {table}: this result has none", hint=f"it has: {names}")
    return chosen


def shaped(report: Report, shape: Shape, how: str) -> Report:
    """The report as it was asked for. Raises UsageError where it lacks a column."""
    if shape.columns:
        report = only_columns(report, shape.columns, how)
    if shape.digits is not None:
        report = with_digits(report, shape.digits)
    if shape.transpose:
        report = transposed(report)
    if shape.bold_best:
        report = with_best(report)
    if shape.caption is not None or shape.label is not None:
        report = labelled(report, shape.caption, shape.label)
    return with_origin(report) if how in ("latex", "html") else report


def what_is_left_out(report: Report, how: str) -> str | None:
    """What to say where a format holds one table of several."""
    others = report.left_out(how)
    if not others:
        return None
    held, names = report.tables_of(how)[0].name, ", ".join(dict.fromkeys(others))
    return f"{how} holds the table '{held}' alone, not {names}: --table NAME or --json"
