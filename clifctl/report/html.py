"""Tables as HTML: for a notebook, and for a page. Every text is escaped."""

from collections.abc import Sequence
from html import escape
from xml.etree.ElementTree import Element

from clifctl.commands import visible
from clifctl.report.elements import as_html, element
from clifctl.report.layout import Grid


def html_table(
    title: str, grid: Grid, notes: tuple[str, ...], *, caption: str | None, label: str | None
) -> str:
    """A title (or caption), a table unless the grid has no columns, and the notes below."""
    elements = table_elements(title, grid, notes, caption=caption, label=label)
    return "\n".join(map(as_html, elements))


def table_elements(
    title: str, grid: Grid, notes: tuple[str, ...], *, caption: str | None, label: str | None
) -> list[Element]:
    """The same as elements."""
    found = [element("p", element("b", caption or title), id=label)]
    if grid.header:
        rows = [
            _row("td", [_cell(cell, (at, n) in grid.bold) for n, cell in enumerate(row)], grid)
            for at, row in enumerate(grid.rows)
        ]
        head = element("thead", _row("th", grid.header, grid)) if any(grid.header) else None
        found.append(element("table", head, element("tbody", *rows)))
    return [*found, *(element("p", element("small", note)) for note in notes)]


def html_text(text: str) -> str:
    """A text, such as YAML, as it is."""
    shown = visible(text, keep="\n\t")
    return f"<pre>{escape(shown)}</pre>"


def html_page(title: str, parts: list[str], comment: tuple[str, ...]) -> str:
    """A whole page of the parts. Needs no network and no script."""
    said = "\n".join(f"<!-- {escape(visible(line))} -->" for line in comment)
    lines = ["<!DOCTYPE html>", said, '<html lang="en">', '<meta charset="utf-8">']
    lines += [f"<title>{escape(visible(title))}</title>", *parts, "</html>"]
    return "\n".join(filter(None, lines)) + "\n"


def _row(tag: str, cells: Sequence[str | Element], grid: Grid) -> Element:
    pairs = zip(cells, grid.right, strict=True)
    sides = {True: "text-align: right", False: "text-align: left"}
    return element("tr", *(element(tag, cell, style=sides[right]) for cell, right in pairs))


def _cell(text: str, bold: bool) -> str | Element:
    return element("b", text) if bold else text
