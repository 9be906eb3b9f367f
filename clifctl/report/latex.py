"""Tables as LaTeX, for a paper: booktabs, numbers in mathematics, every text escaped. A document
needs `booktabs`, and `longtable` for a table that is longer than a page."""

import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from clifctl.commands import visible
from clifctl.report.layout import Grid

_LONG = 24  # a cell with more letters than this is text that may be broken into lines
_NARROWEST = 0.22  # of a column of such text, as a share of the line
_LONG_WORD = 14
_MAY_BREAK = re.compile(r"(\\_|[/,.:=-])(?=\w)")
_LEAST_LETTERS = 12  # in a line of a header
# Computer Modern of 10 points, and the text of an `article`, in points.
_LETTER, _CAPITAL = 4.9, 7.0
_LETTERS = {**dict.fromkeys("iljt.,:;|'()[] ", 3.2), **dict.fromkeys("mwMW", 8.0)}
_LETTERS |= dict.fromkeys("±+=<>", 7.8)
_GAP_POINTS = 12.0  # between two columns
_TEXT_POINTS = 345.0
_INCH = 72.27
_PAGE_INCHES = 6.75  # the text of a page of two columns
_PAGE_LINES = 42
# A number with its sign, thousands, fraction and exponent, which may have an error behind it.
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_IS_NUMBER = re.compile(rf"{_NUMBER}(?: ± {_NUMBER})?")
_EXPONENT = re.compile(r"e([-+]?)0*(\d+)")

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "{''}",
    # Behind the end of a row these would be read as its options.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "\N{MINUS SIGN}": "$-$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "†": r"$^{\dagger}$",
    "°": r"\textdegree{}",
    "µ": r"\textmu{}",
    "…": r"\ldots{}",
    "\N{EN DASH}": r"\textendash{}",
    "—": r"\textemdash{}",
    "\N{NO-BREAK SPACE}": "~",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "œ": r"\oe{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
}
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi"),
    *("omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"),
)


def _greek(name: str) -> str:
    size = "small" if name.islower() else "capital"
    return unicodedata.lookup(f"greek {size} letter {name.lower().replace('lambda', 'lamda')}")


_SIGNS |= {_greek(name): rf"$\{name}$" for name in _GREEK}
# The commands of accents, by their combining characters.
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u"},
    **{"\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c"},
}


def latex_table(
    title: str, grid: Grid, notes: tuple[str, ...], *, caption: str | None, label: str | None
) -> str:
    """A `table` of LaTeX with a caption (the title where none is given) and the notes below;
    the notes alone, as text, where the grid has no columns. One that is longer than a page is a
    `longtable`."""
    below = list(map(_note, notes))
    head = rf"  \caption{{{escaped(caption or title)}}}"
    name = [] if label is None else [rf"  \label{{{label}}}"]
    if not grid.header:
        said = rf"\par\medskip\noindent\textbf{{{escaped(caption or title)}}}\par"
        return "\n".join([said, *name, *below]) + "\n"
    inches = width_inches(grid)
    wide = [] if inches is None else [f"% {too_wide(inches)}"]
    columns = _columns(grid)
    if _lines(grid, columns) > _PAGE_LINES:
        return "\n".join([*wide, *_long(grid, columns, head, name), *below]) + "\n"
    lines = [
        *(*wide, r"\begin{table}", r"  \centering", head, *name),
        *(f"  {line}" for line in _tabular(grid, columns)),
        *(*below, r"\end{table}"),
    ]
    return "\n".join(lines) + "\n"


def _note(text: str) -> str:
    look = r"\footnotesize" if _points(text) < _TEXT_POINTS else r"\footnotesize\raggedright"
    return rf"  \par\smallskip{{{look} {escaped(text)}\par}}"


def too_wide(inches: float) -> str:
    """What to do about a table that is wider than a page."""
    return (
        f"about {inches:.1f} inches wide, and a page has {_PAGE_INCHES}: --columns A,B,... has "
        "fewer columns, --transpose has quantities down, --table NAME is one of several"
    )


def width_inches(grid: Grid) -> float | None:
    """How wide a table is, where a page is narrower; None for one that fits."""
    widths = [
        _NARROWEST * _TEXT_POINTS if one.share is not None else one.points for one in _columns(grid)
    ]
    inches = (sum(widths) + _GAP_POINTS * len(widths)) / _INCH
    return inches if inches > _PAGE_INCHES else None


def latex_text(text: str) -> str:
    """A text, such as YAML, line by line. No `verbatim`: what is given could end it."""
    lines = [_indented(line) for line in text.splitlines()]
    ended = "".join(rf"\mbox{{}}{line}\\" + "\n" for line in lines)
    return f"{{\\footnotesize\\ttfamily\\noindent\n{ended}\\par}}\n"


def latex_comment(lines: tuple[str, ...]) -> str:
    """Lines that LaTeX does not read."""
    return "".join(f"% {visible(line)}\n" for line in lines)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, whatever it holds: no command of it is carried out."""
    signs = "".join(map(_sign, visible(text)))
    return re.sub("([-'])(?=\\1)", r"\1{}", signs)  # two of them would be another sign


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if character.isascii():
        return character
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        letter = rf"\{letter}" if letter in "ij" else letter
        return rf"\{_ACCENTS[marks[0]]}{{{letter}}}"
    # LaTeX has no glyph for it, and would stop.
    return f"{{[}}U+{ord(character):04X}]"


@dataclass(frozen=True)
class _Column:
    """How a column is set: to the right or not, its width in points, and if its text is broken into
    lines, the share of the line that it has."""

    right: bool
    points: float
    header: tuple[str, ...]
    share: float | None = None

    @property
    def kind(self) -> str:
        """As `tabular` names it."""
        if self.share is not None:
            return rf"p{{{self.share:.2f}\linewidth}}"
        return "r" if self.right else "l"


def _columns(grid: Grid) -> list[_Column]:
    """The columns of a table: headers are broken between words and long text into lines, where it
    would be wider than the text of a page."""
    cells = list(zip(*grid.rows, strict=True)) if grid.rows else [()] * len(grid.header)
    longest = [max(map(_points, column), default=0.0) for column in cells]
    heads: list[tuple[str, ...]] = [(label,) for label in grid.header]
    right = _to_the_right(grid)

    def widths() -> list[float]:
        return [max(w, *map(_points, h)) for w, h in zip(longest, heads, strict=True)]

    room = _TEXT_POINTS - _GAP_POINTS * len(heads)
    if sum(widths()) > room:
        letters = [max(_LEAST_LETTERS, int(points / _LETTER)) for points in longest]
        heads = [
            tuple(textwrap.wrap(label, width, break_long_words=False)) or ("",)
            for label, width in zip(grid.header, letters, strict=True)
        ]
    found = [_Column(*one) for one in zip(right, widths(), heads, strict=True)]
    text = [n for n, one in enumerate(longest) if one > _LONG * _LETTER]
    fixed = sum(one.points for n, one in enumerate(found) if n not in text)
    if text and sum(one.points for one in found) > room:
        share = min(max((room - fixed) / len(text) / _TEXT_POINTS, _NARROWEST), 0.9)
        for n in text:
            found[n] = replace(found[n], share=share)
    return found


def _points(text: str) -> float:
    """The width of text in Computer Modern of 10 points, about."""
    return sum(_LETTERS.get(one, _CAPITAL if one.isupper() else _LETTER) for one in text)


def _lines(grid: Grid, columns: list[_Column]) -> int:
    """How many lines the rows of a table have."""
    return sum(
        max(
            1 if one.share is None else math.ceil(_points(cell) / (one.share * _TEXT_POINTS))
            for cell, one in zip(row, columns, strict=True)
        )
        for row in grid.rows
    )


def _tabular(grid: Grid, columns: list[_Column]) -> list[str]:
    return [
        rf"\begin{{tabular}}{{{_kinds(columns)}}}",
        *_header(grid, columns),
        *_rows(grid, columns),
        *(r"  \bottomrule", r"\end{tabular}"),
    ]


def _kinds(columns: list[_Column]) -> str:
    return "".join(one.kind for one in columns)


def _header(grid: Grid, columns: list[_Column]) -> list[str]:
    if not any(grid.header):
        return [r"  \toprule"]
    return [r"  \toprule", f"  {_row(map(_head, columns))}", r"  \midrule"]


def _head(column: _Column) -> str:
    lines = [escaped(line) for line in column.header]
    if len(lines) == 1 or column.share is not None:
        return " ".join(lines)
    side = "r" if column.right else "l"
    broken = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{broken}\end{{tabular}}"


def _rows(grid: Grid, columns: list[_Column]) -> list[str]:
    found = []
    for at, row in enumerate(grid.rows):
        cells = [_cell(text, bold=(at, column) in grid.bold) for column, text in enumerate(row)]
        # Justified, a few words in a line would be torn apart.
        cells = [
            _paragraph(cell) if one.share is not None and len(text) > _LONG else cell
            for cell, text, one in zip(cells, row, columns, strict=True)
        ]
        found.append(f"  {_row(cells)}")
    return found


def _paragraph(cell: str) -> str:
    """Text that is broken into lines, also within long words, such as paths and names."""
    words = [
        _MAY_BREAK.sub(r"\1\\allowbreak{}", word) if len(word) > _LONG_WORD else word
        for word in cell.split(" ")
    ]
    return rf"\rightskip=0pt plus 4em\relax {' '.join(words)}"


def _long(grid: Grid, columns: list[_Column], head: str, name: list[str]) -> list[str]:
    """A table over several pages, each with the header."""
    header = _header(grid, columns)
    return [
        "% longer than a page: needs the package longtable, and text in one column",
        rf"\begin{{longtable}}{{{_kinds(columns)}}}",
        *(head, *name, r"  \\", *header, r"  \endfirsthead"),
        *(*header, r"  \endhead", r"  \bottomrule", r"  \endfoot"),
        *_rows(grid, columns),
        r"\end{longtable}",
    ]


def _to_the_right(grid: Grid) -> list[bool]:
    """Columns of numbers, whose digits stand below each other."""
    columns = zip(*grid.rows, strict=True) if grid.rows else [()] * len(grid.header)
    return [
        right or (bool(set(cells) - {"-"}) and all(map(_is_number, set(cells) - {"-"})))
        for right, cells in zip(grid.right, columns, strict=True)
    ]


def _is_number(cell: str) -> bool:
    return _IS_NUMBER.fullmatch(cell) is not None


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, *, bold: bool) -> str:
    if text == "-":
        return "--"
    if not _is_number(text):
        return rf"\textbf{{{escaped(text)}}}" if bold else escaped(text)
    number = text.replace(",", "{,}").replace("±", r"\pm")
    number = _EXPONENT.sub(lambda found: rf" \times 10^{{{found[1].strip('+')}{found[2]}}}", number)
    return rf"$\mathbf{{{number}}}$" if bold else f"${number}$"


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return "~" * (len(line) - len(text)) + escaped(text)
