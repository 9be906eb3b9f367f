"""Tables as LaTeX, for a paper: booktabs, numbers in mathematics, every text escaped. A document
needs `booktabs` and nothing else."""

import re
import unicodedata
from collections.abc import Iterable

from clifctl.commands import visible
from clifctl.report.layout import Grid

_LONG = 40  # a cell longer than this is text that is broken into lines
_WIDTH = 0.45  # of a column of long text, as a share of the line
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
    """A `table` of LaTeX with a caption (the title where none is given) and the notes below; the
    notes alone where the grid has no columns."""
    below = [rf"  \par\smallskip{{\footnotesize {escaped(note)}\par}}" for note in notes]
    lines = [r"\begin{table}", r"  \centering", rf"  \caption{{{escaped(caption or title)}}}"]
    if label is not None:
        lines.append(rf"  \label{{{label}}}")
    if grid.header:
        lines += [f"  {line}" for line in _tabular(grid)]
    return "\n".join([*lines, *below, r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    """A text, such as YAML, line by line. No `verbatim`: what is given could end it."""
    lines = [_indented(line) for line in text.splitlines()]
    ended = "".join(rf"\mbox{{}}{line}\\" + "\n" for line in lines)
    return f"{{\\ttfamily\\noindent\n{ended}\\par}}\n"


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


def _tabular(grid: Grid) -> list[str]:
    wide = [any(len(row[at]) > _LONG for row in grid.rows) for at in range(len(grid.header))]
    share = _WIDTH if sum(wide) < 2 else 0.9 / sum(wide)
    paragraph = rf"p{{{share:.2f}\linewidth}}"
    kinds = [
        paragraph if is_wide else "r" if right else "l"
        for is_wide, right in zip(wide, _to_the_right(grid), strict=True)
    ]
    lines = [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"  \toprule"]
    if any(grid.header):
        lines += [f"  {_row(map(escaped, grid.header))}", r"  \midrule"]
    for at, row in enumerate(grid.rows):
        cells = [_cell(text, bold=(at, column) in grid.bold) for column, text in enumerate(row)]
        lines.append(f"  {_row(cells)}")
    return [*lines, r"  \bottomrule", r"\end{tabular}"]


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
