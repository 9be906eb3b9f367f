"""Pictures, drawn by matplotlib into a file; no window is ever opened."""

import io
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


def draw_frames(path: Path, frames: "np.ndarray[Any, Any]", *, title: str) -> None:
    """Draw a sample `[T, ...]`: grey images, three channels as colours (each stretched from its
    least to its largest value), two-channel frames as ON (red) and OFF (blue)."""
    if frames.ndim == 2:
        frames = frames[:, None, None, :]  # a row of pixels a step
    steps = len(frames)
    columns = min(steps, 8)
    rows = -(-steps // columns)
    figure = new_figure(1.7 * columns + 0.8, 1.9 * rows + 0.9)
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False)
    events = frames.shape[1] == 2
    values, style, label = _values(frames)
    shown = None
    for index, axis in enumerate(axes.flat):
        axis.set_xticks([])
        axis.set_yticks([])
        if index >= steps:
            axis.set_visible(False)
            continue
        shown = axis.imshow(values[index], **style)
        axis.set_title(f"t = {index + 1}", fontsize=9)
        if events:
            on, off = frames[index, 0].sum(), frames[index, 1].sum()
            axis.set_xlabel(f"{on:.0f} ON, {off:.0f} OFF", fontsize=8)
    if shown is not None and label:
        figure.colorbar(shown, ax=list(axes.flat), label=label, shrink=0.8)
    save_figure(path, figure)


def _values(frames: "np.ndarray[Any, Any]") -> tuple["np.ndarray[Any, Any]", dict[str, Any], str]:
    """What is drawn, how, and what its scale is called ("": colours have none). One scale for all
    steps; for events ON counts are positive and OFF counts negative."""
    if frames.shape[1] == 3:
        low = frames.min((0, 2, 3), keepdims=True)
        span = np.maximum(frames.max((0, 2, 3), keepdims=True) - low, 1e-6)
        return ((frames - low) / span).transpose(0, 2, 3, 1), {}, ""
    if frames.shape[1] == 2:
        values = frames[:, 0] - frames[:, 1]
        limit = float(np.abs(values).max()) or 1.0
        return values, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}, "events: ON - OFF"
    values = frames[:, 0]
    low = float(values.min())
    high = max(float(values.max()), low + 1e-6)
    return values, {"cmap": "gray", "vmin": low, "vmax": high}, "value"
