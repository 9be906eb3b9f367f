"""The picture of `dynamics`: rasters and traces as in Figure 7, autocorrelations as in Figure 8."""

from dataclasses import replace
from typing import Any

import numpy as np

from clifctl.report.dynamics import longest, trials_of
from clifctl.report.pictures import Layout, LineEnd, finish, label_ends, line_look, new_figure
from clifctl.report.styles import Dashes, Style, neuron_styles, series_styles, short_name
from clifctl.results.dynamics import DynamicsResult, NeuronDynamics

# Of the signals of one neuron: the first two are shades of its colour, the others black and grey.
_SHADES = ("#000000", "#595959", "#8C8C8C")
_DASHES: tuple[Dashes, ...] = ((0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)))
_THRESHOLD = Style("#737373", "", (0, (1, 2.5)))
# Of autocorrelations: the title, and the quantity of the axis.
_KINDS = {"raw": ("autocorrelation", "R[k]"), "mean_removed": ("mean removed", "R[k] / R[0]")}
_MOST_RASTERS = 4
Ends = dict[Any, list[LineEnd]]


def draw_dynamics(result: DynamicsResult, layout: Layout) -> Any:
    """Above, spikes of the input and of every neuron over each T (Figure 7), and the f-I curves;
    below, for each neuron: its states over the shortest T (Figure 7), and the autocorrelation of
    each over the longest (Figure 8), in the same lines."""
    count = len(result.neurons)
    styles = neuron_styles(neuron.neuron for neuron in result.neurons)
    spans = _spans(result)
    figure, axes = _panels(layout, count, len(spans))
    for number, steps in enumerate(spans):
        _rasters(figure, axes[f"spikes{number}"], result, steps, styles)
    ends: Ends = {axes["currents"]: _currents(axes["currents"], result, styles)}
    for number, neuron in enumerate(result.neurons):
        looks = _signal_styles(result, number, styles[neuron.neuron])
        traces = axes[f"traces{number}"]
        ends[traces] = _traces(traces, neuron, result.timesteps[0], looks)
        for kind in _KINDS:
            _autocorrelations(axes[f"{kind}{number}"], result, number, kind, looks)
    for kind, (title, _) in _KINDS.items():
        axes[f"{kind}0"].set_title(title)
        axes[f"{kind}{count - 1}"].set_xlabel("lag k [time steps]")
    axes[f"traces{count - 1}"].set_xlabel("time step")
    label_ends(figure, ends)
    return finish(figure, layout, _title(result), _note(result))


def _spans(result: DynamicsResult) -> list[int]:
    """The numbers of time steps whose spikes are drawn: all, or the shortest, the longest and two
    between."""
    known = result.timesteps
    places = np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_RASTERS)).round())
    return [known[int(place)] for place in places]


def _panels(layout: Layout, count: int, rasters: int) -> tuple[Any, dict[str, Any]]:
    """The figure, and its panels by name: rows of spikes and f-I curves, then a row a neuron."""
    spikes = [f"spikes{number}" for number in range(rasters)]
    top, below = 0.6 + 0.17 * (count + 1), 1.3 if layout.narrow else 1.35
    if layout.narrow:
        rows = [*([one] for one in spikes), ["currents"]]
        heights = [*[top] * rasters, 1.6]
    else:
        rows = [[*spikes[:2], "currents"], *([spikes[2:]] if rasters > 2 else [])]
        heights = [max(1.5, top), *([top] if rasters > 2 else [])]
    each = below * (2 if layout.narrow else 1) * count
    figure = new_figure(layout, layout.width, sum(heights) + each)
    # A row a part, as rows differ in how many panels they have.
    *upper, lower = figure.subfigures(len(rows) + 1, 1, height_ratios=[*heights, each])
    axes: dict[str, Any] = {}
    for part, row in zip(upper, rows, strict=True):
        axes |= part.subplot_mosaic([row])
    kinds = [[f"{kind}{number}" for kind in _KINDS] for number in range(count)]
    if layout.narrow:
        grid = [one for n in range(count) for one in ([f"traces{n}"] * 2, kinds[n])]
        return figure, axes | lower.subplot_mosaic(grid)
    grid = [[f"traces{n}", *kinds[n]] for n in range(count)]
    return figure, axes | lower.subplot_mosaic(grid, width_ratios=[2.0, 1.0, 1.0])


def _title(result: DynamicsResult) -> str:
    if result.rate is not None:
        return f"Poisson input, p = {result.rate:g}, weight {result.weight:g}"
    if result.weight is not None:
        return f"constant input {result.weight:g}"
    return result.input


def _note(result: DynamicsResult) -> str:
    return (
        f"{_title(result)[0].upper()}{_title(result)[1:]}, the same for all neurons. Spikes and "
        f"traces: the first trial; traces of its first {result.timesteps[0]} time steps, ticks "
        f"above them are spikes. Autocorrelation: {trials_of(result)}, T = {result.timesteps[-1]}; "
        "R[k] = 1/T sum of x[n] x[n - k]."
    )


def _rasters(
    figure: Any, axis: Any, result: DynamicsResult, steps: int, styles: dict[str, Style]
) -> None:
    rows = [[t + 1 for t in range(steps) if result.x[t] != 0.0]]
    rows += [[t + 1 for t in range(steps) if neuron.traces.spikes[t]] for neuron in result.neurons]
    places = list(range(len(rows)))
    colours = ["#000000", *(styles[neuron.neuron].colour for neuron in result.neurons)]
    # Ticks leave a gap between time steps, as long as there is room for one.
    width = min(1.0, 0.7 * axis.get_window_extent().width / figure.dpi * 72.0 / steps)
    axis.eventplot(rows, lineoffsets=places, linelengths=0.7, colors=colours, linewidths=width)
    axis.set_yticks(places, ["input", *(short_name(neuron.neuron) for neuron in result.neurons)])
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.set_xlim(0, steps + 1)
    axis.set_xlabel("time step")
    axis.set_title(f"spikes, T = {steps}")


def _currents(axis: Any, result: DynamicsResult, styles: dict[str, Style]) -> list[LineEnd]:
    ends = []
    for neuron in result.neurons:
        style, rates = styles[neuron.neuron], neuron.rates_of_currents
        axis.plot(result.currents, rates, **line_look(style))
        ends.append(LineEnd(short_name(neuron.neuron), rates[-1], style))
    axis.set_xlabel("constant input current [units of input]")
    axis.set_ylabel("firing rate\n[spikes/step]")
    axis.set_title("f-I curve")
    axis.grid(axis="y")
    return ends


def _signal_styles(result: DynamicsResult, number: int, style: Style) -> dict[str, Style]:
    """A style for each signal of a neuron, in traces and autocorrelations alike: the membrane
    potential before and after the reset first, which every neuron has."""
    names = {*result.neurons[number].traces.states, "u"}
    names |= {one.signal for one in longest(result, number)}
    first, second = series_styles(style, 2)
    looks = [replace(first, dashes="-"), replace(second, dashes=(0, (4, 1.5)))]
    looks += [Style(*look) for look in zip(_SHADES, ("", "", ""), _DASHES, strict=True)]
    ordered = sorted(names, key=lambda name: ("uv".find(name) % 3, name))
    return {name: looks[place % len(looks)] for place, name in enumerate(ordered)}


def _traces(
    axis: Any, neuron: NeuronDynamics, steps: int, looks: dict[str, Style]
) -> list[LineEnd]:
    times = range(1, steps + 1)
    traces = neuron.traces
    signals = {} if traces.u is None else {"u": traces.u}
    signals.update(traces.states)
    ends = []
    for name, values in signals.items():
        _line(axis, times, values[:steps], looks[name])
        ends.append(LineEnd(name, values[steps - 1], looks[name]))
    if traces.threshold is not None:
        _line(axis, times, traces.threshold[:steps], _THRESHOLD)
        ends.append(LineEnd("threshold", traces.threshold[steps - 1], _THRESHOLD))
    low, high = axis.get_ylim()
    fired = [t for t in times if traces.spikes[t - 1]]
    axis.plot(fired, [high + 0.05 * (high - low)] * len(fired), "|", color="black", markersize=4)
    axis.set_ylim(low, high + 0.12 * (high - low))
    axis.set_xlim(0, steps + 1)
    axis.set_ylabel(f"{short_name(neuron.neuron)}\n[units of input]")
    return ends


def _autocorrelations(
    axis: Any, result: DynamicsResult, number: int, kind: str, looks: dict[str, Style]
) -> None:
    for one in longest(result, number):
        values = [float("nan") if v is None else v for v in getattr(one, kind)]
        _line(axis, range(len(values)), values, looks[one.signal])
    axis.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
    if kind == "mean_removed":
        axis.set_ylim(top=1.05)
    axis.set_ylabel(_KINDS[kind][1])


def _line(axis: Any, at: Any, values: Any, style: Style) -> None:
    axis.plot(at, values, color=style.colour, linestyle=style.dashes, linewidth=1.0)
