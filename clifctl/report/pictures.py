"""Pictures, drawn by matplotlib into a file; no window is ever opened.

A picture looks the same whatever a person's matplotlib is set to (MPLBACKEND, matplotlibrc).
"""

import dataclasses
import io
import math
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.errors import OutputError
from clifctl.files import write_output
from clifctl.report.picture_fonts import with_fonts
from clifctl.report.styles import Style

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 200
_LEGEND_SIZE = 7.0
# Text is set in points, at the size at which it is printed.
_SETTINGS = {
    "text.parse_math": False,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "clifctl",  # the same result gives the same file
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": _LEGEND_SIZE,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
}
# What says when a file was written is left out: the same result gives the same file.
_DATES = {"pdf": "CreationDate", "svg": "Date"}
NOTE_SIZE = 6.5
_TITLE_SIZE = 9.0
_LINE = 1.35  # height of a line in sizes of its font
_LETTER = 0.58  # mean width of a letter, likewise
_POINTS = 72.0
_MOST_NAMES = 0.6  # the width of names beside a panel, as a share of the panel's
_PANEL_INCHES = 2.25  # the width that a panel needs beside others
_MOST_DRAWINGS = 4  # until legends stand where they stay
_LEAST_INCHES = 0.35  # a panel that is lower shows nothing


def require_picture_possible(path: Path) -> None:
    """Raise OutputError for a kind of file that matplotlib cannot write, or where it does not
    start."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"cannot draw into '{path}': unknown ending '{path.suffix}'",
            hint=f"--plot takes a file that ends in {', '.join(SUFFIXES)}; as the last word it "
            "chooses the name itself",
        )
    try:
        with _own_settings():
            pass
    except Exception as broken:  # whatever a person's matplotlibrc makes its import raise
        raise OutputError(
            f"cannot draw into '{path}': matplotlib does not start "
            f"({type(broken).__name__}: {broken})",
            hint="mend matplotlib's installation or its matplotlibrc, or leave --plot out",
        ) from broken


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a picture is laid out: its width in inches and how many panels stand side by side at
    most. `height` in inches: all of the picture's, None as much as it needs; `stretch` is what that
    makes of its panels. `exact`: also a single panel has this width. `title` is drawn above, "" the
    picture's own, None none (it is in the file's metadata either way)."""

    width: float = 6.75
    across: int = 3
    height: float | None = None
    stretch: float = 1.0
    exact: bool = False
    title: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether panels stand one below the other."""
        return self.across == 1

    def width_of(self, most: float) -> float:
        """The width of a picture that needs no more than `most` inches."""
        return self.width if self.exact else min(self.width, most)


# Those of a page of two columns.
LAYOUTS = {"page": Layout(), "column": Layout(width=3.25, across=1)}


def layout_of(size: str | tuple[float, float | None] | None, title: str | None) -> Layout:
    """The layout of a name in LAYOUTS (None: page), or of a width and a height in inches."""
    if size is None or isinstance(size, str):
        return dataclasses.replace(LAYOUTS[size or "page"], title=title)
    width, height = size
    across = max(1, int(width / _PANEL_INCHES))
    return Layout(width, across, height, exact=True, title=title)


def write_picture(
    path: Path,
    draw: Callable[..., Any],
    *shown: Any,
    layout: Layout = LAYOUTS["page"],
    dpi: int = DPI,
) -> None:
    """Write the figure that `draw` makes of the results `shown` (and the layout), atomically, in
    the format of the file's ending. Raises OutputError where it cannot be written, or has no room
    for its panels."""
    kind = path.suffix[1:].lower()
    content = picture(kind, draw, *shown, layout=layout, dpi=dpi)
    alone = with_fonts(bytes(content)) if kind == "svg" else content
    write_output(path, lambda file: file.write(alone))


def picture(
    kind: str,
    draw: Callable[..., Any],
    *shown: Any,
    layout: Layout = LAYOUTS["page"],
    dpi: int = DPI,
) -> memoryview:
    """What such a file of the format `kind` holds. Raises OutputError where there is no room."""
    buffer = io.BytesIO()
    with _own_settings():
        figure = _of_height(draw, [*map(_printable, shown)], layout)
        metadata: dict[str, str | None] = {"Title": figure.get_label() or "clifctl"}
        if kind in _DATES:
            metadata[_DATES[kind]] = None
        figure.savefig(buffer, dpi=dpi, format=kind, metadata=metadata)
    return buffer.getbuffer()


def _of_height(draw: Callable[..., Any], shown: Sequence[Any], layout: Layout) -> Any:
    """The figure, as high as the layout says: drawn again with its panels stretched, since names
    and legends stand where the panels leave room for them."""
    figure = draw(*shown, layout)
    natural = figure.get_figheight()
    for _ in range(_MOST_DRAWINGS if layout.height is not None else 0):
        full = figure.get_figheight()
        panels = full * figure.get_layout_engine().get()["rect"][3]
        assert layout.height is not None
        more = (layout.height - full) / panels
        if abs(more) < 1e-3:
            break
        if more > -1.0:
            layout = dataclasses.replace(layout, stretch=layout.stretch * (1.0 + more))
            figure = draw(*shown, layout)
        if more <= -1.0 or _squeezed(figure):
            raise OutputError(
                f"{layout.width:g} x {layout.height:g} inches have no room for its panels",
                hint=f"--size {layout.width:g}x{math.ceil(10 * natural) / 10:g} is as high as it "
                "needs",
            )
    return figure


def _squeezed(figure: Any) -> bool:
    """Whether some panel is too low to show anything, or has lost its room altogether."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    heights = [
        axis.get_window_extent().height / figure.dpi
        for axis in figure.axes
        if axis.get_label() != "<colorbar>"
    ]
    lost = any("collapsed to zero" in str(one.message) for one in told)
    return lost or min(heights, default=1.0) < _LEAST_INCHES


@contextmanager
def _own_settings() -> Iterator[None]:
    """matplotlib with these settings alone; a `$` is a dollar, and a letter that the font lacks is
    a box, without a warning."""
    backend = os.environ.pop("MPLBACKEND", None)  # a bad one fails matplotlib's import
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_SETTINGS}
    del settings["backend"]  # to set it would import pyplot, and look for a display
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with matplotlib.rc_context(settings):
            yield


def _printable(value: Any) -> Any:
    """`value` with the characters escaped that a picture cannot hold: control characters, and the
    bytes of a file's name that are no text."""
    if isinstance(value, str):
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode() for one in value
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return dataclasses.replace(
            value, **{field.name: _printable(getattr(value, field.name)) for field in fields}
        )
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_printable, value))
    return value


def new_figure(layout: Layout, width: float, height: float) -> Any:
    """An empty figure of `width` x `height` inches, stretched as the layout says, with a canvas of
    its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * layout.stretch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_of_panels(
    layout: Layout, count: int, *, height: float = 2.1, across: int | None = None
) -> tuple[Any, list[Any]]:
    """A figure of `count` panels, each `height` inches high, and their axes. A single panel is no
    wider than a column."""
    columns = min(count, layout.across if across is None else min(across, layout.across))
    rows = -(-count // columns)
    width = layout.width if columns > 1 else layout.width_of(LAYOUTS["column"].width)
    figure = new_figure(layout, width, height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def finish(figure: Any, layout: Layout, title: str, note: str = "") -> Any:
    """Add the note below the panels, which says what bars and bands mean, and the title above them
    if it is asked for; a legend of the figure stands between panels and note. Returns `figure`."""
    width, height = figure.get_size_inches()
    figure.draw_without_rendering()
    legend = sum(one.get_window_extent().height for one in figure.legends) / figure.dpi
    notes = _lines(note, width, NOTE_SIZE)
    title = layout.title or title
    titles = [] if layout.title is None else _lines(title, width, _TITLE_SIZE)
    below = len(notes) * NOTE_SIZE * _LINE / _POINTS + (0.04 if notes else 0.0)
    above = len(titles) * _TITLE_SIZE * _LINE / _POINTS + (0.04 if titles else 0.0)
    full = height + legend + below + above
    figure.set_size_inches(width, full)
    figure.get_layout_engine().set(rect=(0.0, (below + legend) / full, 1.0, height / full))
    for one in figure.legends:
        one.set_bbox_to_anchor((0.5, below / full), transform=figure.transFigure)
    look = {"linespacing": 1.2, "in_layout": False}
    if notes:
        figure.text(
            0.02,
            0.03 / full,
            "\n".join(notes),
            fontsize=NOTE_SIZE,
            color="0.3",
            va="bottom",
            **look,
        )
    if titles:
        at = 1.0 - 0.03 / full
        figure.text(0.5, at, "\n".join(titles), fontsize=_TITLE_SIZE, va="top", ha="center", **look)
    figure.set_label(title)
    return figure


def _lines(text: str, width: float, size: float) -> list[str]:
    """`text` in lines that fit into `width` inches."""
    return textwrap.wrap(text, max(20, int(width * _POINTS / (size * _LETTER))))


@dataclasses.dataclass(frozen=True)
class LineEnd:
    """Where a curve ends, and what is written there."""

    text: str
    y: float
    style: Style


def label_ends(figure: Any, panels: Mapping[Any, Sequence[LineEnd]]) -> bool:
    """Write the name of each curve beside its end, right of its panel, moved apart where they would
    overlap. False, and nothing is written, if some panel is too low or too narrow for its names."""
    size, dpi = 7.0, figure.dpi
    figure.draw_without_rendering()
    placed = []
    for axis, ends in panels.items():
        longest = max((len(line) for end in ends for line in end.text.split("\n")), default=0)
        if longest * size * _LETTER > _MOST_NAMES * axis.get_window_extent().width * _POINTS / dpi:
            return False
        lines = max((end.text.count("\n") + 1 for end in ends), default=1)
        gap = lines * size * 1.1 / (axis.get_window_extent().height / figure.dpi * _POINTS)
        known = sorted((end for end in ends if np.isfinite(end.y)), key=lambda end: end.y)
        if len(known) * gap > 1.0:
            return False
        low, high = axis.get_ylim()
        at = [(end.y - low) / (high - low) for end in known]
        placed.append((axis, known, at, _apart(at, gap)))
    for axis, known, at, places in placed:
        height = axis.bbox.height / figure.dpi * _POINTS
        for end, here, place in zip(known, at, places, strict=True):
            axis.annotate(
                end.text,
                (1.0, here),
                (9, height * (place - here)),
                xycoords="axes fraction",
                textcoords="offset points",
                annotation_clip=False,
                color=end.style.colour,
                fontsize=size,
                va="center",
                arrowprops={
                    "arrowstyle": "-",
                    "color": end.style.colour,
                    "linewidth": 0.5,
                    "shrinkA": 0.5,
                    "shrinkB": 1.0,
                    "relpos": (0.0, 0.5),
                },
            )
    return True


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Rising `places` in 0 to 1, moved as little as can be (in squares) to be `gap` apart."""
    blocks: list[tuple[float, int]] = []  # the mean of what moves together, and how many these are
    for number, place in enumerate(places):
        mean, count = place - number * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    most = 1.0 - (len(places) - 1) * gap
    flat = [min(max(mean, 0.0), most) for mean, count in blocks for _ in range(count)]
    return [place + number * gap for number, place in enumerate(flat)]


def figure_legend(figure: Any, handles: Sequence[Any], *, columns: int) -> None:
    """A legend below all panels, where it hides nothing, of so many columns as have room."""
    longest = max((len(one.get_label()) for one in handles), default=0)
    width = (longest * _LEGEND_SIZE * _LETTER + 4 * _LEGEND_SIZE) / _POINTS
    columns = max(1, min(columns, int(figure.get_figwidth() / width)))
    legend = figure.legend(
        handles=list(handles),
        loc="lower center",
        ncols=min(columns, len(handles)),
        borderaxespad=0.0,
    )
    legend.set_in_layout(False)  # `finish` makes room for it


def line_look(style: Style) -> dict[str, Any]:
    """A style as matplotlib's keywords of a line with markers."""
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": style.dashes,
        "markeredgecolor": "white",
        "markeredgewidth": 0.3,
    }
