"""Pictures, drawn by matplotlib into a file; no window is ever opened."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.errors import OutputError
from clifctl.files import write_atomically

SUFFIXES = (".png", ".svg", ".pdf")


def check_picture_path(path: Path) -> None:
    """Raise OutputError for a kind of file that matplotlib cannot write."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"cannot draw into '{path}': unknown ending '{path.suffix}'",
            hint=f"--plot takes a file that ends in {', '.join(SUFFIXES)}",
        )


def new_figure(width: float, height: float) -> Any:
    """An empty figure of `width` x `height` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(path: Path, figure: Any) -> None:
    """Write a figure atomically, in the format of the file's ending."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, format=path.suffix[1:].lower())
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def draw_frames(
    path: Path,
    frames: "np.ndarray[Any, Any]",
    *,
    title: str,
    polarities: Sequence[str] | None = None,
    events: Sequence[tuple[int, int]] = (),
) -> None:
    """Draw a sample `[T, ...]`: grey images, three channels as colours (each stretched from its
    least to its largest value). Frames of events have two `polarities`, "ON" (red) and "OFF"
    (blue), and `events` counts both for each frame: their numbers are drawn below."""
    if frames.ndim == 2:
        frames = frames[:, None, None, :]  # a row of pixels a step
    steps = len(frames)
    columns = min(steps, 8)
    rows = -(-steps // columns)
    values, style, label = _values(frames, polarities)
    height = 1.9 * rows + 0.9
    # Wide enough for the title over a single frame.
    figure = new_figure(max(1.7 * columns + 0.8, 0.1 * len(title)), height + (1.6 if events else 0))
    figure.suptitle(title)
    upper = figure
    if events:
        upper, lower = figure.subfigures(2, 1, height_ratios=[height, 1.6])
        _draw_counts(lower.subplots(), events)
    axes = upper.subplots(rows, columns, squeeze=False)
    shown = None
    for index, axis in enumerate(axes.flat):
        axis.set_xticks([])
        axis.set_yticks([])
        if index >= steps:
            axis.set_visible(False)
            continue
        shown = axis.imshow(values[index], **style)
        axis.set_title(f"t = {index + 1}", fontsize=9)
    if shown is not None and label:
        upper.colorbar(shown, ax=list(axes.flat), label=label, shrink=0.8)
    save_figure(path, figure)


def _draw_counts(axis: Any, events: Sequence[tuple[int, int]]) -> None:
    """Bars: the ON events of each frame in red, the OFF events on top of them in blue."""
    steps = range(1, len(events) + 1)
    on, off = zip(*events, strict=True)
    axis.bar(steps, on, color="#b2182b", label="ON", width=0.8)
    axis.bar(steps, off, bottom=on, color="#2166ac", label="OFF", width=0.8)
    axis.set_xlabel("time step")
    axis.set_ylabel("events")
    axis.set_xlim(0.5, len(events) + 0.5)
    axis.locator_params(axis="x", integer=True, min_n_ticks=1)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _values(
    frames: "np.ndarray[Any, Any]", polarities: Sequence[str] | None
) -> tuple["np.ndarray[Any, Any]", dict[str, Any], str]:
    """What is drawn, how, and what its scale is called ("": colours have none). One scale for all
    steps; for events ON counts are positive and OFF counts negative."""
    if polarities is not None:
        on = list(polarities).index("ON")
        values = frames[:, on] - frames[:, 1 - on]
        # A few pixels that flicker must not make all others pale.
        limit = float(np.quantile(np.abs(values[values != 0]), 0.99)) if values.any() else 1.0
        return values, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}, "ON - OFF"
    if frames.shape[1] == 3:
        low = frames.min((0, 2, 3), keepdims=True)
        span = np.maximum(frames.max((0, 2, 3), keepdims=True) - low, 1e-6)
        return ((frames - low) / span).transpose(0, 2, 3, 1), {}, ""
    values = frames[:, 0]
    low = float(values.min())
    high = max(float(values.max()), low + 1e-6)
    return values, {"cmap": "gray", "vmin": low, "vmax": high}, "value"
