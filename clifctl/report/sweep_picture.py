"""The picture of `sweep`: a quantity by the values of the keys, or against another one."""

from collections.abc import Sequence
from typing import Any

from clifctl.amounts import counted
from clifctl.report.panels import draw_points, logarithmic, spread_in_words
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_legend,
    figure_of_panels,
    finish,
    label_ends,
    line_look,
)
from clifctl.report.styles import Style, neuron_style, series_styles
from clifctl.results.quantities import Quantity, quantities_of
from clifctl.results.statistics import Estimate
from clifctl.results.summary import Summary
from clifctl.results.sweep import SweepResult, SweptPoint

_STYLE = neuron_style("clif")
_DOMINATED = Style("#737373", "o", "-")
_LOG_FROM = 20  # the ratio of the largest value to the smallest from which an axis is logarithmic
_MOST_SERIES = 12
_MOST_ROWS, _ROW_INCHES = 60, 0.14
_MOST_NAMES = 12  # of points at the front
Known = Sequence[tuple[SweptPoint, Estimate]]


def draw_sweep(result: SweepResult, layout: Layout) -> Any:
    """One quantity against another with the Pareto front, where that was asked for; else the
    quantity by the values of the first key, a line for each of the values that the others have; or
    point by point."""
    quantity = quantities_of(Summary)[result.quantity]
    known = [(row, one) for row in result.rows if (one := _estimate(row, result)) is not None]
    points = result.against is None and not _has_lines(result, known)
    rows = min(len(known), _MOST_ROWS) if points else 0
    figure, (axis,) = figure_of_panels(layout, 1, height=max(2.6, 0.7 + _ROW_INCHES * rows))
    if result.against is not None:
        _draw_front(axis, result, quantity)
    elif points:
        _draw_points(axis, known[:_MOST_ROWS])
    else:
        _draw_values(figure, axis, result, known, layout)
    (axis.set_xlabel if points else axis.set_ylabel)(quantity.heading)
    axis.grid(axis="x" if points else "y")
    title = f"{result.recipe}: {counted(len(result.rows), 'point')}"
    title += f", {counted(result.seeds_asked, 'seed')}"
    return finish(figure, layout, title, _note(result, known, points))


def _draw_front(axis: Any, result: SweepResult, quantity: Quantity) -> None:
    against = quantities_of(Summary)[result.against or ""]
    front = [point for point in result.pareto if point.on_front]
    for point in result.pareto:
        style = _STYLE if point.on_front else _DOMINATED
        look = {**line_look(style), "linestyle": "none"}
        axis.errorbar(
            [point.against.mean],
            [point.quantity.mean],
            xerr=point.against.standard_error,
            yerr=point.quantity.standard_error,
            capsize=2.0,
            elinewidth=0.8,
            **look,
        )
    places = [(point.against.mean, point.quantity.mean) for point in front]
    axis.plot(*zip(*places, strict=True) if places else ([], []), color=_STYLE.colour, zorder=1)
    values = [point.against.mean for point in result.pareto]
    if values and min(values) > 0 and max(values) >= _LOG_FROM * min(values):
        logarithmic(axis)
    for place, point in zip(places[:_MOST_NAMES], front, strict=False):
        axis.annotate(
            point.title, place, (4, -8), textcoords="offset points", fontsize=6.0, color="0.3"
        )
    axis.set_xlabel(against.heading)


def _has_lines(result: SweepResult, known: Known) -> bool:
    """Whether the first key has numbers, and the others have few enough values for a line each."""
    key = result.keys[0] if result.keys else None
    numeric = all(type(row.values[key]) in (int, float) for row, _ in known) if key else False
    return numeric and 0 < len({_others(row, key) for row, _ in known}) <= _MOST_SERIES


def _draw_values(figure: Any, axis: Any, result: SweepResult, known: Known, layout: Layout) -> None:
    key = result.keys[0]
    values = [row.values[key] for row, _ in known]
    others = list(dict.fromkeys(_others(row, key) for row, _ in known))
    if min(values) > 0 and max(values) >= _LOG_FROM * min(values):
        logarithmic(axis)
    ends = []
    styles = series_styles(_STYLE, len(others))
    for other, style in zip(others, styles, strict=True):
        line = sorted(
            ((row.values[key], one) for row, one in known if _others(row, key) == other),
            key=lambda pair: pair[0],
        )
        plain = [_without_seeds(one) for _, one in line]
        draw_points(axis, [value for value, _ in line], plain, style)
        ends.append(LineEnd(other, line[-1][1].mean, style))
    axis.set_xlabel(key)
    if len(others) > 1 and not label_ends(figure, {axis: ends}):
        figure_legend(figure, _handles(ends), columns=max(1, layout.across))


def _draw_points(axis: Any, known: Known) -> None:
    """A row a point, the first on top: a dot with its interval."""
    axis.errorbar(
        [one.mean for _, one in known],
        range(len(known)),
        xerr=[one.standard_error or 0.0 for _, one in known],
        capsize=2.0,
        elinewidth=1.0,
        **(line_look(_STYLE) | {"linestyle": "none"}),
    )
    axis.set_yticks(range(len(known)), [row.title for row, _ in known])
    axis.set_ylim(len(known) - 0.4, -0.6)


def _others(row: SweptPoint, key: str | None) -> str:
    """What sets a row apart beside `key`, as its title says it."""
    return ", ".join(
        f"{name.removesuffix('.name').rpartition('.')[2]} = {value}"
        for name, value in row.values.items()
        if name != key
    )


def _estimate(row: SweptPoint, result: SweepResult) -> Estimate | None:
    value = getattr(row.summary, result.quantity)
    if value is None or isinstance(value, Estimate):
        return value
    return Estimate(mean=float(value), standard_error=None, n=len(row.summary.seeds))


def _without_seeds(one: Estimate) -> Estimate:
    """Single seeds stand beside a mean only where the places of means are whole numbers."""
    return Estimate(mean=one.mean, standard_error=one.standard_error, n=1)


def _handles(ends: Sequence[LineEnd]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], **line_look(end.style), label=end.text) for end in ends]


def _note(result: SweepResult, known: Known, points: bool) -> str:
    words = spread_in_words([one for _, one in known]).partition(";")[0].removesuffix(".") + "."
    if points and len(known) > _MOST_ROWS:
        words += f" The first {_MOST_ROWS} of {len(known)} points."
    if result.against is None:
        return words
    return f"{words} Line: the points that no other beats in both."
