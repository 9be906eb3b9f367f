"""A confusion matrix as a picture: how often each class (row) was decided to be each (column)."""

from typing import Any

import numpy as np

from clifctl.report.panels import DIGIT, write_in_cells
from clifctl.report.pictures import Layout
from clifctl.report.styles import Style
from clifctl.results.eval import ConfusedPair, Confusion

MOST_NAMED = 20  # classes whose names, and numbers, have room; of more the pairs are listed
_MOST_PAIRS = 20
_MOST_LETTERS = 16
_POINTS = 72.0
_SMALLEST, _LARGEST = 6.0, 6.5  # of numbers in cells
_LETTER_INCHES = 0.056  # of a class's name
_PAIRS = Style("#00508C", "o", "none")


def panels_below(figure: Any, confusion: Confusion, layout: Layout, above: float) -> list[Any]:
    """Divide the empty `figure` into one of `above` inches, and below it one with the matrix and,
    of many classes, one with the pairs that are confused most; each is laid out by itself."""
    many = len(confusion.counts) > MOST_NAMED
    width = layout.width if layout.narrow or not many else layout.width / 2
    heights = [_matrix_height(confusion, width)]
    if many:
        heights.append(0.8 + 0.13 * len(confusion.most_confused(_MOST_PAIRS)))
    if layout.narrow:
        sizes = [above, *heights]
        figure.set_size_inches(layout.width, sum(sizes) * layout.stretch)
        return list(figure.subfigures(len(sizes), 1, height_ratios=sizes))
    sizes = [above, max(heights)]
    figure.set_size_inches(layout.width, sum(sizes) * layout.stretch)
    first, below = figure.subfigures(2, 1, height_ratios=sizes)
    return [first, *(below.subfigures(1, 2) if many else [below])]


def _matrix_height(confusion: Confusion, width: float) -> float:
    """The height in inches of a panel as wide as `width` with the matrix, whose cells are square,
    with the names below it and the scale."""
    names = _LETTER_INCHES * max(map(len, _names(confusion)))
    many = len(confusion.counts) > MOST_NAMED
    side = 3.0 if many else 0.3 * len(confusion.counts)
    return min(side, width - 0.3 - (0.2 if many else names)) + (0.2 if many else names) + 0.9


def draw_matrix(figure: Any, confusion: Confusion) -> str:
    """Draw the matrix into `figure`, each row as shares of its class; with numbers where they have
    room. Returns what a note has to say."""
    from matplotlib.colors import PowerNorm

    axis = figure.subplots()
    counts = np.array(confusion.counts)
    shares = 100.0 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Few of many are seen too.
    scale = PowerNorm(0.5, vmin=0.0, vmax=100.0)
    image = axis.imshow(shares, cmap="Blues", norm=scale, interpolation="nearest")
    axis.spines[:].set_visible(True)
    axis.tick_params(length=0)
    bar = figure.colorbar(
        image, ax=axis, label="share of the class [%]", location="bottom", aspect=30, shrink=0.9
    )
    bar.set_ticks([0, 1, 5, 10, 25, 50, 100], labels=["0", "1", "5", "10", "25", "50", "100"])
    bar.outline.set_linewidth(0.4)
    axis.set_xlabel("decided")
    axis.set_ylabel("class")
    if len(counts) <= MOST_NAMED:
        _write(figure, axis, image, confusion)
    return "Confusion: what the samples of each class (row) were decided to be."


def draw_pairs(figure: Any, confusion: Confusion) -> str:
    """Draw the pairs that are confused most into `figure`, the first on top, and how often. Returns
    what a note has to say."""
    axis = figure.subplots()
    pairs = confusion.most_confused(_MOST_PAIRS)
    axis.plot(
        [pair.samples for pair in pairs],
        range(len(pairs)),
        _PAIRS.marker,
        color=_PAIRS.colour,
    )
    axis.set_yticks(range(len(pairs)), [_in_words(pair) for pair in pairs])
    axis.set_ylim(len(pairs) - 0.4, -0.6)
    axis.set_xlim(0, 1.05 * max((pair.samples for pair in pairs), default=1))
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_xlabel("samples")
    axis.grid(axis="x")
    wrong = sum(pair.samples for pair in confusion.pairs() if pair.label != pair.decided)
    shown = sum(pair.samples for pair in pairs)
    return (
        f"Pairs (class > decided): the {len(pairs)} most frequent, {shown:,} of {wrong:,} errors."
    )


def _write(figure: Any, axis: Any, image: Any, confusion: Confusion) -> None:
    """Write the names of the classes, and the counts that are not 0 where they have room."""
    names, counts = _names(confusion), np.array(confusion.counts)
    turned = 90 if max(map(len, names)) > 2 else 0
    axis.set_xticks(range(len(names)), names, rotation=turned)
    axis.set_yticks(range(len(names)), names)
    figure.figure.draw_without_rendering()
    cell = axis.get_window_extent().width / figure.dpi * _POINTS / len(counts)
    axis.tick_params(labelsize=max(_SMALLEST, min(7.0, 0.85 * cell)))
    size = min(_LARGEST, cell / (len(str(counts.max())) * DIGIT + 0.4))
    if size >= _SMALLEST:
        texts = np.array([[str(n) if n else "" for n in row] for row in counts], dtype=object)
        write_in_cells(axis, image, texts, size=size)


def _in_words(pair: ConfusedPair) -> str:
    return f"{_short(pair.name, pair.label)} > {_short(pair.decided_name, pair.decided)}"


def _names(confusion: Confusion) -> list[str]:
    names = confusion.class_names or (None,) * len(confusion.counts)
    return [_short(name, label) for label, name in enumerate(names)]


def _short(name: str | None, label: int) -> str:
    """The name of a class as far as there is room, its number where it has none."""
    if not name:
        return str(label)
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 2]}.."
