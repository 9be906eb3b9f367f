"""The picture of `data show`: one sample, as the net would see it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clifctl.report.data import labelled
from clifctl.report.panels import bare
from clifctl.report.pictures import (
    LAYOUTS,
    Layout,
    LineEnd,
    finish,
    label_ends,
    line_look,
    new_figure,
)
from clifctl.report.styles import Style
from clifctl.results.data import SampleResult

_MOST_FRAMES = 32
# The lightness grows from OFF to ON, in grey too: dark is OFF, light is ON.
_EVENT_COLOURS = ("#0B1F5C", "#4F6FB0", "#9C9C9C", "#F0D486", "#FFFBD0")
_ON, _OFF = Style("#B87A00", "^", "-"), Style("#0B1F5C", "v", (0, (4, 1.5)))
_PICTURE_INCHES, _BAR_INCHES, _COUNT_INCHES = 1.0, 0.55, 1.6


def draw_sample(result: SampleResult, frames: Any, layout: Layout) -> Any:
    """Draw a sample `[T, ...]`. Images: grey, or three channels as colours (each stretched from its
    least to its largest value); one picture where all time steps see the same one. Rows of values
    `[T, values]` are stacked, a time step a row. Frames of events: ON light, OFF dark; where the
    events of a frame were counted, their numbers are drawn below."""
    title = f"{result.data}: {result.split} sample {result.sample}, label {labelled(result)}"
    if frames.ndim == 2:
        return finish(_draw_rows(frames, layout), layout, title)
    events = [
        (row.on_events, row.off_events)
        for row in result.frames
        if row.on_events is not None and row.off_events is not None
    ]
    chosen, note = _chosen(frames)
    columns = min(len(chosen), 8 if not layout.narrow else 4)
    rows = -(-len(chosen) // columns)
    width = layout.width if columns * _PICTURE_INCHES > 2.2 else layout.width_of(2.4)
    high = rows * (width / columns + 0.15) + _BAR_INCHES
    figure = new_figure(layout, width, high + (_COUNT_INCHES if events else 0.0))
    upper = figure
    if events:
        upper, lower = figure.subfigures(2, 1, height_ratios=[high, _COUNT_INCHES])
    _draw_frames(upper, result, frames, chosen, (rows, columns))
    if events:
        _draw_counts(figure, lower.subplots(), events)
    return finish(figure, layout, title, note)


def _chosen(frames: Any) -> tuple[list[int], str]:
    """The steps that are drawn, from 0 on, and what is said of the others."""
    steps = len(frames)
    if steps > 1 and (frames == frames[:1]).all():
        return [0], f"All {steps} time steps see this picture."
    every = -(-steps // _MOST_FRAMES)
    if every == 1:
        return list(range(steps)), ""
    return list(range(0, steps, every)), f"One of {every} frames is drawn, of {steps} time steps."


def _draw_frames(
    figure: Any, result: SampleResult, frames: Any, chosen: Sequence[int], grid: tuple[int, int]
) -> None:
    values, style, label = _values(frames, result.polarities)
    axes = list(figure.subplots(*grid, squeeze=False).flat)
    for axis in axes[len(chosen) :]:
        axis.remove()
    axes = axes[: len(chosen)]
    for axis, index in zip(axes, chosen, strict=True):
        image = axis.imshow(values[index], **style)
        axis.set_xticks([])
        axis.set_yticks([])
        bare(axis)
        if len(chosen) > 1:
            axis.set_title(f"t = {index + 1}", fontsize=7, pad=2)
    if label:
        bar = figure.colorbar(
            image, ax=axes, label=label, location="bottom", aspect=30, shrink=0.6, pad=0.04
        )
        bar.outline.set_visible(False)


def _draw_rows(frames: Any, layout: Layout) -> Any:
    """One image of all time steps, the first on top, so that the whole sample is seen."""
    steps, features = frames.shape
    width = layout.width_of(LAYOUTS["column"].width)
    figure = new_figure(layout, width, min(max(1.6, width * steps / features), 6.0))
    axis = figure.subplots()
    low = float(frames.min())
    image = axis.imshow(
        frames,
        cmap="gray",
        vmin=low,
        vmax=max(float(frames.max()), low + 1e-6),
        aspect="auto",
        extent=(0.5, features + 0.5, steps + 0.5, 0.5),
        interpolation="nearest",
    )
    axis.set_ylabel("time step")
    axis.set_xlabel("number of the input")
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    bare(axis)
    figure.colorbar(image, ax=axis, label="input value").outline.set_visible(False)
    return figure


def _draw_counts(figure: Any, axis: Any, events: Sequence[tuple[int, int]]) -> None:
    """How many ON and OFF events each frame has."""
    steps = range(1, len(events) + 1)
    ends = []
    for name, counts, style in zip(
        ("ON", "OFF"), zip(*events, strict=True), (_ON, _OFF), strict=True
    ):
        axis.plot(steps, counts, **line_look(style))
        ends.append(LineEnd(name, counts[-1], style))
    axis.set_xlabel("time step")
    axis.set_ylabel("events a time step")
    axis.set_ylim(bottom=0)
    axis.set_xlim(0.5, len(events) + 0.5)
    axis.locator_params(axis="x", integer=True, min_n_ticks=1)
    axis.grid(axis="y")
    label_ends(figure, {axis: ends})


def _values(frames: Any, polarities: Sequence[str] | None) -> tuple[Any, dict[str, Any], str]:
    """What is drawn, how, and what its scale is called ("": colours have none). One scale for all
    steps; for events ON counts are positive and OFF counts negative."""
    from matplotlib.colors import LinearSegmentedColormap

    if polarities is not None:
        on = list(polarities).index("ON")
        values = frames[:, on] - frames[:, 1 - on]
        # A few pixels that flicker must not make all others pale.
        limit = float(np.quantile(np.abs(values[values != 0]), 0.99)) if values.any() else 1.0
        colours = LinearSegmentedColormap.from_list("events", _EVENT_COLOURS)
        return values, {"cmap": colours, "vmin": -limit, "vmax": limit}, "ON - OFF"
    if frames.shape[1] == 3:
        low = frames.min((0, 2, 3), keepdims=True)
        span = np.maximum(frames.max((0, 2, 3), keepdims=True) - low, 1e-6)
        return ((frames - low) / span).transpose(0, 2, 3, 1), {}, ""
    values = frames[:, 0]
    low = float(values.min())
    high = max(float(values.max()), low + 1e-6)
    return values, {"cmap": "gray", "vmin": low, "vmax": high}, "input value"
