"""A section of a page: what it is about, what it shows, and the command that made that."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from clifctl.report.elements import element
from clifctl.report.page.figure import folded
from clifctl.report.render import Table, elements_of

_WIDE = 7  # a table of more columns is turned round, where it has fewer rows than that
_LONG = 14  # a table of more rows is shown when it is asked for
_MOST_ROWS = 500


@dataclass(frozen=True)
class Section:
    """`missing` says why there is nothing to show."""

    title: str
    parts: tuple[Element, ...] = ()
    command: str | None = None
    missing: str | None = None


def paragraph(text: str, kind: str | None = None) -> Element:
    """A paragraph of text."""
    return element("p", text, class_=kind)


def sentences(lines: Iterable[str], kind: str | None = None) -> Element | None:
    """Sentences one below the other, each a point of a list; None where there are none."""
    items = [element("li", line) for line in lines]
    return element("ul", *items, class_=kind) if items else None


def table(one: Table, *, fold: bool | None = None) -> Element:
    """A table of a report. One that is wider than a phone is turned round where that makes it
    narrower; a long one is shown when it is asked for (or as `fold` says)."""
    if len(one.rows) > _MOST_ROWS:
        note = f"The first {_MOST_ROWS} of {len(one.rows):,} rows: csv and JSON have all."
        one = dataclasses.replace(one, rows=one.rows[:_MOST_ROWS], notes=(note, *one.notes))
    if len(one.columns) > _WIDE and len(one.rows) < _WIDE and not one.vertical:
        one = dataclasses.replace(one, transposed=True)
    parts = []
    for part in elements_of(one):
        scrolled = (
            element("div", part, class_="scroll", tabindex="0") if part.tag == "table" else part
        )
        parts.append(scrolled)
    if len(one.rows) > _LONG if fold is None else fold:
        return folded(one.title, *parts[1:])
    return element("div", *parts, class_="table")


def tables(several: Iterable[Table], *, fold: bool | None = None) -> tuple[Element, ...]:
    """Several tables of a report."""
    return tuple(table(one, fold=fold) for one in several)
