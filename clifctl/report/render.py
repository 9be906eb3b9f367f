"""One result in each of the formats. A report is a JSON document and tables; `jsonl` and `csv` give
the rows of one of them, `latex` and `html` are for papers and pages."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import IO, Any, Literal, TypeVar
from xml.etree.ElementTree import Element

from clifctl.amounts import signed
from clifctl.commands import visible
from clifctl.files import plain, to_json
from clifctl.report.html import html_page, html_table, html_text, table_elements
from clifctl.report.latex import (
    latex_comment,
    latex_table,
    latex_text,
    too_wide,
    width_inches,
)
from clifctl.report.layout import Fitted, Grid, drawn, fit
from clifctl.report.text_panels import TextPanel, print_panels
from clifctl.results.quantities import quantities_of
from clifctl.results.result import Result

Written = TypeVar("Written")


@dataclass(frozen=True)
class Column:
    """`key` names the value in jsonl and csv (with its unit), `label` heads it for a reader. `best`
    says which of its values is, where one is better than another."""

    key: str
    label: str
    digits: int | None = None
    best: Literal["highest", "lowest"] | None = None


@dataclass(frozen=True)
class Measured:
    """A mean with its standard error, for a reader; `signed`: a difference."""

    mean: float
    error: float | None
    digits: int
    signed: bool = False

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        if self.signed:
            mean = signed(self.mean, self.digits)
        return mean + ("" if self.error is None else f" ± {self.error:.{self.digits}f}")


@dataclass(frozen=True)
class Table:
    """Rows are mappings from column key to value. `vertical` shows each row as label and value.
    Without columns there are the notes alone. `name` chooses it at the prompt (--table).

    Where a terminal is too narrow: the first `keys` columns say what a row is about, and a list
    leaves out its `optional` columns, in this order.

    For papers and pages: the rows that are the `published` ones are marked, the best values are
    bold where `bold_best` is set, and `caption` and `label` are those of a float. `transposed`:
    quantities down, rows across."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    vertical: bool = False
    notes: tuple[str, ...] = ()
    keys: int = 1
    optional: tuple[str, ...] = ()
    name: str = "result"
    published: tuple[int, ...] = ()
    bold_best: bool = False
    caption: str | None = None
    label: str | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Report:
    """What one command has to say. For a reader, `text` (YAML) follows the tables, or replaces them
    where `text_only` is set; the other formats have no use for it. `data` are the tables of jsonl
    and csv, where they are not those for a reader. `comment` says in a paper or page where they are
    from. `panels` are curves that follow the tables in a terminal."""

    document: dict[str, Any]
    tables: tuple[Table, ...]
    text: str | None = None
    text_only: bool = False
    data: tuple[Table, ...] = ()
    comment: tuple[str, ...] = ()
    panels: tuple[TextPanel, ...] = ()

    def tables_of(self, how: str) -> tuple[Table, ...]:
        """The tables of a format: csv and jsonl hold the first of theirs."""
        if FORMATS[how].of_one_table:
            return tuple(table for table in self.data or self.tables if table.columns)
        return self.tables

    def only(self, name: str, how: str) -> "Report | None":
        """The report of the table `name` alone, for a format; None if it has none of that name.
        For a reader several may have one name."""
        chosen = tuple(table for table in self.tables_of(how) if table.name == name)
        return replace(self, tables=chosen, text=None, data=(), panels=()) if chosen else None

    def left_out(self, how: str) -> tuple[str, ...]:
        """The names of the tables that a format does not hold."""
        if not FORMATS[how].of_one_table:
            return ()
        return tuple(table.name for table in self.tables_of(how)[1:])


def columns_of(kind: type, *columns: str | Column, short: bool = False) -> tuple[Column, ...]:
    """The columns of fields of a result dataclass, as they are declared there; those that are no
    fields are given as they are. `short`: with their short labels, for a wide table."""
    quantities = quantities_of(kind)
    found = []
    for column in columns:
        if isinstance(column, str):
            one = quantities[column]
            best: Any = "highest" if one.higher_is_better else None
            column = Column(column, (short and one.short) or one.heading, one.digits, best)
        found.append(column)
    return tuple(found)


def list_table(
    title: str,
    kind: type,
    rows: Iterable[Any],
    *columns: str | Column,
    short: bool = False,
    notes: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    name: str = "result",
) -> Table:
    """Results of one kind as a table, a row each."""
    shown = columns_of(kind, *columns, short=short)
    found = tuple(map(dataclasses.asdict, rows))
    return Table(title, shown, found, notes=notes, optional=optional, name=name)


def record_table(
    title: str, result: Any, *columns: str | Column, notes: tuple[str, ...] = ()
) -> Table:
    """One result as a table of labels and values."""
    shown = columns_of(type(result), *columns)
    row = {column.key: getattr(result, column.key) for column in shown}
    return Table(title, shown, (row,), vertical=True, notes=notes)


def flat_table(name: str, rows: Iterable[dict[str, Any]]) -> Table:
    """A table for csv and jsonl: a column for each key of the rows, which all have the same."""
    found = tuple(rows)
    return Table(name, tuple(Column(key, key) for key in found[0]), found, name=name)


def data_tables(*tables: tuple[str, Iterable[dict[str, Any]]]) -> tuple[Table, ...]:
    """The tables of csv and jsonl that have rows."""
    known = ((name, tuple(rows)) for name, rows in tables)
    return tuple(flat_table(name, rows) for name, rows in known if rows)


def document_of(result: Result) -> dict[str, Any]:
    """The JSON document of a result."""
    return result.to_dict()


def render(report: Report, how: str, stream: IO[str]) -> None:
    """Write `report` to `stream` in one of FORMATS."""
    FORMATS[how].write(report, stream)


def _write_table(report: Report, stream: IO[str]) -> None:
    if not report.text_only:
        _print_tables(report.tables, stream)
        print_panels(report.panels, stream)
    stream.write(_text(report))


def _write_json(report: Report, stream: IO[str]) -> None:
    stream.write(to_json(report.document, indent=2) + "\n")


def _write_jsonl(report: Report, stream: IO[str]) -> None:
    stream.writelines(to_json(row) + "\n" for row in report.tables_of("jsonl")[0].rows)


def _write_csv(report: Report, stream: IO[str]) -> None:
    stream.write(_csv(report.tables_of("csv")[0]))


def _write_latex(report: Report, stream: IO[str]) -> None:
    parts = [] if report.text_only else [_exported(table, latex_table) for table in report.tables]
    parts += [] if report.text is None else [latex_text(report.text)]
    stream.write(latex_comment(report.comment) + "\n".join(parts))


def too_wide_tables(report: Report) -> Iterator[str]:
    """What to do about each table that is wider than a page."""
    for table in report.tables:
        inches = width_inches(_grid(table)) if table.columns else None
        if inches is not None:
            yield f"the table '{table.title}' is {too_wide(inches)}"


def _write_html(report: Report, stream: IO[str]) -> None:
    parts = [] if report.text_only else [html_of(report)]
    parts += [] if report.text is None else [html_text(report.text)]
    title = report.tables[0].title if report.tables else "clifctl"
    stream.write(html_page(title, parts, report.comment))


def html_of(report: Report) -> str:
    """The tables of a report as HTML, one below the other. Every text is escaped."""
    return "\n".join(_exported(table, html_table) for table in report.tables)


def elements_of(table: Table) -> list[Element]:
    """One table as elements of a page."""
    return _exported(table, table_elements)


def _write_markdown(report: Report, stream: IO[str]) -> None:
    parts = [] if report.text_only else [_markdown(table) for table in report.tables]
    parts += [] if report.text is None else [f"```yaml\n{_text(report)}```\n"]
    stream.write("\n".join(parts))


@dataclass(frozen=True)
class Format:
    """A format of a result: the ending of files that are written in it, what writes it, and whether
    it holds the rows of one table alone."""

    ending: str
    write: Callable[[Report, IO[str]], None]
    of_one_table: bool = False


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "table": Format(".txt", _write_table),
        "json": Format(".json", _write_json),
        "jsonl": Format(".jsonl", _write_jsonl, of_one_table=True),
        "csv": Format(".csv", _write_csv, of_one_table=True),
        "md": Format(".md", _write_markdown),
        "latex": Format(".tex", _write_latex),
        "html": Format(".html", _write_html),
    }
)
# The format of a file by its ending.
ENDINGS = {one.ending: name for name, one in FORMATS.items()}


def _text(report: Report) -> str:
    return visible(report.text or "", keep="\n\t")


def _shown(value: Any, column: Column) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        between = "x" if all(isinstance(item, int) for item in value) else " "
        return between.join(_shown(item, column) for item in value)
    if isinstance(value, float) and column.digits is None and value and abs(value) < 1e-3:
        return f"{value:.1e}"
    if isinstance(value, int | float) and column.digits == 0:
        return f"{value:,.0f}"
    if isinstance(value, float) and column.digits is not None:
        return f"{value:.{column.digits}f}"
    return visible(str(value))


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    for row in table.rows:
        cells = (plain(row[column.key]) for column in table.columns)
        writer.writerow(
            [to_json(cell) if isinstance(cell, list | bool) else cell for cell in cells]
        )
    return buffer.getvalue()


def _markdown(table: Table) -> str:
    grid = _grid(table)
    lines = [f"**{visible(table.title)}**", ""]
    if table.columns:
        lines += [f"| {' | '.join(grid.header)} |", "|" + "---|" * len(grid.header)]
    for at, row in enumerate(grid.rows):
        cells = [cell.replace("|", "\\|") for cell in row]
        cells = [f"**{one}**" if (at, n) in grid.bold else one for n, one in enumerate(cells)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\n{visible(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _print_tables(tables: tuple[Table, ...], stream: IO[str]) -> None:
    if stream.isatty():
        _print_rich(tables, stream, width=None)
        return
    # A pipe has no width: a table there takes the width that it needs, whatever COLUMNS says.
    buffer = io.StringIO()
    _print_rich(tables, buffer, width=10_000)
    stream.writelines(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def _print_rich(tables: tuple[Table, ...], stream: IO[str], *, width: int | None) -> None:
    from rich.console import Console

    console = Console(file=stream, width=width, highlight=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(drawn_table(table, console.width))


def drawn_table(table: Table, width: int, *, tells_left_out: bool = True) -> Any:
    """A table as rich prints it: its title, its rows as they fit, its notes, and which columns were
    left out for that."""
    from rich.console import Group
    from rich.text import Text

    fitted = fit(_grid(table), width) if table.columns else Fitted(())
    notes = (*table.notes, *(_left_out(fitted) if tells_left_out else ()))
    return Group(
        Text(visible(table.title), style="bold"),
        *(drawn(*part) for part in fitted.parts),
        *(Text(visible(note), style="dim") for note in notes),
    )


def _grid(table: Table) -> Grid:
    """A table as a reader sees it."""
    if table.vertical:
        pairs = [(c.label, _shown(row[c.key], c)) for row in table.rows for c in table.columns]
        return Grid(("", ""), tuple(pairs), (False, False))
    cells = (tuple(_shown(row[c.key], c) for c in table.columns) for row in table.rows)
    keys = [column.key for column in table.columns]
    grid = Grid(
        tuple(column.label for column in table.columns),
        tuple(cells),
        tuple(column.digits is not None for column in table.columns),
        keys=table.keys,
        optional=tuple(keys.index(key) for key in table.optional if key in keys),
        bold=_best(table) if table.bold_best else frozenset(),
    )
    return grid.turned() if table.transposed else grid


def _best(table: Table) -> frozenset[tuple[int, int]]:
    """The cells that show the best value of their column; several where they look the same."""
    found = set()
    for number, column in enumerate(table.columns):
        values = {at: _number(row[column.key]) for at, row in enumerate(table.rows)}
        known = {at: value for at, value in values.items() if value is not None}
        if column.best is None or len(known) < 2:
            continue
        choose = max if column.best == "highest" else min
        best = _mean_shown(table.rows[choose(known, key=lambda at: known[at])], column)
        alike = (at for at in known if _mean_shown(table.rows[at], column) == best)
        found |= {(at, number) for at in alike}
    return frozenset(found)


def _number(value: Any) -> float | None:
    value = value.mean if isinstance(value, Measured) else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _mean_shown(row: dict[str, Any], column: Column) -> str:
    return _shown(row[column.key], column).split(" ± ")[0]


def _exported(table: Table, write: Callable[..., Written]) -> Written:
    """A table for a paper or a page, the paper's own rows marked."""
    notes = table.notes
    if table.published and table.columns:
        first = table.columns[0]
        rows = tuple(
            {**row, first.key: f"{_shown(row[first.key], first)} †"}
            if at in table.published
            else row
            for at, row in enumerate(table.rows)
        )
        table, notes = replace(table, rows=rows), (*notes, "† as published")
    grid = _grid(table) if table.columns else Grid((), (), ())
    return write(table.title, grid, notes, caption=table.caption, label=table.label)


def _left_out(fitted: Fitted) -> tuple[str, ...]:
    if not fitted.left_out:
        return ()
    labels = "; ".join(fitted.left_out)
    return (f"left out, for want of room: {labels} (a wider terminal, a pipe and -o have them)",)
