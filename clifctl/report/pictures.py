"""Pictures, drawn by matplotlib into a file; no window is ever opened.

A picture looks the same whatever a person's matplotlib is set to (MPLBACKEND, matplotlibrc).
"""

import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.errors import OutputError
from clifctl.files import write_output
from clifctl.report.data import labelled
from clifctl.results.data import SampleResult

SUFFIXES = (".png", ".svg", ".pdf")


def require_picture_possible(path: Path) -> None:
    """Raise OutputError for a kind of file that matplotlib cannot write, or where it does not
    start."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"cannot draw into '{path}': unknown ending '{path.suffix}'",
            hint=f"--plot takes a file that ends in {', '.join(SUFFIXES)}; as the last word it "
            "chooses the name itself",
        )
    try:
        with _own_settings():
            pass
    except Exception as broken:  # whatever a person's matplotlibrc makes its import raise
        raise OutputError(
            f"cannot draw into '{path}': matplotlib does not start "
            f"({type(broken).__name__}: {broken})",
            hint="mend matplotlib's installation or its matplotlibrc, or leave --plot out",
        ) from broken


def write_picture(path: Path, draw: Callable[..., Any], *shown: Any) -> None:
    """Write the figure that `draw` makes of the results `shown`, atomically, in the format of the
    file's ending. Raises OutputError where it cannot be written."""
    buffer = io.BytesIO()
    with _own_settings():
        figure = draw(*map(_printable, shown))
        figure.savefig(buffer, dpi=150, format=path.suffix[1:].lower())
    write_output(path, lambda file: file.write(buffer.getbuffer()))


@contextmanager
def _own_settings() -> Iterator[None]:
    """matplotlib as it is when nothing is set; a `$` is a dollar, and a letter that the font lacks
    is a box, without a warning."""
    backend = os.environ.pop("MPLBACKEND", None)  # a bad one fails matplotlib's import
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    settings = {**matplotlib.rcParamsDefault, "text.parse_math": False}
    del settings["backend"]  # to set it would import pyplot, and look for a display
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with matplotlib.rc_context(settings):
            yield


def _printable(value: Any) -> Any:
    """`value` with the characters escaped that a picture cannot hold: control characters, and the
    bytes of a file's name that are no text."""
    if isinstance(value, str):
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode() for one in value
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return dataclasses.replace(
            value, **{field.name: _printable(getattr(value, field.name)) for field in fields}
        )
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_printable, value))
    return value


def new_figure(width: float, height: float) -> Any:
    """An empty figure of `width` x `height` inches, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_sample(result: SampleResult, frames: "np.ndarray[Any, Any]") -> Any:
    """Draw a sample `[T, ...]`: grey images, three channels as colours (each stretched from its
    least to its largest value). Frames of events have two polarities, "ON" (red) and "OFF" (blue);
    where the events of a frame were counted, their numbers are drawn below."""
    title = f"{result.data}: {result.split} sample {result.sample}, label {labelled(result)}"
    events = [
        (row.on_events, row.off_events)
        for row in result.frames
        if row.on_events is not None and row.off_events is not None
    ]
    if frames.ndim == 2:
        frames = frames[:, None, None, :]  # a row of pixels a step
    steps = len(frames)
    columns = min(steps, 8)
    rows = -(-steps // columns)
    values, style, label = _values(frames, result.polarities)
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
    return figure


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
