"""One result in each of the formats. A report is a JSON document and tables; the first table has
the rows that `jsonl` and `csv` give."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any

from clifctl.commands import visible
from clifctl.files import plain, to_json
from clifctl.results.decoding import encode
from clifctl.results.quantities import quantities_of

GAP = 3  # between two columns of a printed table
MIN_FLEXIBLE = 16


@dataclass(frozen=True)
class Column:
    """`key` names the value in jsonl and csv (with its unit), `label` heads it for a reader."""

    key: str
    label: str
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows are mappings from column key to value. `vertical` shows each row as label and value.
    Without columns there are the notes alone."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    vertical: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What one command has to say. For a reader, `text` (YAML) follows the tables, or replaces them
    where `text_only` is set; the other formats have no use for it. `data` holds the rows of jsonl
    and csv where they are not those of the first table."""

    document: dict[str, Any]
    tables: tuple[Table, ...]
    text: str | None = None
    text_only: bool = False
    data: Table | None = None

    @property
    def rows(self) -> Table:
        """The table whose rows are those of jsonl and csv."""
        return self.data or self.tables[0]


def columns_of(kind: type, *columns: str | Column, short: bool = False) -> tuple[Column, ...]:
    """The columns of fields of a result dataclass, as they are declared there; those that are no
    fields are given as they are. `short`: with their short labels, for a wide table."""
    quantities = quantities_of(kind)
    found = []
    for column in columns:
        if isinstance(column, str):
            one = quantities[column]
            column = Column(column, (short and one.short) or one.heading, one.digits)
        found.append(column)
    return tuple(found)


def list_table(
    title: str,
    kind: type,
    rows: Iterable[Any],
    *columns: str | Column,
    short: bool = False,
    notes: tuple[str, ...] = (),
) -> Table:
    """Results of one kind as a table, a row each."""
    shown = columns_of(kind, *columns, short=short)
    return Table(title, shown, tuple(map(dataclasses.asdict, rows)), notes=notes)


def record_table(
    title: str, result: Any, *columns: str | Column, notes: tuple[str, ...] = ()
) -> Table:
    """One result as a table of labels and values."""
    shown = columns_of(type(result), *columns)
    row = {column.key: getattr(result, column.key) for column in shown}
    return Table(title, shown, (row,), vertical=True, notes=notes)


def flat_table(title: str, rows: Iterable[dict[str, Any]]) -> Table:
    """A table for csv and jsonl: a column for each key of the rows, which all have the same."""
    found = tuple(rows)
    return Table(title, tuple(Column(key, key) for key in found[0]), found)


def document_of(result: Any) -> dict[str, Any]:
    """The JSON document of a result dataclass: its schema first, NaN and infinity as null."""
    document: dict[str, Any] = plain(encode(result))
    return document


def render(report: Report, how: str, stream: IO[str]) -> None:
    """Write `report` to `stream` in one of FORMATS."""
    FORMATS[how].write(report, stream)


def _write_table(report: Report, stream: IO[str]) -> None:
    if not report.text_only:
        _print_tables(report.tables, stream)
    stream.write(_text(report))


def _write_json(report: Report, stream: IO[str]) -> None:
    stream.write(to_json(report.document, indent=2) + "\n")


def _write_jsonl(report: Report, stream: IO[str]) -> None:
    stream.writelines(to_json(row) + "\n" for row in report.rows.rows)


def _write_csv(report: Report, stream: IO[str]) -> None:
    stream.write(_csv(report.rows))


def _write_markdown(report: Report, stream: IO[str]) -> None:
    parts = [] if report.text_only else [_markdown(table) for table in report.tables]
    parts += [] if report.text is None else [f"```yaml\n{_text(report)}```\n"]
    stream.write("\n".join(parts))


@dataclass(frozen=True)
class Format:
    """A format of a result: the ending of files that are written in it (None: it is for a person
    at the terminal), and what writes it."""

    ending: str | None
    write: Callable[[Report, IO[str]], None]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "table": Format(None, _write_table),
        "json": Format(".json", _write_json),
        "jsonl": Format(".jsonl", _write_jsonl),
        "csv": Format(".csv", _write_csv),
        "md": Format(".md", _write_markdown),
    }
)
# The format of a file by its ending.
ENDINGS = {one.ending: name for name, one in FORMATS.items() if one.ending is not None}


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


def _flat(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and cells as a reader sees them."""
    if table.vertical:
        return ["", ""], [pair for row in table.rows for pair in _record(table, row)]
    cells = [[_shown(row[column.key], column) for column in table.columns] for row in table.rows]
    return [column.label for column in table.columns], cells


def _record(table: Table, row: dict[str, Any]) -> list[list[str]]:
    return [[column.label, _shown(row[column.key], column)] for column in table.columns]


def _markdown(table: Table) -> str:
    header, cells = _flat(table)
    lines = [f"**{visible(table.title)}**", ""]
    if table.columns:
        lines += [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
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
    from rich.text import Text

    console = Console(file=stream, width=width, highlight=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(Text(visible(table.title), style="bold"))
        if table.columns:
            console.print(_grid(table, console.width))
        for note in table.notes:
            console.print(Text(visible(note), style="dim"))


def _grid(table: Table, width: int) -> Any:
    """A table of rich, not wider than `width` where that can be."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    header, cells = _flat(table)
    flexible = _flexible_column(header, cells, width)
    grid = RichTable(box=box.SIMPLE_HEAD, show_header=not table.vertical, pad_edge=False)
    if flexible is None:
        # Too narrow for columns: each row becomes a record of its own.
        grid.show_header = False
        header = ["", ""]
        records = [[*_record(table, row), ["", ""]] for row in table.rows]
        cells = [pair for record in records for pair in record][:-1]
    for index, label in enumerate(header):
        numeric = len(header) > 2 and table.columns[index].digits is not None
        # A cell that is too wide goes on in the next line: nothing is cut.
        grid.add_column(
            Text(label),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=flexible is not None and index != flexible,
        )
    for row in cells:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def _flexible_column(header: list[str], cells: list[list[str]], width: int) -> int | None:
    """The column that may be folded so that the table fits into `width`, None if that is too
    little: the widest one, down to MIN_FLEXIBLE characters."""
    widths = [max(len(row[index]) for row in [header, *cells]) for index in range(len(header))]
    widest = widths.index(max(widths))
    rest = sum(widths) - widths[widest] + GAP * len(header)
    return widest if rest + min(widths[widest], MIN_FLEXIBLE) <= width else None
