"""How a picture is laid out: the options of every command that has --plot."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

PICTURE_PANEL = "Picture"


@dataclass(frozen=True)
class Look:
    """How a picture is laid out; None: as it is by default."""

    size: str | None = None
    dpi: int | None = None
    title: bool = False


def picture_look(
    *,
    size: Annotated[
        Literal["page", "column"] | None,
        typer.Option(
            help="Width of the picture: a page's (6.75 inches, the default) or a column's (3.25).",
            rich_help_panel=PICTURE_PANEL,
        ),
    ] = None,
    dpi: Annotated[
        int | None,
        typer.Option(
            min=50,
            max=1200,
            help="Dots an inch of a .png (default: 200).",
            rich_help_panel=PICTURE_PANEL,
        ),
    ] = None,
    title: Annotated[
        bool,
        typer.Option(
            "--title",
            help="Draw a title (without, it is in the file's metadata alone).",
            rich_help_panel=PICTURE_PANEL,
        ),
    ] = False,
) -> Look:
    """What the options say."""
    return Look(size, dpi, title)
