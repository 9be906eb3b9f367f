"""How a picture is laid out: the options of every command that has --plot."""

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from clifctl.errors import UsageError

PICTURE_PANEL = "Picture"
NAMED_SIZES = ("page", "column")
# What a person can print, in inches.
_WIDTHS, _HEIGHTS = (1.5, 40.0), (1.0, 60.0)
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SIZE = re.compile(rf"{_NUMBER}(?:x{_NUMBER})?")
# What stands for --title without a text, which typer cannot say by itself.
OWN_TITLE = ""

Size = str | tuple[float, float | None]


@dataclass(frozen=True)
class Look:
    """How a picture is laid out; None: as it is by default. `size`: a name, or width and height in
    inches (None: as high as it needs). `title`: a text, or OWN_TITLE for that of the picture."""

    size: Size | None = None
    dpi: int | None = None
    title: str | None = None


def picture_look(
    *,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="page|column|W|WxH",
            help="Size of the picture: as wide as a page (6.75 inches, the default) or a column "
            "(3.25), or W inches; and H inches high, or as high as it needs.",
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
        str | None,
        typer.Option(
            metavar="[TEXT]",
            help="Draw a title: its own, or TEXT (a single word: --title=TEXT). Without, it is in "
            "the file's metadata alone.",
            rich_help_panel=PICTURE_PANEL,
        ),
    ] = None,
) -> Look:
    """What the options say. Raises UsageError."""
    return Look(None if size is None else _size(size), dpi, title)


def _size(text: str) -> Size:
    if text in NAMED_SIZES:
        return text
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--size {text}: must be page, column, or inches, as in 5 or 5x3",
            hint="--size column is 3.25 inches wide, --size page 6.75",
        )
    width, height = float(found[1]), None if found[2] is None else float(found[2])
    for name, inches, (least, most) in (("width", width, _WIDTHS), ("height", height, _HEIGHTS)):
        if inches is not None and not least <= inches <= most:
            raise UsageError(
                f"--size {text}: the {name} must be from {least:g} to {most:g} inches",
                hint="an inch is 2.54 cm",
            )
    return width, height


def title_behind(arguments: list[str], index: int) -> bool:
    """Whether the word behind `arguments[index]` is a title: one of several words, which no recipe,
    override or option is."""
    following = "".join(arguments[index + 1 : index + 2])
    return " " in following.strip() and re.match(r"-|[\w.]+=", following) is None
