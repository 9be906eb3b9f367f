"""The picture of `dynamics`: rasters and traces as in Figure 7, autocorrelations as in Figure 8."""

from typing import Any

from clifctl.report.dynamics import longest, trials_of
from clifctl.report.pictures import new_figure
from clifctl.results.dynamics import DynamicsResult, NeuronDynamics

# Told apart by their dashes and their grey.
_STYLES = (("black", "-"), ("0.55", "-"), ("0.3", "--"), ("0.5", ":"), ("0.65", "-."), ("0.2", ":"))
_MARKERS = "osD^vPX*<>"
# Letters of a name.
_MOST_NAME = 16


def draw_dynamics(result: DynamicsResult) -> Any:
    """Above, spikes of the input and of every neuron, and the f-I curves; below, a row for each
    neuron: its states over the shortest T, and the autocorrelation of each over the longest, in the
    same lines."""
    count = len(result.neurons)
    top = 1.5 + 0.22 * (count + 1)
    figure = new_figure(14.0, top + 2.1 * count)
    given = result.input
    if result.rate is not None:
        given = f"Poisson input, p = {result.rate:g}, weight {result.weight:g}"
    elif result.weight is not None:
        given = f"constant input {result.weight:g}"
    given += (
        f"; spikes and traces: the first trial, T = {result.timesteps[0]}; autocorrelation: "
        f"{trials_of(result)}, T = {result.timesteps[-1]}"
    )
    figure.suptitle(given, fontsize=11)
    axes = figure.subplots(
        count + 1, 3, squeeze=False, width_ratios=(2.4, 1, 1), height_ratios=(top, *[2.1] * count)
    )
    _rasters(axes[0, 0], result)
    _currents(axes[0, 1], result)
    axes[0, 2].axis("off")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    axes[0, 2].legend(handles, labels, fontsize=8, loc="center left", title="f-I curve")
    for number, neuron in enumerate(result.neurons):
        _traces(axes[number + 1, 0], neuron, result.timesteps[0])
        for axis, kind in zip(axes[number + 1, 1:], ("normalised", "mean_removed"), strict=True):
            _autocorrelations(axis, result, number, kind)
    axes[1, 0].set_title("membrane potential and states", fontsize=10)
    axes[1, 1].set_title("autocorrelation", fontsize=10)
    axes[1, 2].set_title("mean removed", fontsize=10)
    for axis in axes[-1, 1:]:
        axis.set_xlabel("lag [time steps]")
    axes[-1, 0].set_xlabel("time step")
    return figure


def _short(name: str) -> str:
    """The name of a neuron, as far as there is room for it beside a trace."""
    file = name.rpartition("/")[2]
    return file if len(file) <= _MOST_NAME else file.rpartition(":")[2][:_MOST_NAME]


def _rasters(axis: Any, result: DynamicsResult) -> None:
    steps = result.timesteps[0]
    names = [_short(neuron.neuron) for neuron in result.neurons]
    rows = [[t + 1 for t in range(steps) if result.x[t] != 0.0]]
    rows += [[t + 1 for t in range(steps) if neuron.traces.spikes[t]] for neuron in result.neurons]
    places = list(range(len(rows)))
    axis.eventplot(rows, lineoffsets=places, linelengths=0.7, colors="black", linewidths=1.0)
    axis.set_yticks(places, ["input", *names], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, steps + 1)
    axis.set_title(f"spikes, first {steps} time steps", fontsize=10)


def _currents(axis: Any, result: DynamicsResult) -> None:
    for number, neuron in enumerate(result.neurons):
        colour, style = _STYLES[number % len(_STYLES)]
        axis.plot(
            result.currents, neuron.rates_of_currents, style, color=colour, linewidth=1.0,
            label=_short(neuron.neuron), marker=_MARKERS[number % len(_MARKERS)], markersize=4,
        )  # fmt: skip
    axis.set_xlabel("constant input current")
    axis.set_ylabel("rate [spikes/step]", fontsize=9)
    axis.grid(alpha=0.3)


def _traces(axis: Any, neuron: NeuronDynamics, steps: int) -> None:
    times = range(1, steps + 1)
    traces = neuron.traces
    signals = {} if traces.u is None else {"u": traces.u}
    signals.update(traces.states)
    for number, (name, values) in enumerate(signals.items()):
        colour, style = _STYLES[number % len(_STYLES)]
        axis.plot(times, values[:steps], style, color=colour, linewidth=1.1, label=name)
    if traces.threshold is not None:
        axis.plot(
            times, traces.threshold[:steps], linestyle=(0, (1, 3)), color="black", linewidth=1.0,
            label="threshold",
        )  # fmt: skip
    low, high = axis.get_ylim()
    fired = [t for t in times if traces.spikes[t - 1]]
    axis.plot(fired, [high] * len(fired), "|", color="black", markersize=7, label="spike")
    axis.set_ylim(low, high + 0.08 * (high - low))
    axis.set_xlim(0, steps + 1)
    axis.set_ylabel(f"{_short(neuron.neuron)}\n[units of input]", fontsize=9)
    # Beside the data, never on it.
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _autocorrelations(axis: Any, result: DynamicsResult, number: int, kind: str) -> None:
    for index, one in enumerate(longest(result, number)):
        colour, style = _STYLES[index % len(_STYLES)]
        values = [float("nan") if v is None else v for v in getattr(one, kind)]
        axis.plot(range(len(values)), values, style, color=colour, linewidth=1.1)
    axis.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axis.set_ylim(top=1.05)
    axis.set_ylabel("R[k] / R[0]", fontsize=9)
