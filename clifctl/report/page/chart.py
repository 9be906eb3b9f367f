"""A drawing with two axes, as inline SVG: 360 units wide, which a phone shows as they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from clifctl.report.elements import element, filled, number
from clifctl.report.page.colours import themed
from clifctl.report.styles import Style

WIDTH = 360.0
_LETTER = 6.4  # width of a letter of the text, which is 11 units high
_LINE = 1.7  # width of a curve
_TOP, _BOTTOM, _RIGHT = 26.0, 38.0, 14.0
_MOST_NAME = 24  # letters of a name beside an axis
_SIDES = {"D": 4, "s": 4, "^": 3, "v": 3, "<": 3, ">": 3, "p": 5, "h": 6, "8": 8, "d": 4}
_TURNS = {"s": 45, "^": 0, "v": 180, "<": 270, ">": 90, "p": 0, "h": 0, "8": 22.5}


@dataclass(frozen=True)
class Axis:
    """What an axis is about, its ends, and its ticks. `names`: its ticks are names, which stand
    beside rows from the top down."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    names: bool = False
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies, from 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


def values_axis(
    label: str,
    values: Sequence[float | None],
    *,
    zero: bool = False,
    least: float = 0.0,
    whole: bool = False,
    room: float = 0.06,
    most: float = math.inf,
) -> Axis:
    """An axis that holds all `values` that are numbers, with some `room`, and is `least` long at
    least; from 0 on where `zero` is set; with ticks at whole numbers where `whole` is. There is
    nothing beyond `most`, as of percentages 100."""
    known = [one for one in values if one is not None and math.isfinite(one)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < least or high == low:
        more = ((max(least, abs(high) * 0.1) or 1.0) - (high - low)) / 2
        low, high = (low, high + 2 * more) if zero else (low - more, high + more)
    margin = room * (high - low)
    low = low if zero and low == 0.0 else low - margin
    last = min(high + margin, most + 0.25 * margin)
    return Axis(label, low, last, _ticks(low, min(last, most), whole))


def names_axis(names: Sequence[str], label: str = "") -> Axis:
    """An axis of rows, 0 on top, each with its name."""
    ticks = tuple((float(row), name) for row, name in enumerate(names))
    return Axis(label, len(names) - 0.5, -0.5, ticks, names=True)


def steps_axis(steps: int, label: str = "time step") -> Axis:
    """An axis of the time steps 1 to T."""
    return Axis(label, 0.5, steps + 0.5, _ticks(0.5, steps + 0.5, True))


def powers_axis(label: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis with a tick at each of `values`."""
    known = sorted(set(values))
    ticks = tuple((one, f"{one:g}") for one in known)
    return Axis(label, known[0] / 1.25, known[-1] * 1.25, ticks, logarithmic=True)


def _ticks(low: float, high: float, whole: bool) -> tuple[tuple[float, str], ...]:
    """Round numbers from `low` to `high`, some five of them."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * 0.999)
    step = max(1.0, math.ceil(step)) if whole else step
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += round(step * 10**digits, 9) % 1 > 0  # 0.25
    first = math.ceil(low / step - 1e-9)
    found = []
    while first * step <= high * (1 + 1e-12) + 1e-300:
        value = first * step
        found.append((value, f"{value + 0.0:,.{digits}f}" if abs(high) < 1e7 else f"{value:.2g}"))
        first += 1
    return tuple(found)


class Chart:
    """A chart that is drawn into: `svg` is its element."""

    def __init__(self, title: str, x: Axis, y: Axis, *, height: float = 210.0) -> None:
        self.x, self.y = x, y
        longest = max((len(short(text)) for _, text in y.ticks), default=0)
        self.left = 10.0 + _LETTER * longest
        self.right = WIDTH - _RIGHT
        self.top = _TOP if y.label else 8.0
        self.bottom = height - _BOTTOM
        self.svg = element(
            "svg",
            viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
            role="img",
            aria_label=title,
        )
        self._frame()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        across = self.left + self.x.share(x) * (self.right - self.left)
        return across, self.bottom - self.y.share(y) * (self.bottom - self.top)

    def line(self, points: Sequence[tuple[float, float]], style: Style, said: str = "") -> None:
        """A curve; what is no number is a gap in it."""
        path, pen_down = "", False
        for x, y in points:
            if not math.isfinite(y):
                pen_down = False
                continue
            across, down = self.at(x, y)
            path += f"{'L' if pen_down else 'M'}{number(across)} {number(down)}"
            pen_down = True
        if path:
            drawn = element(
                "path", d=path, class_="line", style=themed(style.colour), **dashes(style)
            )
            self._add(drawn, said)

    def mark(self, x: float, y: float, style: Style, said: str = "", size: float = 3.4) -> None:
        """A marker at a point. A reader who points at it is told what is `said`."""
        if math.isfinite(x) and math.isfinite(y):
            self._add(marker(style, *self.at(x, y), size), said)

    def hollow(self, x: float, y: float, style: Style, said: str = "") -> None:
        """A small open marker."""
        across, down = self.at(x, y)
        look = {"class_": "hollow", "style": themed(style.colour)}
        self._add(element("circle", cx=across, cy=down, r=2.2, **look), said)

    def curve(
        self, points: Sequence[tuple[float, float]], style: Style, said: Sequence[str] = ()
    ) -> None:
        """A line with markers, of which a long one has only some."""
        self.line(points, style)
        every = max(1, -(-len(points) // 16))
        for place, (x, y) in enumerate(points):
            if place % every == 0 or place == len(points) - 1:
                self.mark(x, y, style, said[place] if said else "")

    def interval(self, x: tuple[float, float], y: tuple[float, float], style: Style) -> None:
        """A bar of an error from one point to the other, along an axis."""
        (x0, y0), (x1, y1) = self.at(x[0], y[0]), self.at(x[1], y[1])
        look = {"class_": "error", "style": themed(style.colour)}
        self._add(element("line", x1=x0, y1=y0, x2=x1, y2=y1, **look))

    def band(
        self, points: Sequence[tuple[float, float, float]], style: Style, pale: bool = False
    ) -> None:
        """The area between two curves: x, low, high."""
        there = [self.at(x, low) for x, low, _ in points]
        back = [self.at(x, high) for x, _, high in reversed(points)]
        path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in (*there, *back)) + "Z"
        look = "band pale" if pale else "band"
        self._add(element("path", d=path, class_=look, style=themed(style.colour)))

    def bar(
        self, row: float, low: float, high: float, colour: str, said: str = "", thick: float = 0.7
    ) -> None:
        """A bar along x in a row; `thick` in rows."""
        (x0, y0), (x1, y1) = self.at(low, row - thick / 2), self.at(high, row + thick / 2)
        width = max(abs(x1 - x0) - 0.5, 0.6)
        look = {"class_": "fill", "style": themed(colour)}
        place = {"x": min(x0, x1), "y": min(y0, y1), "width": width, "height": abs(y1 - y0)}
        self._add(element("rect", **place, **look), said)

    def level(self, y: float, said: str) -> None:
        """A thin line across at a value of y, and what it is."""
        _, down = self.at(self.x.low, y)
        drawn = element("line", x1=self.left, y1=down, x2=self.right, y2=down, class_="level")
        self._add(drawn, said)

    def upright(self, x: float, said: str = "") -> None:
        """A thin line upwards at a value of x."""
        across, _ = self.at(x, self.y.low)
        drawn = element("line", x1=across, y1=self.top, x2=across, y2=self.bottom, class_="level")
        self._add(drawn, said)

    def _frame(self) -> None:
        for value, text in self.y.ticks:
            _, down = self.at(self.x.low, value)
            if not self.y.names:
                self._add(
                    element("line", x1=self.left, y1=down, x2=self.right, y2=down, class_="grid")
                )
            self._text(text, self.left - 6, down + 3.8, "end")
        for value, text in _apart(self.x.ticks, self):
            across, _ = self.at(value, self.y.low)
            if self.y.names:
                place = {"x1": across, "y1": self.top, "x2": across, "y2": self.bottom}
                self._add(element("line", **place, class_="grid"))
            across = min(across, WIDTH - _LETTER * len(text) / 2)
            self._text(text, across, self.bottom + 14, "middle")
        axis = {"x1": self.left, "y1": self.bottom, "x2": self.right, "y2": self.bottom}
        self._add(element("line", **axis, class_="axis"))
        if self.y.label:
            self._text(self.y.label, 0.0, 12.0, "start", "label")
        if self.x.label:
            middle = (self.left + self.right) / 2
            room = min(middle, WIDTH - middle) * 2
            at = middle if _LETTER * len(self.x.label) < room else WIDTH / 2
            self._text(self.x.label, at, self.bottom + 30, "middle", "label")

    def _text(self, text: str, x: float, y: float, anchor: str, kind: str | None = None) -> None:
        shown = short(text) if kind is None else text
        drawn = element("text", shown, x=x, y=y, text_anchor=anchor, class_=kind)
        self._add(drawn, text if shown != text else "")

    def _add(self, drawn: Element, said: str = "") -> None:
        if said:
            SubElement(drawn, "title")
            filled(drawn[-1], [said])
        self.svg.append(drawn)


def _apart(ticks: Sequence[tuple[float, str]], chart: Chart) -> list[tuple[float, str]]:
    """The ticks below a chart whose labels do not meet; the last one is among them."""
    found: list[tuple[float, str]] = []
    free = math.inf  # left of the label behind
    for value, text in reversed(ticks):
        half = _LETTER * len(text) / 2
        across = min(chart.at(value, chart.y.low)[0], WIDTH - half)
        if across + half <= free:
            found.insert(0, (value, text))
            free = across - half - 6
    return found


def short(name: str, most: int = _MOST_NAME) -> str:
    """A name for which there is little room: its end, which tells layers apart."""
    return name if len(name) <= most else "…" + name[-(most - 1) :]


def dashes(style: Style) -> dict[str, str]:
    """The attributes of a line with the dashes of a style."""
    if isinstance(style.dashes, str):
        return {}
    return {"stroke_dasharray": " ".join(number(_LINE * one) for one in style.dashes[1])}


def marker(style: Style, x: float, y: float, size: float = 3.4) -> Element:
    """The marker of a style, its middle at (x, y)."""
    look = {"class_": "mark", "style": themed(style.colour)}
    if style.marker in _SIDES:
        return element("path", d=_polygon(style.marker, x, y, size), **look)
    if style.marker in ("X", "P"):
        arm = size * (0.75 if style.marker == "X" else 1.0)
        ends = [(-arm, -arm, arm, arm), (-arm, arm, arm, -arm)]
        if style.marker == "P":
            ends = [(-arm, 0.0, arm, 0.0), (0.0, -arm, 0.0, arm)]
        path = "".join(
            f"M{number(x + a)} {number(y + b)}L{number(x + c)} {number(y + d)}"
            for a, b, c, d in ends
        )
        return element("path", d=path, class_="cross", style=look["style"])
    return element("circle", cx=x, cy=y, r=size * 0.95, **look)


def _polygon(kind: str, x: float, y: float, size: float) -> str:
    sides, turn = _SIDES[kind], _TURNS.get(kind, 0.0)
    wide = 0.65 if kind == "d" else 1.0
    corners = []
    for corner in range(sides):
        angle = math.radians(turn + 360.0 * corner / sides)
        corners.append((x + wide * 1.2 * size * math.sin(angle), y - 1.2 * size * math.cos(angle)))
    return "M" + "L".join(f"{number(a)} {number(b)}" for a, b in corners) + "Z"
