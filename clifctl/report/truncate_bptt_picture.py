"""The picture of `truncate-bptt`: accuracy and loss by window and tau (Figure 2a)."""

from typing import Any, NamedTuple

import numpy as np

from clifctl.amounts import counted
from clifctl.report.panels import (
    bare,
    counts_below,
    draw_points,
    spread_in_words,
    write_in_cells,
)
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_of_panels,
    finish,
    label_ends,
)
from clifctl.report.styles import neuron_style, series_styles, short_name
from clifctl.results.statistics import Estimate
from clifctl.results.truncate_bptt import TruncationResult


class _Quantity(NamedTuple):
    """A field of the summaries, and how it is drawn: the better, the lighter."""

    name: str
    label: str
    colours: str
    digits: int


_QUANTITIES = (
    _Quantity("accuracy_percent_last", "test accuracy, last epoch [%]", "cividis", 1),
    _Quantity("train_loss_train_mode", "training loss (TET), train mode", "cividis_r", 3),
)
# What a heat map's colours span at least, so that noise does not look like an effect: points of
# accuracy, a share of the largest loss, and standard errors.
_LEAST_POINTS, _LEAST_SHARE, _LEAST_ERRORS = 5.0, 0.1, 6.0


def draw_truncation(result: TruncationResult, layout: Layout) -> Any:
    """Test accuracy (Figure 2a) and training loss against the window, a line for each tau, and
    below both as heat maps, whose cells hold the numbers."""
    figure, axes = figure_of_panels(layout, 4, across=2)
    upper, lower = (axes[::2], axes[1::2]) if layout.narrow else (axes[:2], axes[2:])
    ends, maps = {}, []
    for above, below, quantity in zip(upper, lower, _QUANTITIES, strict=True):
        ends[above] = _against_window(above, result, quantity)
        maps.append(_heat_map(figure, below, result, quantity))
    if not label_ends(figure, ends):
        upper[0].legend(title="tau", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for written in maps:  # into cells of the size that they have in the end
        write_in_cells(*written)
    seeds = counted(result.seeds_asked, "seed")
    title = (
        f"{result.recipe}: {short_name(result.neuron)}, T = {result.timesteps}, "
        f"{result.window_reading} window, {seeds}"
    )
    known = [one for of in _QUANTITIES for one in _cells(result, of.name).values()]
    note = f"k = {result.timesteps} is full BPTT. {spread_in_words(known)}"
    return finish(figure, layout, title, note)


def _cells(result: TruncationResult, name: str) -> dict[tuple[float, int], Estimate]:
    found = {(row.tau, row.window): getattr(row.summary, name) for row in result.rows}
    return {place: one for place, one in found.items() if one is not None}


def _against_window(axis: Any, result: TruncationResult, quantity: _Quantity) -> list[LineEnd]:
    cells = _cells(result, quantity.name)
    taus = list(dict.fromkeys(row.tau for row in result.rows))
    ends = []
    counts_below(axis, sorted({row.window for row in result.rows}))
    styles = series_styles(neuron_style(result.neuron), len(taus))
    for number, (tau, style) in enumerate(zip(taus, styles, strict=True)):
        known = [(window, one) for (of, window), one in cells.items() if of == tau]
        if known:
            means = [one for _, one in known]
            draw_points(axis, [window for window, _ in known], means, style, number)
            ends.append(LineEnd(f"tau = {tau:g}", known[-1][1].mean, style))
    axis.set_xlabel("window k [time steps]")
    axis.set_ylabel(quantity.label.replace(", ", ",\n"))
    axis.grid(axis="y")
    return ends


def _heat_map(
    figure: Any, axis: Any, result: TruncationResult, quantity: _Quantity
) -> tuple[Any, Any, Any]:
    """Draw it, and return its axis, its image, and what is to be written into its cells."""
    cells = _cells(result, quantity.name)
    taus = list(dict.fromkeys(row.tau for row in result.rows))
    windows = list(dict.fromkeys(row.window for row in result.rows))
    values = np.full((len(taus), len(windows)), np.nan)
    texts = np.full(values.shape, "", dtype=object)
    for (tau, window), one in cells.items():
        place = taus.index(tau), windows.index(window)
        values[place] = one.mean
        error = (
            "" if one.standard_error is None else f"\n± {one.standard_error:.{quantity.digits}f}"
        )
        texts[place] = f"{one.mean:.{quantity.digits}f}{error}"
    low, high = _span(list(cells.values()), percent=quantity.name.startswith("accuracy"))
    image = axis.imshow(values, aspect="auto", cmap=quantity.colours, vmin=low, vmax=high)
    axis.set_xticks(range(len(windows)), [str(window) for window in windows])
    axis.set_yticks(range(len(taus)), [f"{tau:g}" for tau in taus])
    axis.set_xlabel("window k [time steps]")
    axis.set_ylabel("tau [time steps]")
    bare(axis)
    bar = figure.colorbar(image, ax=axis, location="bottom", aspect=30, label=quantity.label)
    bar.outline.set_visible(False)
    return axis, image, texts


def _span(known: list[Estimate], *, percent: bool) -> tuple[float, float]:
    """From where to where the colours go: over the values, and no less than the least span."""
    means = [one.mean for one in known if np.isfinite(one.mean)] or [0.0]
    low, high = min(means), max(means)
    least = _LEAST_POINTS if percent else _LEAST_SHARE * max(abs(high), 1e-6)
    least = max(least, *(_LEAST_ERRORS * (one.standard_error or 0.0) for one in known), 0.0)
    more = max(0.0, least - (high - low)) / 2
    if percent and high + more > 100.0:
        return min(low - more, 100.0 - least), 100.0
    return low - more, high + more
