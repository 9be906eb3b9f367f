"""Tables as HTML: for a notebook, and for a page. Every text is escaped."""

from html import escape

from clifctl.commands import visible
from clifctl.report.layout import Grid

_RIGHT = ' style="text-align: right"'
_LEFT = ' style="text-align: left"'


def html_table(
    title: str, grid: Grid, notes: tuple[str, ...], *, caption: str | None, label: str | None
) -> str:
    """A title (or caption), a table unless the grid has no columns, and the notes below."""
    aligned = [_RIGHT if right else _LEFT for right in grid.right]
    anchor = "" if label is None else f' id="{escape(label)}"'
    lines = [f"<p{anchor}><b>{_text(caption or title)}</b></p>"]
    if grid.header:
        lines.append("<table>")
        if any(grid.header):
            head = [_text(cell) for cell in grid.header]
            lines += ["<thead>", _row("th", head, aligned), "</thead>"]
        lines.append("<tbody>")
        for at, row in enumerate(grid.rows):
            cells = [
                f"<b>{_text(cell)}</b>" if (at, column) in grid.bold else _text(cell)
                for column, cell in enumerate(row)
            ]
            lines.append(_row("td", cells, aligned))
        lines += ["</tbody>", "</table>"]
    lines += [f"<p><small>{_text(note)}</small></p>" for note in notes]
    return "\n".join(lines)


def html_text(text: str) -> str:
    """A text, such as YAML, as it is."""
    shown = visible(text, keep="\n\t")
    return f"<pre>{escape(shown)}</pre>"


def html_page(title: str, parts: list[str], comment: tuple[str, ...]) -> str:
    """A whole page of the parts. Needs no network and no script."""
    said = "\n".join(f"<!-- {_text(line)} -->" for line in comment)
    lines = ["<!DOCTYPE html>", said, '<html lang="en">', '<meta charset="utf-8">']
    lines += [f"<title>{_text(title)}</title>", *parts, "</html>"]
    return "\n".join(filter(None, lines)) + "\n"


def _row(tag: str, cells: list[str], aligned: list[str]) -> str:
    pairs = zip(cells, aligned, strict=True)
    return "<tr>" + "".join(f"<{tag}{how}>{cell}</{tag}>" for cell, how in pairs) + "</tr>"


def _text(text: str) -> str:
    return escape(visible(text))
