"""The tables as they are printed: columns, rows, footnotes, and what is doubtful about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

Cell = str | int | float | None

# The numbers of the tables. Table 8 is the deployment table, in two parts.
TABLES = (1, 2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of a table of the paper; `label` names it in its table, `cells` and `notes`, which
    say what is doubtful about a cell, go by column."""

    label: str
    cells: Mapping[str, Cell]
    notes: Mapping[str, str]

    @property
    def note(self) -> str | None:
        """All of its notes in one text; None where nothing is doubtful."""
        return " ".join(dict.fromkeys(self.notes.values())) or None

    def __getitem__(self, column: str) -> Any:
        return self.cells[column]


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table of the paper. `columns` maps each column to what it holds; `place` is where the
    paper discusses it; `page` is None where no source at hand tells it; `note` is clifctl's."""

    number: int
    title: str
    place: str
    page: int | None
    columns: Mapping[str, str]
    rows: tuple[PublishedRow, ...]
    footnote: str | None
    note: str | None


def read(name: str) -> Any:
    """The content of one data file of this package."""
    return yaml.safe_load((files("clifctl.paper") / "published" / name).read_text(encoding="utf-8"))


@cache
def table(number: int) -> PublishedTable:
    """Table `number` of the paper. Raises KeyError for a number that is not in TABLES."""
    if number not in TABLES:
        raise KeyError(f"the paper has no Table {number}")
    document = read(f"table{number}.yaml")
    columns = document["columns"]
    notes = dict(document["notes"])
    rows = []
    for values in document["rows"]:
        cells = dict(zip(columns, values, strict=True))
        label = " / ".join(str(cells[column]) for column in document["key"])
        of_row = notes.pop(label, {})
        if set(of_row) - set(columns):
            raise ValueError(f"Table {number} has no column for a note on {label}: {of_row}")
        rows.append(PublishedRow(label=label, cells=cells, notes=of_row))
    if notes:
        raise ValueError(f"Table {number} has no row for the notes on {', '.join(notes)}")
    return PublishedTable(
        number=document["number"],
        title=document["title"],
        place=document["place"],
        page=document["page"],
        columns=columns,
        rows=tuple(rows),
        footnote=document["footnote"],
        note=document["note"],
    )


def figure_note(figure: int) -> str | None:
    """What can be said of the numbers of a figure, in a sentence: for most that there are none.

    None where there is nothing to say.
    """
    note: str | None = _figure_notes().get(figure)
    return note


@cache
def _figure_notes() -> dict[int, str]:
    return dict(read("figures.yaml"))
