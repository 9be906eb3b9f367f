"""Single neurons on one common input."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from clifctl.report.dynamics import dynamics_report, longest
from clifctl.report.page.chart import Chart, steps_axis, values_axis
from clifctl.report.page.figure import Key, figure, figures
from clifctl.report.page.section import Section, tables
from clifctl.report.styles import Style, neuron_styles
from clifctl.results.dynamics import DynamicsResult, NeuronDynamics

_MOST_STEPS = 64  # of a trace that are drawn
_MOST_LAG = 40
_THRESHOLD = Style("#5A5A5A", "", (0, (4, 2)))


def dynamics_section(result: DynamicsResult) -> Section:
    """Traces, autocorrelations and f-I curves of every neuron."""
    styles = neuron_styles(one.neuron for one in result.neurons)
    shown = [_trace(one, styles[one.neuron]) for one in result.neurons]
    curves = {
        one.neuron: list(zip(result.currents, one.rates_of_currents, strict=True))
        for one in result.neurons
    }
    shown.append(_curves("Firing rate on a constant input", "input current", curves, styles))
    correlations = {}
    for number, one in enumerate(result.neurons):
        first = longest(result, number)[0]
        pairs = enumerate(first.mean_removed[: _MOST_LAG + 1])
        known = [(float(lag), value) for lag, value in pairs if value is not None]
        if known:
            correlations[one.neuron] = known
    if correlations:
        signal = longest(result, 0)[0].signal
        title = f"Autocorrelation of {signal}, mean removed"
        shown.append(_curves(title, "lag [time steps]", correlations, styles))
    report = dynamics_report(result, traces=False)
    return Section("Single neurons", (figures(*shown), *tables(report.tables, fold=True)))


def _trace(one: NeuronDynamics, style: Style) -> Element:
    traces = one.traces
    steps = min(len(traces.spikes), _MOST_STEPS)
    name, values = next(iter(traces.states.items()), ("spikes", tuple(map(float, traces.spikes))))
    if traces.u is not None:
        name, values = "membrane potential u", traces.u
    every = list(values[:steps])
    keys = [Key(name, Style(style.colour, "", "-"))]
    if traces.threshold is not None:
        every += traces.threshold[:steps]
        keys.append(Key("threshold", _THRESHOLD))
    low, high = min(every), max(every)
    top = high + 0.14 * ((high - low) or 1.0)
    chart = Chart(one.title, steps_axis(steps), values_axis("", [*every, top]), height=170.0)
    chart.line(list(enumerate(values[:steps], 1)), Style(style.colour, "", "-"))
    if traces.threshold is not None:
        chart.line(list(enumerate(traces.threshold[:steps], 1)), _THRESHOLD)
    for step, spike in enumerate(traces.spikes[:steps], 1):
        if spike:
            chart.interval((step, step), (high + 0.35 * (top - high), top), style)
            chart.svg[-1].set("class", "spike")
    return figure(one.neuron, chart.svg, keys=keys, caption="Short bars on top: spikes.")


def _curves(
    title: str,
    across: str,
    curves: dict[str, list[tuple[float, float]]],
    styles: dict[str, Style],
) -> Element:
    points: Sequence[tuple[float, float]] = [one for curve in curves.values() for one in curve]
    y = values_axis("", [value for _, value in points])
    chart = Chart(title, values_axis(across, [at for at, _ in points]), y)
    for neuron, curve in curves.items():
        chart.curve(
            curve, styles[neuron], [f"{neuron}, {at:g}: {value:.4f}" for at, value in curve]
        )
    keys = [Key(neuron, styles[neuron]) for neuron in curves]
    return figure(title, chart.svg, keys=keys)
