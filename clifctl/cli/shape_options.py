"""How the tables of a result are shaped and labelled: options of every command."""

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from clifctl.errors import UsageError

TABLE_PANEL = "Table"
_READERS = ("table", "md", "latex", "html")
_MARKED = ("md", "latex", "html")
_FLOATS = ("latex", "html")
_ALL_BUT_JSON = (*_READERS, "csv", "jsonl")
_LABEL = re.compile(r"[A-Za-z0-9:._/+-]+")
# The formats that have a use for each option.
FORMATS_OF = {
    "digits": _READERS,
    "columns": _ALL_BUT_JSON,
    "transpose": _READERS,
    "bold_best": _MARKED,
    "caption": _FLOATS,
    "label": _FLOATS,
}


@dataclass(frozen=True)
class Shape:
    """What was asked for; nothing by default."""

    digits: int | None = None
    columns: tuple[str, ...] = ()
    transpose: bool = False
    bold_best: bool = False
    caption: str | None = None
    label: str | None = None


def table_shape(
    *,
    digits: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=15,
            help="Digits behind the point, in every column of numbers but counts.",
            rich_help_panel=TABLE_PANEL,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Only these columns, in this order, by key (as csv has it) or heading.",
            rich_help_panel=TABLE_PANEL,
        ),
    ] = None,
    transpose: Annotated[
        bool,
        typer.Option(
            "--transpose", help="Quantities down and rows across.", rich_help_panel=TABLE_PANEL
        ),
    ] = False,
    bold_best: Annotated[
        bool,
        typer.Option(
            "--bold-best",
            help="Print the best value of a column bold (latex, html, md).",
            rich_help_panel=TABLE_PANEL,
        ),
    ] = False,
    caption: Annotated[
        str | None,
        typer.Option(
            help="Caption of the first table, instead of its title (latex, html).",
            rich_help_panel=TABLE_PANEL,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="Label of the first table, for references (latex, html).",
            rich_help_panel=TABLE_PANEL,
        ),
    ] = None,
) -> Shape:
    """What the options say. Raises UsageError."""
    asked = () if columns is None else tuple(one.strip() for one in columns.split(","))
    if not all(asked):
        raise UsageError(f"--columns {columns}: a name is empty", hint="--columns A,B,C")
    if len(set(asked)) < len(asked):
        raise UsageError(f"--columns {columns}: a column is named twice", hint="name it once")
    if label is not None and not _LABEL.fullmatch(label):
        raise UsageError(
            f"--label {label}: must be of letters, digits and : . _ / + -",
            hint="--label tab:accuracy",
        )
    return Shape(digits, asked, transpose, bold_best, caption, label)


def require_shape_possible(shape: Shape, how: str) -> None:
    """Raise UsageError for an option that a format has no use for."""
    for name, formats in FORMATS_OF.items():
        if getattr(shape, name) != getattr(Shape(), name) and how not in formats:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} and the format {how} contradict each other",
                hint=f"{option} is for the formats {', '.join(formats)}",
            )
