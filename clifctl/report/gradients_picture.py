"""The picture of `gradients`: heat maps layer x lag, and what truncated BPTT does."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clifctl.amounts import counted
from clifctl.report.panels import bare, write_in_cells
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_of_panels,
    finish,
    label_ends,
    line_look,
)
from clifctl.report.styles import Style, short_name
from clifctl.results.gradients import GradientsResult

# Scales are the same in every picture, so that two nets can be compared; what lies beyond is drawn
# as the end of the scale.
SHARE_PERCENT = (0.01, 100.0)
REACH = (1e-4, 1.0)
_CELL_POINTS = 16.0  # a number needs so much room
_COSINE, _DISTANCE = Style("#000000", "o", "-"), Style("#737373", "s", (0, (4, 1.5)))


def draw_gradients(result: GradientsResult, layout: Layout) -> Any:
    """Heat maps of the shares by lag and of the reach, a row a layer, and what windows do to the
    weights' gradient. They grow darker with the number, in grey too."""
    layers, steps = len(result.layers), result.timesteps
    count = 3 if result.windows else 2
    across = 3 if steps <= 8 else 2
    figure, axes = figure_of_panels(
        layout, count, height=max(2.4, 1.4 + 0.17 * layers), across=across
    )
    room = layout.width / min(across, layout.across, count) * 72.0 * 0.68 / steps
    shares = [
        [None if lag.share is None else 100.0 * lag.share for lag in layer.lags]
        for layer in result.layers
    ]
    _heat_map(
        figure, axes[0], shares, "share of the gradient's norm [%]", SHARE_PERCENT, written=room
    )
    axes[0].set_xlabel("lag [time steps]")
    axes[0].set_title(f"{short_name(result.neuron)}: layer by layer")
    reach = [list(layer.reach) for layer in result.layers]
    _heat_map(figure, axes[1], reach, "norm relative to step T", REACH, written=room)
    axes[1].set_xlabel("time steps before the last")
    axes[1].set_title(f"{short_name(result.neuron)}: reach of the last loss")
    names = [layer.layer.removesuffix(".neuron") for layer in result.layers]
    for number, axis in enumerate(axes[:2]):
        shown = number == 0 or layout.narrow
        axis.set_yticks(range(layers), names if shown else [""] * layers)
    if count == 3:
        ends = _draw_windows(axes[2], result)
        if not label_ends(figure, {axes[2]: ends}):
            axes[2].legend()
    state = f"epoch {result.epoch}" if result.trained else "fresh weights"
    title = (
        f"{result.source}: {short_name(result.neuron)}, T = {steps}, {state}, "
        f"{counted(result.samples, 'sample')} of "
        f"{result.data if result.input == 'data' else 'noise'}"
    )
    note = "The scales are the same in every such picture; what lies beyond is drawn as their end."
    return finish(figure, layout, title, note)


def _heat_map(
    figure: Any,
    axis: Any,
    rows: Sequence[Sequence[float | None]],
    label: str,
    span: tuple[float, float],
    *,
    written: float,
) -> None:
    """One heat map on a logarithmic scale; `written` is the room for a number in points."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter

    values = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=float)
    scale = LogNorm(vmin=span[0], vmax=span[1], clip=True)
    # A log scale has no place for zero: it is less than the least.
    image = axis.imshow(
        np.where(values <= 0, span[0], values), aspect="auto", cmap="cividis_r", norm=scale
    )
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if written >= _CELL_POINTS:
        write_in_cells(axis, image, np.vectorize(_in_short, otypes=[object])(values), size=6.0)
    bare(axis)
    # As numbers: matplotlib writes powers of ten as formulas, which a picture here does not read.
    bar = figure.colorbar(
        image, ax=axis, label=label, format="%g", location="bottom", aspect=25, extend="both"
    )
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_linewidth(0.4)


def _in_short(value: float) -> str:
    """A number in four characters at most, "" for none."""
    if not np.isfinite(value):
        return ""
    if value and abs(value) < 0.01:
        return "<.01"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _draw_windows(axis: Any, result: GradientsResult) -> list[LineEnd]:
    windows = [row.window for row in result.windows]
    ends = []
    for name, key, style in (
        ("cosine", "cosine", _COSINE),
        ("relative\ndistance", "distance_relative", _DISTANCE),
    ):
        values = [
            np.nan if (value := getattr(row, key)) is None else value for row in result.windows
        ]
        axis.plot(windows, values, label=name.replace("\n", " "), **line_look(style))
        ends.append(LineEnd(name, values[-1], style))
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_xlim(0.5, len(windows) + 0.5)
    low, high = axis.get_ylim()
    axis.set_ylim(min(-0.02, low), max(1.05, high))
    axis.set_xlabel("window k [time steps]")
    axis.set_ylabel("weights' gradient\nagainst full BPTT")
    axis.set_title("truncated BPTT")
    axis.grid(axis="y")
    return ends
