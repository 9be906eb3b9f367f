"""The marked places of the pages, and what stands in them.

In Markdown a figure is `<!--=NAME-->97.04 ± 0.17<!--/-->`, and a table stands between the lines
`<!--table NAME-->` and `<!--/table-->`; neither is seen when the page is rendered. In the header of
a recipe the lines that `tables.HEADERS` names are marked by their first word.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from quoted.store import ROOT

FIGURE = re.compile(r"<!--=(\S+?)-->(.*?)<!--/-->", re.DOTALL)
TABLE = re.compile(r"^<!--table (\S+?)-->\n(.*?)^<!--/table-->$", re.DOTALL | re.MULTILINE)
# A line that begins with a comment is HTML to the end, and its Markdown is not read.
_FIRST_ON_ITS_LINE = re.compile(r"^ *(?:[-*] +|\d+\. +)?<!--(?:=|/-->)", re.MULTILINE)


class PageError(Exception):
    """A page's marks are wrong; the message says where."""


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that may quote a figure."""
    return [
        root / "README.md",
        *sorted(root.glob("docs/*.md")),
        root / "benchmarks" / "README.md",
        *sorted(root.glob("recipes/*.yaml")),
    ]


def rewritten(
    path: Path,
    figures: Mapping[str, str],
    tables: Mapping[str, str],
    headers: Mapping[str, Mapping[str, str]],
) -> str:
    """The text of a page with every marked place filled in. Raises PageError for a name that no
    stored result has, and for a mark that would change how the page is rendered."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return _with_header(path, text, headers.get(path.stem, {}), figures)
    if wrong := _FIRST_ON_ITS_LINE.search(text):
        line = text[: wrong.start()].count("\n") + 1
        raise PageError(f"{path}:{line}: a figure's mark must not be the first of its line")
    unmarked = TABLE.sub("", FIGURE.sub("", text))
    if stray := re.search(r"<!--(=|/|table )", unmarked):
        raise PageError(
            f"{path}: a mark without its other end: ...{unmarked[stray.start() :][:60]}"
        )

    def table(found: re.Match[str]) -> str:
        if found[1] not in tables:
            raise PageError(f"{path}: no table '{found[1]}'")
        body = fill(path, tables[found[1]], figures)
        return f"<!--table {found[1]}-->\n{body}\n<!--/table-->"

    text = TABLE.sub(table, text)
    return FIGURE.sub(
        lambda found: f"<!--={found[1]}-->{_figure(path, found[1], figures)}<!--/-->", text
    )


def fill(path: Path, template: str, figures: Mapping[str, str]) -> str:
    """`template` with each {NAME} replaced by the figure of that name."""
    return re.sub(r"\{([^{}\s]+)\}", lambda found: _figure(path, found[1], figures), template)


def difference(path: Path, new: str) -> str:
    """A page as it is and as it should be, as a diff without context; empty where they agree."""
    old = path.read_text(encoding="utf-8")
    name, stored = str(path.relative_to(ROOT)), "from the stored results"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, stored, n=0, lineterm="")
    return "\n".join(lines)


def _figure(path: Path, name: str, figures: Mapping[str, str]) -> str:
    if name not in figures:
        near = difflib.get_close_matches(name, figures, n=3)
        raise PageError(f"{path}: no stored result has '{name}'; near: {', '.join(near) or '-'}")
    return figures[name]


def _with_header(
    path: Path, text: str, lines: Mapping[str, str], figures: Mapping[str, str]
) -> str:
    """`# Expect:  ...` and the like of a recipe, in the ASCII of its comments."""
    for word, template in lines.items():
        new = fill(path, template, figures).replace("±", "+-").replace("\\", r"\\")
        text, count = re.subn(rf"^(# {word}: +).*$", rf"\g<1>{new}", text, flags=re.MULTILINE)
        if count != 1:
            raise PageError(f"{path}: {count} lines '# {word}:', one is needed")
    return text
