"""The picture of `eval`: accuracy after each time step, firing rates, accuracy by class, and the
confusion matrix."""

from typing import Any

from clifctl.report.confusion import draw_matrix, draw_pairs, panels_below
from clifctl.report.pictures import (
    Layout,
    LineEnd,
    figure_of_panels,
    finish,
    label_ends,
    line_look,
    new_figure,
)
from clifctl.report.styles import Style, neuron_style, series_styles
from clifctl.results.eval import Confusion, EvalResult

_PAPER = Style("#000000", "", (0, (1, 1.5)))
_MOST_CLASSES = 20  # that are drawn, the worst ones


def draw_evaluation(result: EvalResult, layout: Layout) -> Any:
    """Draw the accuracy after each time step, with the paper's beside it; the firing rate of each
    layer, mean and time steps; where classes were counted the accuracy of each; and the confusion
    matrix where it was asked for."""
    rows = max(len(result.firing_rates), min(len(result.per_class or ()), _MOST_CLASSES))
    count = 1 + bool(result.firing_rates) + bool(result.per_class)
    height = max(2.1, 0.7 + 0.14 * rows)
    figure, axes, below = _panels(result.confusion, layout, count, height)
    panels = iter(axes)
    first = next(panels)
    ends = _draw_accuracy(first, result)
    notes = []
    if result.firing_rates:
        _draw_rates(next(panels), result)
        notes.append("Firing rates: large marks are means, ticks the single time steps.")
    if result.per_class:
        notes.append(_draw_classes(next(panels), result))
    if result.confusion is not None:
        drawing = zip((draw_matrix, draw_pairs), below, strict=False)  # pairs of many classes alone
        notes += [draw(part, result.confusion) for draw, part in drawing]
    label_ends(figure, {first: ends})
    title = f"{result.recipe}: {result.model}, {result.neuron}, T = {result.timesteps}"
    return finish(figure, layout, title, " ".join(filter(None, notes)))


def _panels(
    confusion: Confusion | None, layout: Layout, count: int, height: float
) -> tuple[Any, list[Any], list[Any]]:
    """The figure, the axes of its first `count` panels, each `height` inches high, and the parts of
    the figure that the confusion matrix has below them."""
    if confusion is None:
        return (*figure_of_panels(layout, count, height=height), [])
    figure = new_figure(layout, layout.width, height)
    rows = count if layout.narrow else 1
    first, *below = panels_below(figure, confusion, layout, height * rows)
    axes = first.subplots(rows, count // rows, squeeze=False).flat
    return figure, list(axes), below


def _draw_accuracy(axis: Any, result: EvalResult) -> list[LineEnd]:
    seen = len(result.accuracy_percent_per_step)  # one, of logits of the whole sequence
    steps = range(result.timesteps - seen + 1, result.timesteps + 1)
    top1, top5 = series_styles(neuron_style(result.neuron), 2)
    top1 = neuron_style(result.neuron)
    axis.plot(steps, result.accuracy_percent_per_step, **line_look(top1))
    ends = [LineEnd("top 1", result.accuracy_percent, top1)]
    if result.accuracy_top5_percent_per_step is not None:
        axis.plot(steps, result.accuracy_top5_percent_per_step, **line_look(top5))
        ends.append(LineEnd("top 5", result.accuracy_top5_percent_per_step[-1], top5))
    for number in result.published.accuracies[:1]:
        percent = number.accuracy_percent
        axis.axhline(percent, color=_PAPER.colour, linestyle=_PAPER.dashes, linewidth=0.8)
        ends.append(LineEnd(f"paper,\n{number.source}", percent, _PAPER))
    axis.set_xlim(0.7, result.timesteps + 0.3)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.set_xlabel("time step")
    axis.set_ylabel("test accuracy so far [%]")
    axis.grid(axis="y")
    return ends


def _draw_rates(axis: Any, result: EvalResult) -> None:
    style = neuron_style(result.neuron)
    for place, layer in enumerate(result.firing_rates):
        rates = layer.firing_rate_per_step
        axis.plot(rates, [place] * len(rates), "|", color=style.colour, markersize=6, alpha=0.8)
        look = line_look(style) | {"markersize": 5.0}
        axis.plot([layer.firing_rate], [place], **look)
    names = [layer.layer.removesuffix(".neuron") for layer in result.firing_rates]
    _rows(axis, names)
    axis.set_xlim(left=0)
    axis.set_xlabel("firing rate\n[spikes/neuron/step]")


def _draw_classes(axis: Any, result: EvalResult) -> str:
    """The accuracy on each class, the worst ones where there are many; says so."""
    known = [one for one in result.per_class or () if one.recall_percent is not None]
    shown = known
    if len(known) > _MOST_CLASSES:
        worst = sorted(known, key=lambda one: one.recall_percent or 0.0)
        shown = worst[:_MOST_CLASSES]
    look = line_look(neuron_style(result.neuron)) | {"linestyle": "none"}
    axis.plot([one.recall_percent for one in shown], range(len(shown)), **look)
    axis.axvline(result.accuracy_percent, color="0.5", linewidth=0.8, zorder=1)
    _rows(axis, [str(one.label) if one.name is None else one.name for one in shown])
    axis.set_xlabel("accuracy by class [%]")
    if result.per_class and all(one.name is None for one in shown):
        axis.set_ylabel("class")
    few = "" if shown is known else f" Classes: the {_MOST_CLASSES} worst of {len(known)}."
    return f"Grey line: accuracy on all classes.{few}"


def _rows(axis: Any, names: list[str]) -> None:
    """A row a name, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x")
