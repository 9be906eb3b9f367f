"""How a table fits a terminal: header lines are broken, long text is folded, what is left over is
turned round or split into parts. No cell is cut."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

GAP = 3  # between two columns of a printed table
FOLDED = 16  # the least width of text that is folded
LONG = 24  # a cell longer than this is text that may be folded, between words
NAME = 40  # a word longer than this is folded too
READABLE = 30  # a list leaves out columns before its text is narrower


@dataclass(frozen=True)
class Grid:
    """A table as text. The first `keys` columns say what a row is about; `right` says which columns
    are aligned to the right, `labels` whose text is broken between words as headers are,
    `optional` which a list can do without, in the order they go. `bold` are cells (row, column)."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    keys: int = 1
    labels: tuple[int, ...] = ()
    optional: tuple[int, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()

    def only(self, columns: Sequence[int]) -> "Grid":
        """The grid with these columns alone."""
        return replace(
            self,
            header=tuple(self.header[one] for one in columns),
            rows=tuple(tuple(row[one] for one in columns) for row in self.rows),
            right=tuple(self.right[one] for one in columns),
            labels=tuple(n for n, one in enumerate(columns) if one in self.labels),
            optional=(),
            bold=frozenset(
                (row, n) for n, one in enumerate(columns) for row, at in self.bold if at == one
            ),
        )

    def turned(self) -> "Grid":
        """Quantities down, rows across."""
        head, *lines = zip(self.header, *self.rows, strict=True)
        right = (False, *(True for _ in self.rows))
        bold = frozenset((column - 1, row + 1) for row, column in self.bold)
        return Grid(tuple(head), tuple(map(tuple, lines)), right, labels=(0,), bold=bold)


@dataclass(frozen=True)
class Fitted:
    """The parts of a table, one below the other, each with the widths of its columns, and the
    headers of the columns that were left out."""

    parts: tuple[tuple[Grid, tuple[int, ...]], ...]
    left_out: tuple[str, ...] = ()


def fit(grid: Grid, width: int) -> Fitted:
    """Lay out `grid` for a terminal of `width` characters.

    A list (one with `optional` columns) leaves some out. Else the first of these that fits: as it
    is; quantities down and rows across; parts below each other that repeat the key columns.
    """
    if grid.optional:
        return _list(grid, width)
    if widths := _widths(grid, width):
        return Fitted(((grid, widths),))
    turned = grid.turned()
    if len(grid.header) > 2 and (widths := _widths(turned, width)):
        return Fitted(((turned, widths),))
    return Fitted(tuple(_parts(grid, width)))


def _list(grid: Grid, width: int) -> Fitted:
    """A list without the first optional columns that it has no room for."""
    every = range(len(grid.header))

    def fits(columns: set[int]) -> tuple[int, ...] | None:
        return _widths(grid.only(sorted(columns)), width, least=READABLE)

    kept = set(every)
    gone: list[int] = []
    while fits(kept) is None and len(gone) < len(grid.optional):
        gone.append(grid.optional[len(gone)])
        kept.remove(gone[-1])
    for column in reversed(gone):  # room that a wide one had, for one that is narrow
        if fits({*kept, column}) is not None:
            kept.add(column)
    some = grid.only(sorted(kept))
    widths = fits(kept) or _widths(some, width) or _squeezed(some, width)
    left_out = tuple(label for n, label in enumerate(grid.header) if n not in kept)
    return Fitted(((some, widths),), left_out)


def _parts(grid: Grid, width: int) -> Iterator[tuple[Grid, tuple[int, ...]]]:
    """As many columns beside the keys as fit, then the next ones."""
    keys = list(range(min(grid.keys, len(grid.header) - 1)))
    taken: list[int] = []
    for column in range(len(keys), len(grid.header)):
        if taken and _widths(grid.only([*keys, *taken, column]), width) is None:
            yield _part(grid, [*keys, *taken], width)
            # What is the same in all rows is said once.
            keys = [key for key in keys if len({row[key] for row in grid.rows}) > 1] or keys[:1]
            taken = []
        taken.append(column)
    yield _part(grid, [*keys, *taken], width)


def _part(grid: Grid, columns: list[int], width: int) -> tuple[Grid, tuple[int, ...]]:
    part = grid.only(columns)
    return part, _widths(part, width) or _squeezed(part, width)


def _widths(grid: Grid, width: int, least: int = FOLDED) -> tuple[int, ...] | None:
    """The width of each column in `width` characters; None if they do not fit. Headers are broken
    between words, and text that is LONG is folded, down to `least` characters."""
    cells: list[tuple[str, ...]] = list(zip(*grid.rows, strict=True))
    columns = list(zip(grid.header, cells or [()] * len(grid.header), strict=True))
    whole = [max(map(len, (label, *texts))) for label, texts in columns]
    widths = []
    for number, (label, texts) in enumerate(columns):
        labels = (label, *texts) if number in grid.labels else (label,)
        cells_least = () if number in grid.labels else (_least(text, least) for text in texts)
        widths.append(max(0, *_words(*labels), *cells_least))
    room = width - GAP * len(whole) - sum(widths)
    if room < 0:
        return None
    # What is left goes where most is broken, and the higher header decides.
    for _ in range(min(room, sum(whole) - sum(widths))):
        narrow = [n for n in range(len(whole)) if widths[n] < whole[n]]
        widths[max(narrow, key=lambda n: whole[n] / widths[n])] += 1
    return tuple(widths)


def _least(cell: str, least: int) -> int:
    return len(cell) if len(cell) <= LONG else min(len(cell), max(least, *_words(cell)))


def _words(*texts: str) -> list[int]:
    """The lengths of words, which are not folded; those of a NAME at most."""
    lengths = (len(word) for text in texts for word in text.split())
    return [0, *(one if one <= NAME else FOLDED for one in lengths)]


def _squeezed(grid: Grid, width: int) -> tuple[int, ...]:
    """Equal widths, for a terminal that is too narrow for anything else."""
    count = len(grid.header)
    return (max(1, (width - GAP * count) // count),) * count


def drawn(grid: Grid, widths: Iterable[int]) -> Any:
    """A part as a table of rich. Without a header where all labels are empty."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # `ascii`, since rich would draw a frame where a stream has no line: what it has instead is
    # decided where text is written.
    table = Table(
        box=box.Box(str(box.SIMPLE_HEAD), ascii=True),
        show_header=any(grid.header),
        pad_edge=False,
    )
    for label, right, width in zip(grid.header, grid.right, widths, strict=True):
        justify: Any = "right" if right else "left"
        table.add_column(Text(label), justify=justify, overflow="fold", width=width)
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
