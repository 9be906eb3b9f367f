"""The paper's figures: axes, series and their order are those that its text gives. And pictures are
legible at both sizes."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clifctl.report.compare_neurons_picture import draw_comparison
from clifctl.report.dynamics_picture import draw_dynamics
from clifctl.report.energy_picture import draw_energy
from clifctl.report.eval_picture import draw_evaluation
from clifctl.report.gradients_picture import draw_gradients
from clifctl.report.pictures import LAYOUTS
from clifctl.report.runs_picture import draw_runs
from clifctl.report.styles import NEURONS
from clifctl.report.sweep_picture import draw_sweep
from clifctl.report.truncate_bptt_picture import draw_truncation
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.dynamics import Autocorrelation, DynamicsResult, NeuronDynamics, Traces
from clifctl.results.energy import EnergyResult, EnergyRow, RateRow
from clifctl.results.eval import EvalResult
from clifctl.results.filled import filled
from clifctl.results.gradients import GradientsResult, LagRow
from clifctl.results.runs import RunCurves, RunRow
from clifctl.results.statistics import Estimate
from clifctl.results.summary import MeanCurve, Summary
from clifctl.results.sweep import SweepResult, SweptPoint
from clifctl.results.trials import Epochs
from clifctl.results.truncate_bptt import TruncationResult, TruncationRow

Drawn = Callable[..., Any]
TAUS, WINDOWS = (1.1, 1.3, 1.5, 1.8, 2.0), (1, 2, 3, 4, 5, 6)
FIGURE_4 = ("lif", "plif", "klif", "glif", "clif", "relu")
LOSS = tuple(2.0 / n for n in range(1, 31))


def of(mean: float) -> Estimate:
    return Estimate(mean=mean, standard_error=0.5, n=4, values=(mean - 1, mean, mean, mean + 1))


def summary(accuracy: float, loss: float = 0.5) -> Summary:
    return filled(Summary, accuracy_percent_last=of(accuracy), train_loss_train_mode=of(loss))


def comparison(neurons: Sequence[str], *steps: int) -> NeuronComparison:
    curve = MeanCurve(mean=LOSS, standard_error=(0.01,) * len(LOSS))
    rows = tuple(
        filled(
            ComparedNeuron,
            neuron=neuron,
            timesteps=count,
            paired_timesteps=count,
            batch_norm="per_step",
            summary=summary(90.0 + place + count / 8),
            train_loss_curve=curve,
            test_loss_curve=curve,
        )
        for count in steps
        for place, neuron in enumerate(neurons)
    )
    found = filled(NeuronComparison, rows=rows)
    return replace(found, exchange_to=None, exchange_after_epoch=None)


def truncation(taus: Sequence[float] = TAUS, windows: Sequence[int] = WINDOWS) -> TruncationResult:
    rows = tuple(
        filled(TruncationRow, tau=tau, window=k, summary=summary(80 + k + tau, 1 / k))
        for tau in taus
        for k in windows
    )
    return filled(TruncationResult, rows=rows, neuron="lif", timesteps=windows[-1])


def runs() -> tuple[list[RunCurves], list[RunRow]]:
    epochs = Epochs(train_loss_train_mode=LOSS, test_loss=LOSS, test_accuracy_percent=LOSS)
    labels = ("lif: lif", "lif-to-clif: lif", "clif: clif")
    curves = [RunCurves(label=one, exchange_after_epoch=None, epochs=epochs) for one in labels]
    curves[1] = replace(curves[1], exchange_after_epoch=10)
    return curves, [filled(RunRow, neuron=name) for name in ("lif", "lif", "clif")]


def neuron(name: str, states: Sequence[str], steps: int) -> NeuronDynamics:
    wave = tuple(math.sin(t / 3) for t in range(steps))
    signals = tuple(
        filled(Autocorrelation, signal=one, timesteps=steps, raw=(0.5, 0.25, 0.1),
               normalised=(1.0, 0.5, 0.2), mean_removed=(1.0, 0.1, 0.0))
        for one in ("u", *states)
    )  # fmt: skip
    traces = Traces(
        spikes=tuple(t % 3 // 2 for t in range(steps)),
        u=wave,
        threshold=(1.0,) * steps,
        states=dict.fromkeys(states, wave),
    )
    return filled(NeuronDynamics, neuron=name, autocorrelations=signals, traces=traces)


def dynamics() -> DynamicsResult:
    every = (neuron("lif", ("v",), 512), neuron("clif", ("v", "m"), 512))
    return filled(
        DynamicsResult, neurons=every, timesteps=(64, 128, 256, 512), x=(0.8, 0.0) * 256, rate=0.5
    )


def energies() -> EnergyResult:
    rates = {"lif": (0.2, 0.3, 0.1), "clif": (0.1, 0.15, 0.05), "relu": ()}
    rows = tuple(
        replace(
            filled(EnergyRow, neuron=name, published=None),
            firing_rates=tuple(
                filled(RateRow, neurons=10, firing_rate=rate, firing_rate_sample_std=0.01)
                for rate in known
            ),
        )
        for name, known in rates.items()
    )
    return filled(EnergyResult, methods=("sop", "memory"), rows=rows)


def sweep(*others: str) -> SweepResult:
    rows = tuple(
        filled(SweptPoint, title=f"lr={lr}, {other}", summary=summary(90.0),
               values={"train.lr": lr, "neuron.name": other})
        for other in others
        for lr in (1e-4, 1e-3, 1e-2, 0.1)
    )  # fmt: skip
    found = filled(SweepResult, rows=rows, quantity="accuracy_percent_last")
    return replace(found, keys=("train.lr", "neuron.name"), against=None)


def gradients(steps: int) -> GradientsResult:
    lags = tuple(filled(LagRow, lag=lag, share=0.5**lag) for lag in range(steps))
    return filled(GradientsResult, timesteps=steps, lags=lags, reach=(0.5,) * steps)


def axes_of(figure: Any) -> list[tuple[str, str]]:
    """What the axes of each panel are, the panels in their order."""
    panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    return [(one.get_xlabel(), " ".join(one.get_ylabel().split())) for one in panels]


def series(axis: Any) -> list[str]:
    """The colours of the lines, in the order in which they are drawn: of those with error bars."""
    bars = [one.lines[0].get_color() for one in axis.containers]
    return list(dict.fromkeys(bars or [line.get_color() for line in axis.lines]))


def colours(*neurons: str) -> list[str]:
    return [NEURONS[one].colour for one in neurons]


def ticks(axis: Any) -> list[str]:
    return [tick.get_text() for tick in axis.get_xticklabels()]


def test_figure_2a_is_accuracy_against_the_window_by_tau(drawn: Drawn) -> None:
    figure = drawn(draw_truncation, truncation())
    assert axes_of(figure)[0] == ("window k [time steps]", "test accuracy, last epoch [%]")
    accuracy = figure.axes[0]
    assert [list(one.lines[0].get_xdata()) for one in accuracy.containers] == [[*WINDOWS]] * 5
    assert [one.lines[0].get_ydata()[0] for one in accuracy.containers] == [81 + t for t in TAUS]
    assert {text.get_text() for text in accuracy.texts} == {f"tau = {tau:g}" for tau in TAUS}
    assert axes_of(figure)[2] == ("window k [time steps]", "tau [time steps]")


@pytest.mark.parametrize("steps", [(2, 4, 8, 16, 32), (2, 4, 6, 8)])
def test_figures_2b_and_3b_are_accuracy_against_timesteps(
    drawn: Drawn, steps: tuple[int, ...]
) -> None:
    figure = drawn(draw_comparison, comparison(("lif", "clif"), *steps))
    accuracy = figure.axes[0]
    assert axes_of(figure)[0] == ("time steps T", "test accuracy, last epoch [%]")
    assert series(accuracy) == colours("lif", "clif")
    assert ticks(accuracy) == [str(one) for one in steps]
    assert [list(one.lines[0].get_xdata()) for one in accuracy.containers] == [[*steps]] * 2
    assert figure.texts[0].get_text().startswith("Mean ± standard error of 4 seeds")


def test_figure_3a_is_the_loss_by_epoch_with_the_exchange(drawn: Drawn) -> None:
    figure = drawn(draw_runs, *runs())
    assert axes_of(figure)[0] == ("epoch", "training loss (TET), train mode")
    loss = figure.axes[0]
    assert list(loss.lines[0].get_ydata()) == list(LOSS)
    assert [text.get_text() for text in loss.texts] == ["exchange"]
    (legend,) = figure.legends
    order = [text.get_text() for text in legend.get_texts()]
    assert order == ["lif: lif", "lif-to-clif: lif", "clif: clif"]


def test_figure_4_is_accuracy_by_neuron_in_the_order_of_the_text(drawn: Drawn) -> None:
    figure = drawn(draw_comparison, comparison(FIGURE_4, 8))
    assert axes_of(figure)[0] == ("neuron", "test accuracy, last epoch [%]")
    assert ticks(figure.axes[0]) == list(FIGURE_4)
    assert series(figure.axes[0]) == colours(*FIGURE_4)


def test_figure_7_is_spikes_at_each_t_and_the_states(drawn: Drawn) -> None:
    figure = drawn(draw_dynamics, dynamics())
    panels = {axis.get_label(): axis for axis in figure.axes}
    rasters = [panels[f"spikes{number}"] for number in range(4)]
    assert [one.get_title() for one in rasters] == [f"spikes, T = {t}" for t in (64, 128, 256, 512)]
    assert [one.get_xlim()[1] for one in rasters] == [65, 129, 257, 513]
    for one in rasters:
        assert one.get_xlabel() == "time step"
        assert [label.get_text() for label in one.get_yticklabels()] == ["input", "lif", "clif"]
        assert one.yaxis_inverted()
    places = [len(line.get_positions()) for line in rasters[1].collections]
    assert places == [64, 42, 42]
    traces = panels["traces1"]
    assert {text.get_text() for text in traces.texts} == {"u", "v", "m", "threshold"}
    assert traces.get_ylabel() == "clif\n[units of input]"
    assert len(traces.lines[0].get_xdata()) == 64


def test_figure_8_is_the_autocorrelation_by_lag(drawn: Drawn) -> None:
    figure = drawn(draw_dynamics, dynamics())
    panels = {axis.get_label(): axis for axis in figure.axes}
    for number, names in enumerate((("u", "v"), ("u", "v", "m"))):
        raw = panels[f"raw{number}"]
        assert raw.get_ylabel() == "R[k]"
        drawn_lines = [line for line in raw.lines if len(line.get_xdata()) == 3]
        assert len(drawn_lines) == len(names)
        assert list(drawn_lines[-1].get_ydata()) == [0.5, 0.25, 0.1]
        assert panels[f"mean_removed{number}"].get_ylabel() == "R[k] / R[0]"
    assert panels["raw1"].get_xlabel() == "lag k [time steps]"
    note = " ".join(figure.texts[0].get_text().split())
    assert note.endswith("T = 512; R[k] = 1/T sum of x[n] x[n - k].")


def test_figure_10_is_the_loss_by_epoch_of_both_neurons(drawn: Drawn) -> None:
    figure = drawn(draw_comparison, comparison(("lif", "clif"), 6))
    assert axes_of(figure)[1:] == [
        ("epoch", "training loss (TET), train mode"),
        ("epoch", "test loss (TET), evaluation mode"),
    ]
    assert series(figure.axes[1]) == colours("lif", "clif")
    assert list(figure.axes[1].lines[0].get_xdata()) == list(range(1, 31))


def test_figure_11_is_the_firing_rate_by_layer_and_its_mean(drawn: Drawn) -> None:
    figure = drawn(draw_energy, energies())
    rates = figure.axes[-1]
    assert axes_of(figure)[-1] == (
        "layer of neurons, in forward order",
        "firing rate [spikes/neuron/step]",
    )
    assert series(rates) == colours("lif", "clif")
    assert list(rates.containers[0].lines[0].get_ydata()) == [0.2, 0.3, 0.1]
    assert {text.get_text() for text in rates.texts} == {"lif\nmean 0.200", "clif\nmean 0.100"}


LONG = ("lif", "clif(v_threshold=0.75)", "clif(v_threshold=0.5)", "a/b/mine.py:AdaptiveNeuron")
PICTURES: dict[str, tuple[Any, ...]] = {
    "figure 2a": (draw_truncation, truncation()),
    "many windows": (draw_truncation, truncation(np.linspace(1.1, 2, 8), range(1, 13))),
    "figure 3a": (draw_runs, *runs()),
    "figure 4": (draw_comparison, comparison(FIGURE_4, 8)),
    "every neuron": (draw_comparison, comparison([*NEURONS], 8)),
    "long names": (draw_comparison, comparison(LONG, 2, 4)),
    "figure 7": (draw_dynamics, dynamics()),
    "figure 11": (draw_energy, energies()),
    "sweep": (draw_sweep, sweep("lif", "clif")),
    "long sweep": (draw_sweep, sweep(*(f"a_long_name_of_a_neuron_{n}" for n in range(9)))),
    "points": (draw_sweep, sweep(*map(str, range(13)))),
    "gradients": (draw_gradients, gradients(6)),
    "evaluation": (draw_evaluation, filled(EvalResult, neuron="clif")),
}


# The others are more of the same kind.
ALWAYS = {("long names", "column"), ("long sweep", "page"), ("points", "column")}
CASES = [
    pytest.param(name, size, marks=() if (name, size) in ALWAYS else pytest.mark.exhaustive)
    for name in PICTURES
    for size in ("page", "column")
]


def tick_labels(axis: Any) -> list[list[Any]]:
    """Of the x and the y axis of a panel: the labels that are drawn, those within its limits."""
    found = []
    for one, labels in ((axis.xaxis, axis.get_xticklabels()), (axis.yaxis, axis.get_yticklabels())):
        low, high = sorted(one.get_view_interval())
        pairs = zip(one.get_ticklocs(), labels, strict=True)
        found.append([label for at, label in pairs if low <= at <= high and label.get_text()])
    return found


def texts_of(figure: Any) -> list[Any]:
    """Every text that is drawn."""
    found = [*figure.texts, *(text for one in figure.legends for text in one.get_texts())]
    for axis in figure.axes:
        found += [*axis.texts, axis.title, axis.xaxis.label, axis.yaxis.label]
        found += [label for labels in tick_labels(axis) for label in labels]
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize(("name", "size"), CASES)
def test_pictures_are_legible(drawn: Drawn, name: str, size: str) -> None:
    draw, *shown = PICTURES[name]
    figure = drawn(draw, *shown, layout=LAYOUTS[size])
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    texts = texts_of(figure)
    assert len(texts) > 8
    for text in texts:
        said, box = text.get_text(), text.get_window_extent()
        assert text.get_fontsize() >= 6.0, said
        assert "$" not in said  # a formula, which is not read
        assert -1 < box.x0 < box.x1 < width + 1, f"'{said}' is cut off"
        assert -1 < box.y0 < box.y1 < height + 1, f"'{said}' is cut off"
    for axis in figure.axes:
        for labels in tick_labels(axis):
            beside = [one for one in labels if one.get_rotation() in (0, 90)]
            for one, other in itertools.pairwise(beside):
                assert not overlap(one.get_window_extent(), other.get_window_extent()), (
                    f"'{one.get_text()}' and '{other.get_text()}' overlap"
                )


def overlap(one: Any, other: Any) -> bool:
    """Whether two boxes share more than their edges."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    down = min(one.y1, other.y1) - max(one.y0, other.y0)
    return min(across, down) > 1.0
