"""A heat map: shares of 0 to 1 as cells, darker where there is more."""

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from clifctl.report.elements import element
from clifctl.report.page.chart import WIDTH, short

_LETTER = 6.2
_MOST_NUMBERED = 20  # columns that have room for names, and cells for numbers
_SIDE = 30.0  # of a cell, at most
_NAME = 13  # letters of the name of a column, which stands upright where it is long


def heat_map(
    title: str,
    shares: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    text: Callable[[int, int], str],
    said: Callable[[int, int], str],
) -> Element:
    """A map of `shares` (None: nothing is known). `text` is written in a cell where there is room,
    `said` is what a reader who points at it is told."""
    numbered = max(len(rows), len(columns)) <= _MOST_NUMBERED
    names = [short(one) for one in rows] if numbered else []
    heads = [short(one, _NAME) for one in columns] if numbered else []
    left = 8.0 + _LETTER * max(map(len, names), default=0)
    wide = min(_SIDE, (WIDTH - left) / len(columns))
    high = min(wide, 22.0) if len(rows) != len(columns) else wide
    longest = _LETTER * max(map(len, heads), default=0)
    upright = longest > wide - 2
    top = 6.0 if not numbered else (longest + 10.0 if upright else 20.0)
    height = top + high * len(rows) + 4.0
    svg = element("svg", viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=title)
    for at, name in enumerate(names):
        middle = top + (at + 0.5) * high + 3.8
        svg.append(element("text", name, x=left - 6, y=middle, text_anchor="end"))
    for at, name in enumerate(heads):
        across = left + (at + 0.5) * wide + (3.8 if upright else 0.0)
        turn = f"rotate(-90 {across:.1f} {top - 6:.1f})" if upright else None
        anchor = "start" if upright else "middle"
        svg.append(element("text", name, x=across, y=top - 6, transform=turn, text_anchor=anchor))
    gap = 1.0 if numbered else 0.0
    for row, values in enumerate(shares):
        for column, share in enumerate(values):
            if share is None or (not numbered and not share):
                continue
            place = (left + wide * column, top + high * row, wide - gap, high - gap)
            shown = text(row, column) if numbered else ""
            for drawn in _cell(place, share, shown, said(row, column)):
                svg.append(drawn)
    return svg


def _cell(
    place: tuple[float, float, float, float], share: float, text: str, said: str
) -> list[Element]:
    x, y, width, height = place
    box = element("rect", x=x, y=y, width=width, height=height, class_="cell")
    box.set("fill-opacity", f"{0.06 + 0.94 * min(max(share, 0.0), 1.0):.2f}")
    box.append(element("title", said))
    if not text:
        return [box]
    size = min(11.0, width / (0.64 * len(text)), height)
    middle = {"x": x + width / 2, "y": y + height / 2 + 0.35 * size}
    look = {"class_": "on" if share > 0.45 else None, "style": f"font-size:{size:.1f}px"}
    return [box, element("text", text, **middle, text_anchor="middle", **look)]
