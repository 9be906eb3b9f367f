"""A net on test data: accuracy after each time step, classes, firing rates."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from clifctl.report.elements import element
from clifctl.report.eval import eval_report
from clifctl.report.page.chart import Chart, names_axis, steps_axis, values_axis
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.heat import heat_map
from clifctl.report.page.section import Section, tables
from clifctl.report.styles import Style, neuron_style
from clifctl.results.energy import RateRow
from clifctl.results.eval import ClassCount, EvalResult, Evaluation, LayerRate

_TOP5 = Style("#00508C", "o", (0, (4, 2)))
_MOST_CLASSES = 20  # that a confusion matrix shows cell by cell with numbers
_ROW = 17.0


def evaluation_sections(result: EvalResult) -> list[Section]:
    """What `eval` has measured."""
    published = result.published.accuracies[0] if result.published.accuracies else None
    level = None if published is None else (published.accuracy_percent, published.source)
    shown = [accuracy_figure(result, result.timesteps, result.neuron, level)]
    if result.per_class:
        shown += class_figures(result.per_class)
    if result.confusion is not None:
        shown.append(confusion_figure(result.confusion.counts, result.confusion.class_names))
    report = eval_report(result)
    known = [one for one in report.tables if one.name not in ("firing-rates",)]
    found = [Section("Evaluation", (figures(*shown), *tables(known, fold=True)))]
    if result.firing_rates:
        found.append(rates_section(result.firing_rates, result.neuron))
    return found


def accuracy_figure(
    result: EvalResult | Evaluation,
    timesteps: int,
    neuron: str,
    published: tuple[float, str] | None = None,
) -> Element:
    """Accuracy after each time step, the paper's beside it."""
    accuracies = result.accuracy_percent_per_step
    seen = len(accuracies)  # one, of logits of the whole sequence
    steps = range(timesteps - seen + 1, timesteps + 1)
    top5 = result.accuracy_top5_percent_per_step
    values = [*accuracies, *(top5 or ()), *([published[0]] if published else [])]
    y = values_axis("test accuracy so far [%]", values, least=2.0, most=100.0)
    chart = Chart("test accuracy after each time step", steps_axis(timesteps), y)
    keys = [Key("top 1", neuron_style(neuron))]
    if published is not None:
        chart.level(published[0], f"the paper, {published[1]}: {published[0]:.2f} %")
    series = [(accuracies, neuron_style(neuron))]
    if top5 is not None:
        series.insert(0, (top5, _TOP5))
        keys.append(Key("top 5", _TOP5))
    for row, style in series:
        said = [f"after step {step}: {one:.2f} %" for step, one in zip(steps, row, strict=True)]
        chart.curve(list(zip(steps, row, strict=True)), style, said)
    samples = f"{result.samples:,} test samples; decided by the sum of the logits so far."
    if published is not None:
        samples += f" Thin line: the paper's {published[0]:.2f} % ({published[1]})."
    return figure("Accuracy after each time step", chart.svg, keys=keys, caption=samples)


def class_figures(
    counts: Sequence[ClassCount], class_names: Sequence[str] | None = None
) -> list[Element]:
    """The accuracy on each class; the worst ones, where there are many."""
    known = [one for one in counts if one.recall_percent is not None]
    shown = known
    if len(known) > _MOST_CLASSES:
        shown = sorted(known, key=lambda one: one.recall_percent or 0.0)[:_MOST_CLASSES]
    known_names = dict(enumerate(class_names or ()))
    names = [one.name or known_names.get(one.label, str(one.label)) for one in shown]
    recalls = [one.recall_percent for one in shown]
    x = values_axis("accuracy by class [%]", recalls, least=5.0, most=100.0)
    height = 50.0 + _ROW * len(shown)
    chart = Chart("accuracy by class", x, names_axis(names), height=height)
    for row, one in enumerate(shown):
        said = f"{one.correct} of {one.samples} of class {names[row]}"
        chart.mark(one.recall_percent or 0.0, row, _TOP5, said)
    worst = f"The {len(shown)} worst of {len(known)} classes." if len(shown) < len(known) else ""
    return [figure("Accuracy by class", chart.svg, caption=worst)]


def confusion_figure(pairs: Sequence[Sequence[int]], names: Sequence[str] | None) -> Element:
    """How often each class (row) was decided to be each class (column)."""
    known = dict(enumerate(names or ()))
    labels = [known.get(label, str(label)) for label in range(len(pairs))]
    totals = [sum(row) for row in pairs]

    def said(row: int, column: int) -> str:
        decided = f"decided as {labels[column]}"
        return f"{pairs[row][column]} of {totals[row]} of class {labels[row]} {decided}"

    svg = heat_map(
        "confusion matrix: true class by row, decided class by column",
        [[count / (total or 1) for count in row] for row, total in zip(pairs, totals, strict=True)],
        *(labels, labels),
        text=lambda row, column: f"{pairs[row][column] or ''}",
        said=said,
    )
    note = "Row: true class; column: decided class; shade: share of the row."
    return figure("Confusion matrix", svg, caption=note)


def rates_section(layers: Sequence[LayerRate | RateRow], neuron: str, note: str = "") -> Section:
    """Firing rates by layer."""
    return Section("Firing rates", (figures(rates_figure(layers, neuron, note)),))


def rates_figure(layers: Sequence[LayerRate | RateRow], neuron: str, note: str = "") -> Element:
    """The firing rate of each layer: mean, and each time step."""
    style = neuron_style(neuron)
    names = [one.layer.removesuffix(".neuron") for one in layers]
    steps = [one.firing_rate_per_step or () for one in layers]
    values = [*(one.firing_rate for one in layers), *(rate for rates in steps for rate in rates)]
    x = values_axis("spikes per neuron and time step", values, zero=True)
    chart = Chart("firing rate of each layer", x, names_axis(names), height=52 + _ROW * len(names))
    for row, one in enumerate(layers):
        for step, rate in enumerate(one.firing_rate_per_step or (), 1):
            said = f"{names[row]}, step {step}: {rate:.4f}"
            _tick(chart, rate, row, style, said)
        spread = one.firing_rate_sample_std
        more = "" if spread is None else f", standard deviation over samples {spread:.4f}"
        chart.mark(one.firing_rate, row, style, f"{names[row]}: {one.firing_rate:.4f}{more}")
    caption = "Marks: means; ticks: single time steps." if layers[0].firing_rate_per_step else ""
    return figure("Firing rate of each layer", chart.svg, caption=f"{caption} {note}".strip())


def _tick(chart: Chart, x: float, row: float, style: Style, said: str) -> None:
    chart.interval((x, x), (row - 0.28, row + 0.28), style)
    chart.svg[-1].append(element("title", said))
