"""Figures and tables as a page has them: a drawing, its legend below it, and what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from clifctl.report.elements import Child, element
from clifctl.report.page.chart import dashes, marker
from clifctl.report.page.colours import themed
from clifctl.report.styles import Style


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a style of a line with markers, or the colour of an area."""

    text: str
    style: Style | None = None
    colour: str | None = None


def figure(title: str, svg: Element, *, keys: Sequence[Key] = (), caption: str = "") -> Element:
    """A drawing with a title above it, and below it the legend and what there is to know."""
    legend = element("ul", *map(_key, keys), class_="legend") if keys else None
    said = element("p", caption, class_="note") if caption else None
    head = element("figcaption", title)
    return element("figure", head, svg, legend, said)


def figures(*shown: Element | None) -> Element:
    """Figures side by side, as many as there is room for."""
    return element("div", *shown, class_="figures")


def tiles(values: Sequence[tuple[str, str, str]]) -> Element:
    """Large numbers: what it is, the value, and what to know of it."""
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", what),
                element("dd", value),
                element("dd", note, class_="note") if note else None,
            )
            for what, value, note in values
        ),
        class_="tiles",
    )


def pairs(title: str, values: Sequence[tuple[str, str]]) -> Element:
    """A card of names and values."""
    rows = [
        element("div", element("dt", name), element("dd", value, class_="value"))
        for name, value in values
    ]
    return element("div", element("h4", title), element("dl", *rows), class_="card")


def cards(shown: Sequence[Element]) -> Element:
    """Cards side by side, as many as there is room for."""
    return element("div", *shown, class_="cards")


def named_values(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The keys and values of a document in words."""
    return [(str(key), _value(value)) for key, value in document.items()]


def folded(title: str, *children: Child) -> Element:
    """What is only shown when it is asked for, and on paper."""
    return element("details", element("summary", title), *children)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _key(one: Key) -> Element:
    sample = element("svg", viewBox="0 0 26 10", aria_hidden="true")
    if one.colour is not None:
        look = {"class_": "fill", "style": themed(one.colour)}
        sample.append(element("rect", x=3.0, y=0.0, width=20.0, height=10.0, **look))
    elif one.style is not None:
        look = {"class_": "line", "style": themed(one.style.colour)}
        sample.append(element("path", d="M1 5H25", **look, **dashes(one.style)))
        if one.style.marker:
            sample.append(marker(one.style, 13.0, 5.0))
    return element("li", sample, one.text)
