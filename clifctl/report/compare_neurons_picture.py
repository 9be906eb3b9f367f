"""The picture of `compare-neurons`: accuracy by neuron or against T, and the loss curves."""

from collections.abc import Sequence
from typing import Any

from clifctl.amounts import counted
from clifctl.report.panels import (
    counts_below,
    draw_mean_curve,
    draw_points,
    mark_exchange,
    names_below,
    share_y,
    spread_in_words,
)
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_legend,
    figure_of_panels,
    finish,
    label_ends,
    line_look,
)
from clifctl.report.styles import Style, neuron_styles, short_name
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.statistics import Estimate
from clifctl.results.summary import MeanCurve

_ACCURACY = "test accuracy,\nlast epoch [%]"
_LOSSES = (
    ("train_loss_curve", "training loss (TET),\ntrain mode"),
    ("test_loss_curve", "test loss (TET),\nevaluation mode"),
)
_LEAST_POINTS = 2.0  # of accuracy that an axis spans


def draw_comparison(result: NeuronComparison, layout: Layout) -> Any:
    """Accuracy against T where there are several T (Figures 2b, 3b), else by neuron (Figure 4);
    then the loss curves in train and in evaluation mode (Figures 3a, 10), those of the largest T.
    After a single epoch there are no curves, and no panels for them."""
    norms = list(dict.fromkeys(row.batch_norm for row in result.rows))
    styles = neuron_styles(row.neuron for row in result.rows)
    losses = _LOSSES if _most_epochs(result.rows) > 1 else ()
    count = len(norms) + len(losses)
    figure, axes = figure_of_panels(layout, count, across=2 if count == 4 else 3)
    ends: dict[Any, list[LineEnd]] = {}
    for axis, norm in zip(axes, norms, strict=False):
        rows = [row for row in result.rows if row.batch_norm == norm]
        if len({row.paired_timesteps for row in rows}) > 1:
            ends[axis] = _against_timesteps(axis, rows, styles)
        else:
            _by_neuron(axis, rows, styles)
        axis.set_ylabel(_ACCURACY)
        if len(norms) > 1:
            axis.set_title(f"batch norm {norm}")
    share_y(axes[: len(norms)], least=_LEAST_POINTS)
    for axis, (name, label) in zip(axes[len(norms) :], losses, strict=True):
        ends[axis] = _loss_curves(axis, result, norms, name, styles)
        axis.set_ylabel(label)
    if ends and not label_ends(figure, ends):
        figure_legend(figure, _handles(styles), columns=layout.across * 2)
    title = f"{result.recipe}: {result.data}, {result.model}, {counted(result.seeds_asked, 'seed')}"
    return finish(figure, layout, title, _note(result, norms, bool(losses)))


def _most_epochs(rows: Sequence[ComparedNeuron]) -> int:
    return max((len(row.train_loss_curve.mean) for row in rows if row.train_loss_curve), default=0)


def _known(rows: Sequence[ComparedNeuron]) -> list[tuple[ComparedNeuron, Estimate]]:
    found = [(row, row.summary.accuracy_percent_last) for row in rows]
    return [(row, one) for row, one in found if one is not None]


def _against_timesteps(
    axis: Any, rows: Sequence[ComparedNeuron], styles: dict[str, Style]
) -> list[LineEnd]:
    """A line a neuron. One that runs for other time steps than those beside it (the ANN: for one)
    is a level through the whole panel."""
    counts_below(axis, sorted({row.paired_timesteps for row in rows}))
    ends: list[LineEnd] = []
    for number, name in enumerate(dict.fromkeys(row.neuron for row in rows)):
        known = _known([row for row in rows if row.neuron == name])
        if not known:
            continue
        style, last = styles[name], known[-1][1].mean
        if len({row.timesteps for row, _ in known}) == 1:
            axis.axhline(last, color=style.colour, linestyle=style.dashes)
        else:
            means = [one for _, one in known]
            draw_points(axis, [row.timesteps for row, _ in known], means, style, number)
        ends.append(LineEnd(short_name(name), last, style))
    axis.set_xlabel("time steps T")
    axis.grid(axis="y")
    return ends


def _by_neuron(axis: Any, rows: Sequence[ComparedNeuron], styles: dict[str, Style]) -> None:
    """A dot with its interval a neuron, in the order that was asked for."""
    known = _known(rows)
    names = []
    for place, (row, one) in enumerate(known):
        draw_points(axis, [place], [one], styles[row.neuron])
        same = row.timesteps == row.paired_timesteps
        names.append(short_name(row.neuron) + ("" if same else f" (T = {row.timesteps})"))
    names_below(axis, names)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_xlabel("neuron")
    axis.grid(axis="y")


def _loss_curves(
    axis: Any, result: NeuronComparison, norms: Sequence[str], name: str, styles: dict[str, Style]
) -> list[LineEnd]:
    """Curves of the largest T; those of the second batch norm and on have open markers."""
    most = max(row.paired_timesteps for row in result.rows)
    ends: list[LineEnd] = []
    for row in result.rows:
        curve: MeanCurve | None = getattr(row, name)
        if row.paired_timesteps != most or curve is None:
            continue
        style, pale = styles[row.neuron], row.batch_norm != norms[0]
        draw_mean_curve(axis, curve, style, len(ends), pale=pale)
        text = short_name(row.neuron) + (f", {row.batch_norm}" if len(norms) > 1 else "")
        ends.append(LineEnd(text, curve.mean[-1], style))
    if result.exchange_after_epoch is not None:
        mark_exchange(axis, result.exchange_after_epoch, f"to {result.exchange_to}")
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y")
    return ends


def _handles(styles: dict[str, Style]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], **line_look(style), label=short_name(name)) for name, style in styles.items()
    ]


def _note(result: NeuronComparison, norms: Sequence[str], losses: bool) -> str:
    most = max(row.paired_timesteps for row in result.rows)
    several = len({row.paired_timesteps for row in result.rows}) > 1
    parts = [spread_in_words([one for _, one in _known(result.rows)])]
    if losses and any(
        row.train_loss_curve and row.train_loss_curve.standard_error for row in result.rows
    ):
        parts.append("Bands: ± standard error.")
    if losses and len(norms) > 1:
        parts.append(f"Losses: curves with open markers have batch norm {', '.join(norms[1:])}.")
    for neuron in dict.fromkeys(row.neuron for row in result.rows if several):
        own = {row.timesteps for row in result.rows if row.neuron == neuron}
        if len(own) == 1:
            parts.append(f"{short_name(neuron)}: T = {own.pop()}.")
    if losses and several:
        parts.append(f"Losses: T = {most}.")
    return " ".join(parts)
