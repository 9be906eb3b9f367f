"""What several pictures draw alike: means with intervals and single seeds, curves, heat maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clifctl.amounts import counted
from clifctl.report.pictures import line_look
from clifctl.report.styles import Style
from clifctl.results.eval import LayerRate
from clifctl.results.statistics import Estimate
from clifctl.results.summary import MeanCurve

_MARKERS_A_CURVE = 8
_NAME_SIZE = 7.0  # of the names at ticks
DIGIT = 0.62  # width of a digit in sizes of its font


def draw_points(
    axis: Any, at: Sequence[float], known: Sequence[Estimate], style: Style, number: int = 0
) -> None:
    """Means at the places `at`, joined by a line, with their standard errors, and every seed as a
    small open marker beside its mean; those of series `number` are apart from the other series'."""
    errors = [one.standard_error or 0.0 for one in known]
    axis.errorbar(
        at,
        [one.mean for one in known],
        yerr=errors if any(errors) else None,
        capsize=2.0,
        elinewidth=1.0,
        zorder=3,
        **line_look(style),
    )
    logarithmic = axis.get_xscale() == "log"
    for place, one in zip(at, known, strict=True):
        if one.n == 1:
            continue
        # Equal values stand side by side, or only one of them would be seen.
        steps = [
            0.1 * (number + 1) + 0.05 * one.values[:index].count(value)
            for index, value in enumerate(one.values)
        ]
        axis.plot(
            [place * 2 ** (0.6 * step) if logarithmic else place + step for step in steps],
            one.values,
            style.marker,
            markersize=2.4,
            zorder=2,
            markerfacecolor="none",
            markeredgecolor=style.colour,
            markeredgewidth=0.5,
        )


def spread_in_words(known: Sequence[Estimate]) -> str:
    """What the interval and the marks beside each mean are: of how many seeds, where some trials
    are missing of fewest and most."""
    counts = [one.n for one in known]
    if not counts:
        return "No trial is finished."
    if max(counts) == 1:
        return "One seed: nothing is known of the spread."
    seeds = counted(max(counts), "seed")
    if min(counts) < max(counts):
        seeds = f"{min(counts)} to {seeds}"
    marks = "; small open marks: single seeds" if any(one.values for one in known) else ""
    return f"Mean ± standard error of {seeds}{marks}."


def draw_curve(
    axis: Any, values: Sequence[float], style: Style, number: int = 0, **look: Any
) -> None:
    """A curve over epochs, with a few of its markers, so that it is told apart in grey too. Those
    of curve `number` lie at other epochs than the other curves', which it may cover."""
    every = max(1, -(-len(values) // _MARKERS_A_CURVE))
    epochs = range(1, len(values) + 1)
    axis.plot(epochs, values, markevery=(number % every, every), **(line_look(style) | look))


def draw_mean_curve(
    axis: Any, curve: MeanCurve, style: Style, number: int = 0, *, pale: bool
) -> None:
    """A mean curve over epochs in a band of one standard error; a pale one has open markers."""
    mean = np.array(curve.mean)
    opened = {"markerfacecolor": "white", "markeredgecolor": style.colour, "markeredgewidth": 0.8}
    draw_curve(axis, curve.mean, style, number, **(opened | {"alpha": 0.6} if pale else {}))
    if curve.standard_error is not None:
        error = np.array(curve.standard_error)
        axis.fill_between(
            np.arange(1, len(mean) + 1),
            mean - error,
            mean + error,
            color=style.colour,
            alpha=0.08 if pale else 0.18,
            linewidth=0,
        )


def draw_rates(axis: Any, layers: Sequence[LayerRate], style: Style) -> str:
    """The firing rate of each layer, a row each: the mean and the single time steps. Returns what a
    note has to say."""
    for place, layer in enumerate(layers):
        rates = layer.firing_rate_per_step
        axis.plot(rates, [place] * len(rates), "|", color=style.colour, markersize=6, alpha=0.8)
        look = line_look(style) | {"markersize": 5.0}
        axis.plot([layer.firing_rate], [place], **look)
    name_rows(axis, [layer.layer.removesuffix(".neuron") for layer in layers])
    axis.set_xlim(left=0)
    axis.set_xlabel("firing rate\n[spikes/neuron/step]")
    return "Firing rates: large marks are means, ticks the single time steps."


def name_rows(axis: Any, names: Sequence[str]) -> None:
    """A row a name, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x")


def mark_exchange(axis: Any, epoch: int, text: str, colour: str = "0.3") -> None:
    """A line behind the last epoch with the old neuron."""
    axis.axvline(epoch + 0.5, color=colour, linestyle=(0, (1, 1.5)), linewidth=0.8, zorder=1)
    axis.annotate(
        text,
        (epoch + 0.5, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 1),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=6.5,
        color=colour,
    )


def write_in_cells(axis: Any, image: Any, texts: "np.ndarray[Any, Any]", size: float = 6.5) -> None:
    """Write `texts` into the cells of a heat map: white on dark, black on light, "" not at all. Of
    lines that have no room the first alone, and nothing where not even that has."""
    figure = axis.figure.figure
    figure.draw_without_rendering()
    box, dpi = axis.get_window_extent(), figure.dpi
    rows, columns = texts.shape
    high, wide = box.height / rows / dpi * 72.0, box.width / columns / dpi * 72.0
    lines = max((text.count("\n") + 1 for text in texts.flat), default=1)
    longest = max((len(line) for text in texts.flat for line in text.split("\n")), default=0)
    if 1.1 * lines * size > high or longest * size * DIGIT > wide:
        texts = np.vectorize(lambda text: text.partition("\n")[0], otypes=[object])(texts)
        longest = max(map(len, texts.flat), default=0)
        if size > high or longest * size * DIGIT > wide:
            return
    values = image.get_array()
    for (row, column), text in np.ndenumerate(texts):
        if text:
            red, green, blue, _ = image.cmap(image.norm(values[row, column]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axis.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=size,
                linespacing=1.0,
                color="white" if dark else "black",
            )


def logarithmic(axis: Any) -> None:
    """Make the x axis logarithmic, with plain numbers: matplotlib writes powers of ten as formulas,
    which a picture here does not read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def counts_below(axis: Any, counts: Sequence[int]) -> None:
    """Mark numbers of time steps on the x axis, before anything is drawn there. Few and many are on
    a logarithmic one: they would lie on each other."""
    if max(counts) >= 8 * min(counts):
        axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(one) for one in counts])
    axis.minorticks_off()


def names_below(axis: Any, names: Sequence[str]) -> None:
    """Write `names` below the places 0, 1, ... of the x axis: slanted, or upright, where they would
    overlap."""
    figure = axis.figure.figure
    room = axis.get_window_extent().width / figure.dpi * 72.0 / max(1, len(names))
    look: dict[str, Any] = {}
    if max(map(len, names), default=0) * _NAME_SIZE * 0.6 > room:
        look = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        if room < 2.4 * _NAME_SIZE:
            look = {"rotation": 90}
    axis.set_xticks(range(len(names)), names, **look)


def bare(axis: Any) -> None:
    """No lines around a heat map or an image, nor ticks outside it."""
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def share_y(axes: Sequence[Any], least: float) -> None:
    """Give all panels the limits that hold what each shows, and that are `least` apart at least."""
    lows, highs = zip(*(axis.get_ylim() for axis in axes), strict=True)
    low, high = min(lows), max(highs)
    more = max(0.0, least - (high - low)) / 2
    for axis in axes:
        axis.set_ylim(low - more, high + more)
