"""Curves in a terminal, of characters that every terminal has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from clifctl.commands import visible

_HEIGHT = 8  # lines
_WIDEST, _NARROWEST = 80, 32  # characters; in less there are numbers alone
_MARKS = "*o+x"


@dataclass(frozen=True)
class TextPanel:
    """Curves over epochs that share an axis: name -> a value an epoch, not a number where there is
    none."""

    title: str
    curves: dict[str, tuple[float, ...]]
    digits: int


def print_panels(panels: Sequence[TextPanel], stream: IO[str]) -> None:
    """Write the panels where `stream` is a terminal, and nothing elsewhere."""
    from rich.console import Console

    if panels and stream.isatty():
        lines = text_panels(panels, Console(file=stream).width)
        stream.writelines(f"{visible(line)}\n" for line in lines)


def text_panels(panels: Sequence[TextPanel], width: int) -> list[str]:
    """The panels one below the other, in lines of at most `width` characters; none where that is
    too narrow, or nothing is known."""
    if width < _NARROWEST:
        return []
    found = []
    for panel in panels:
        found += _lines(panel, min(width, _WIDEST))
    return found


def _lines(panel: TextPanel, width: int) -> list[str]:
    values = [v for curve in panel.curves.values() for v in curve if math.isfinite(v)]
    if not values:
        return []
    low, high = min(values), max(values)
    labels = [f"{value:.{panel.digits}f}" for value in (high, low)]
    room = max(map(len, labels))
    columns = width - room - 4
    grid = [[" "] * columns for _ in range(_HEIGHT)]
    for mark, curve in zip(_MARKS, panel.curves.values(), strict=False):
        for column, value in enumerate(_spread(curve, columns)):
            if math.isfinite(value):
                share = (high - value) / (high - low) if high > low else 0.5
                grid[round(share * (_HEIGHT - 1))][column] = mark
    shown = {0: labels[0], _HEIGHT - 1: labels[1]} if high > low else {_HEIGHT // 2: labels[0]}
    names = ", ".join(f"{mark} {name}" for mark, name in zip(_MARKS, panel.curves, strict=False))
    epochs = max(map(len, panel.curves.values()))
    last = str(epochs) if epochs > 1 else ""
    return [
        "",
        f"{panel.title}: {names}"[:width],
        *(
            f" {shown.get(number, ''):>{room}} |{''.join(row)}".rstrip()
            for number, row in enumerate(grid)
        ),
        f" {'':{room}} +{'-' * columns}",
        f" {'':{room}}  1{last:>{columns - 1}}".rstrip(),
        f" {'':{room}}  {'epoch':^{columns}}".rstrip(),
    ]


def _spread(curve: Sequence[float], columns: int) -> list[float]:
    """A value for each of so many columns, from the first epoch to the last: of more epochs than
    columns means, of fewer what lies between two of them on a line."""
    count = len(curve)
    if count > columns:
        parts = (
            curve[column * count // columns : (column + 1) * count // columns]
            for column in range(columns)
        )
        return [_mean(part) for part in parts]
    if count < 2:
        return list(curve)
    places = [column * (count - 1) / (columns - 1) for column in range(columns)]
    return [
        curve[at] + (place - at) * (curve[min(at + 1, count - 1)] - curve[at])
        if place > (at := min(math.floor(place), count - 1))
        else curve[at]
        for place in places
    ]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
