"""Pictures of one net, one neuron or one sample: axes, units, scales, what marks mean."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from matplotlib.axes import Axes

from clifctl.report.data_picture import draw_sample
from clifctl.report.dynamics_picture import draw_dynamics
from clifctl.report.energy_picture import draw_energy
from clifctl.report.eval_picture import draw_evaluation
from clifctl.report.gradients_picture import draw_gradients
from clifctl.report.pictures import LAYOUTS
from clifctl.report.styles import NEURONS
from clifctl.results.data import FrameRow, SampleResult
from clifctl.results.dynamics import Autocorrelation, DynamicsResult, NeuronDynamics, Traces
from clifctl.results.energy import (
    Cost,
    EnergyResult,
    EnergyRow,
    LayerCost,
    PublishedCost,
    RateRow,
)
from clifctl.results.eval import ClassCount, Confusion, EvalResult, LayerRate
from clifctl.results.gradients import GradientsResult, LagRow, LayerGradients, WindowRow
from clifctl.results.published import Published, PublishedNumber

Kind = TypeVar("Kind")
Drawn = Callable[..., Any]


def made(kind: type[Kind], **known: Any) -> Kind:
    """A result with these fields; all others are None."""
    every: Any = kind
    return kind(**{**dict.fromkeys(field.name for field in dataclasses.fields(every)), **known})


def labels(axis: Any) -> list[str]:
    return [tick.get_text() for tick in axis.get_yticklabels()]


def note(figure: Any) -> str:
    return " ".join(figure.texts[0].get_text().split())


def sample(polarities: tuple[str, str] | None = None, counts: Any = ()) -> Any:
    frames = tuple(
        made(FrameRow, step=step, on_events=on, off_events=off)
        for step, (on, off) in enumerate(counts, 1)
    )
    known = {"data": "d", "split": "test", "sample": 0, "label": 4}
    return made(SampleResult, **known, polarities=polarities, frames=frames)


def test_rows_of_a_sample_are_stacked(drawn: Drawn) -> None:
    frames = np.arange(24.0).reshape(6, 4)
    axis, bar = drawn(draw_sample, sample(), frames).axes
    (image,) = axis.images
    assert np.array_equal(image.get_array(), frames)
    assert image.get_extent() == [0.5, 4.5, 6.5, 0.5]  # step 1 on top
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("number of the input", "time step")
    assert bar.get_ylabel() == "input value"


def test_one_picture_stands_for_equal_time_steps(drawn: Drawn) -> None:
    frames = np.broadcast_to(np.eye(3), (5, 1, 3, 3))
    figure = drawn(draw_sample, sample(), frames)
    assert sum(len(axis.images) for axis in figure.axes) == 1
    assert note(figure) == "All 5 time steps see this picture."


def test_events_are_told_apart_in_grey_and_counted(drawn: Drawn) -> None:
    frames = np.zeros((3, 2, 4, 4))
    frames[:, 0, 0, 0] = frames[:, 1, 1, 1] = 2.0
    frames[0, 1, 2, 2] = 1.0
    figure = drawn(draw_sample, sample(("OFF", "ON"), [(3, 2), (2, 2), (2, 2)]), frames)
    image = figure.axes[0].images[0]
    values = image.get_array()
    assert (values[0, 0], values[1, 1]) == (-2.0, 2.0)
    steps = image.cmap(image.norm(np.linspace(-2, 2, 9)))[:, :3]
    lightness = steps @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    counts = figure.axes[-1]
    assert (counts.get_xlabel(), counts.get_ylabel()) == ("time step", "events a time step")
    assert counts.get_ylim()[0] == 0
    assert {text.get_text() for text in counts.texts} == {"ON", "OFF"}
    on = next(line for line in counts.lines if line.get_color() == "#B87A00")
    assert list(on.get_ydata()) == [3, 2, 2]


def test_long_samples_are_drawn_in_part(drawn: Drawn) -> None:
    frames = np.random.default_rng(0).random((100, 1, 2, 2))
    figure = drawn(draw_sample, sample(), frames)
    assert sum(len(axis.images) for axis in figure.axes) == 25
    assert figure.axes[1].get_title() == "t = 5"
    assert note(figure) == "One of 4 frames is drawn, of 100 time steps."


def evaluation(**known: Any) -> Any:
    rates = tuple(
        made(
            LayerRate,
            layer=f"features.{n}.neuron",
            firing_rate=0.2,
            firing_rate_per_step=(0.1, 0.3),
        )
        for n in range(3)
    )
    settled = {
        "recipe": "r",
        "model": "snn5",
        "neuron": "lif",
        "timesteps": 2,
        "accuracy_percent": 90.0,
        "accuracy_percent_per_step": (70.0, 90.0),
        "firing_rates": rates,
        "published": Published(),
    }
    return made(EvalResult, **{**settled, **known})


def test_an_evaluation(drawn: Drawn) -> None:
    number = made(PublishedNumber, accuracy_percent=95.41, source="Table 1")
    found = evaluation(
        accuracy_top5_percent_per_step=(95.0, 99.0), published=Published(accuracies=(number,))
    )
    figure = drawn(draw_evaluation, found)
    accuracy, rates = figure.axes
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == (
        "time step",
        "test accuracy so far [%]",
    )
    assert {text.get_text() for text in accuracy.texts} == {"top 1", "top 5", "paper,\nTable 1"}
    assert accuracy.lines[0].get_color() == NEURONS["lif"].colour
    assert list(accuracy.lines[0].get_ydata()) == [70.0, 90.0]
    assert labels(rates) == ["features.0", "features.1", "features.2"]
    assert rates.get_xlabel() == "firing rate\n[spikes/neuron/step]"
    assert rates.get_xlim()[0] == 0
    assert not rates.patches
    assert list(rates.lines[0].get_xdata()) == [0.1, 0.3]
    assert note(figure) == "Firing rates: large marks are means, ticks the single time steps."


def classes(count: int, names: bool) -> Any:
    return tuple(
        made(
            ClassCount,
            label=label,
            recall_percent=float(99 - label),
            name=f"class {label}" if names else None,
        )
        for label in range(count)
    )


def test_classes_have_their_names(drawn: Drawn) -> None:
    by_class = drawn(draw_evaluation, evaluation(per_class=classes(3, names=True))).axes[2]
    assert labels(by_class) == ["class 0", "class 1", "class 2"]
    assert list(by_class.lines[0].get_xdata()) == [99.0, 98.0, 97.0]
    assert by_class.get_xlabel() == "accuracy by class [%]"
    figure = drawn(draw_evaluation, evaluation(per_class=classes(50, names=False)))
    assert labels(figure.axes[2])[:2] == ["49", "48"]
    assert note(figure).endswith("Classes: the 20 worst of 50.")


def confusion(count: int, names: bool) -> Confusion:
    """Each class decided right 90 times, and `10 - n % 10` times to be the class after it."""
    counts = np.diag([90] * count)
    counts[range(count), np.roll(range(count), -1)] = 10 - np.arange(count) % 10
    named = tuple(f"a long name {n:03d}" for n in range(count)) if names else None
    return Confusion(class_names=named, counts=tuple(map(tuple, counts.tolist())))


def texts_that_overlap(figure: Any) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    texts = list(figure.texts)
    for panel in figure.findobj(Axes):
        texts += [*panel.texts, panel.xaxis.label, panel.yaxis.label]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            texts += [label for at, label in ticks if low <= at <= high]  # others are not drawn
    boxes = [(one.get_text(), one.get_window_extent()) for one in texts if one.get_text()]
    return [
        (one, other)
        for at, (one, box) in enumerate(boxes)
        for other, there in boxes[at + 1 :]
        if box.padded(-0.5).overlaps(there)
    ]


@pytest.mark.parametrize("width", [pytest.param("page", marks=pytest.mark.exhaustive), "column"])
def test_a_confusion_matrix_can_be_read(drawn: Drawn, width: str) -> None:
    layout = LAYOUTS[width]
    found = evaluation(confusion=confusion(10, names=True), per_class=classes(10, names=True))
    figure = drawn(draw_evaluation, found, layout=layout)
    matrix = next(axis for axis in figure.findobj(Axes) if axis.get_xlabel() == "decided")
    assert labels(matrix) == [f"a long name {n:03d}" for n in range(10)]
    written = {text.get_position(): text.get_text() for text in matrix.texts}
    assert written == {(n, n): "90" for n in range(10)} | {
        ((n + 1) % 10, n): str(10 - n) for n in range(10)
    }
    assert texts_that_overlap(figure) == []
    many = evaluation(confusion=confusion(100, names=True))
    figure = drawn(draw_evaluation, many, layout=layout)
    (pairs,) = (axis for axis in figure.findobj(Axes) if axis.get_xlabel() == "samples")
    assert labels(pairs)[:2] == [
        "a long name 000 > a long name 001",
        "a long name 010 > a long name 011",
    ]
    assert list(pairs.lines[0].get_xdata()) == [10] * 10 + [9] * 10
    assert texts_that_overlap(figure) == []
    assert note(figure).endswith("the 20 most frequent, 190 of 550 errors.")


def gradients(share: float, steps: int = 3, neuron: str = "lif") -> Any:
    layers = tuple(
        made(
            LayerGradients,
            layer=f"features.{n}.neuron",
            lags=tuple(made(LagRow, lag=lag, share=share**lag) for lag in range(steps)),
            reach=tuple(share**lag for lag in range(steps)),
        )
        for n in range(2)
    )
    windows = tuple(
        made(WindowRow, window=k, cosine=1.0, distance_relative=0.0) for k in range(1, steps + 1)
    )
    known = {"source": "last.pt", "neuron": neuron, "timesteps": steps, "input": "data"}
    known |= {"data": "digits", "trained": True, "epoch": 4, "samples": 64}
    return made(GradientsResult, **known, layers=layers, windows=windows)


def test_gradient_maps_share_their_scale(drawn: Drawn) -> None:
    lif = drawn(draw_gradients, gradients(0.1))
    clif = drawn(draw_gradients, gradients(0.5, neuron="clif"))
    for number in (0, 1):
        one, other = lif.axes[number].images[0], clif.axes[number].images[0]
        assert one.get_clim() == other.get_clim()
        assert one.cmap.name == other.cmap.name
    assert lif.axes[0].images[0].get_clim() == (0.01, 100.0)
    shares, reach, windows = lif.axes[:3]
    assert [text.get_text() for text in shares.texts] == ["100", "10", "1.0"] * 2
    assert [text.get_text() for text in reach.texts] == ["1.0", "0.10", "0.01"] * 2
    assert labels(shares) == ["features.0", "features.1"]
    assert shares.get_xlabel() == "lag [time steps]"
    assert windows.get_xlabel() == "window k [time steps]"
    assert {text.get_text() for text in windows.texts} == {"cosine", "relative\ndistance"}
    assert windows.get_legend() is None


def test_numbers_are_written_where_they_have_room(drawn: Drawn) -> None:
    figure = drawn(draw_gradients, gradients(0.9, steps=32))
    assert not figure.axes[0].texts
    tiny = drawn(draw_gradients, gradients(1e-3))
    assert [text.get_text() for text in tiny.axes[0].texts][:3] == ["100", "0.10", "<.01"]


MEMORY = ("potential_mj", "parameters_mj", "in_out_mj", "operations_mj")


def cost(total_mj: float) -> Cost:
    shares = dict(zip(MEMORY, (0.4, 0.3, 0.2, 0.1), strict=True))
    parts = {key: share * total_mj for key, share in shares.items()}
    return Cost(**parts, addressing_uj=0.0, total_mj=total_mj, sop_energy_uj=total_mj)


def energy_row(neuron: str, paper: float, corrected: float, **known: Any) -> EnergyRow:
    layers = tuple(
        made(LayerCost, layer=f"features.{n}.connection", corrected=cost(corrected * n / 190))
        for n in range(20)
    )
    rates = tuple(
        made(
            RateRow,
            layer=f"features.{n}.neuron",
            neurons=9,
            firing_rate=0.2,
            firing_rate_sample_std=0.05,
        )
        for n in range(4)
    )
    settled = {"source": "last.pt", "timesteps": 4, "layers": layers, "rates": "measured"}
    settled |= {"firing_rates": () if neuron == "relu" else rates}
    costs = {"paper": cost(paper), "corrected": cost(corrected)}
    return made(EnergyRow, neuron=neuron, **costs, **{**settled, **known})


def test_energy_is_stacked_totals_and_layers(drawn: Drawn) -> None:
    published = made(PublishedCost, total_mj=34.5)
    ann = energy_row("relu", 110.0, 56.0)
    rows = [
        *(ann, energy_row("lif", 34.5, 54.0, published=published)),
        *(dataclasses.replace(ann, source="other.pt"), energy_row("clif", 64.8, 44.0)),
    ]
    result = made(EnergyResult, methods=("sop", "memory"), rows=tuple(rows))
    figure = drawn(draw_energy, result)
    totals, layers, rates = figure.axes
    assert labels(totals) == [
        *("relu: paper", "corrected", "lif: paper", "corrected", "clif: paper", "corrected")
    ]
    ends = [bar.get_x() + bar.get_width() for bar in totals.patches]
    assert [round(end, 6) for end in ends[4::5]] == [110.0, 56.0, 34.5, 54.0, 64.8, 44.0]
    assert {bar.get_x() for bar in totals.patches[::5]} == {0.0}
    assert totals.get_xlim()[0] == 0
    assert totals.get_xlabel() == "energy of an inference [mJ]"
    assert list(totals.lines[0].get_xdata()) == [34.5, 34.5]
    assert layers.get_xlabel() == "energy by operation, corrected [mJ]"
    assert labels(layers)[0] == "features.4"
    assert labels(layers)[-1] == "3 others, together"
    assert [line.get_color() for line in layers.lines] == [
        NEURONS[name].colour for name in ("relu", "lif", "clif")
    ]
    assert rates.get_ylabel() == "firing rate\n[spikes/neuron/step]"
    assert rates.get_ylim()[0] == 0
    said = "Vertical black line: the total that the paper prints. "
    said += "Firing rates: mean ± standard deviation over samples."
    assert note(figure) == said
    (legend,) = figure.legends
    known = [text.get_text() for text in legend.get_texts()]
    assert known[:4] == ["relu", "lif", "clif", "membrane potential"]


@pytest.mark.parametrize(("total", "unit"), [(2e-4, "pJ"), (0.02, "nJ"), (1.0, "uJ"), (2e3, "mJ")])
def test_energy_has_a_unit_that_fits(drawn: Drawn, total: float, unit: str) -> None:
    result = made(EnergyResult, methods=("sop",), rows=(energy_row("lif", total, total),))
    figure = drawn(draw_energy, result, layout=LAYOUTS["column"])
    assert figure.axes[0].get_xlabel() == f"energy of an inference [{unit}]"
    low, high = figure.axes[0].get_xlim()
    assert low == 0
    assert 1.0 <= high < 1100.0


def dynamics(*names: str) -> Any:
    neurons = tuple(
        made(
            NeuronDynamics,
            neuron=name,
            rates_of_currents=(0.0, 0.5, 1.0),
            autocorrelations=tuple(
                made(
                    Autocorrelation,
                    signal=signal,
                    timesteps=8,
                    raw=(1.0, 0.5),
                    normalised=(1.0, 0.5),
                    mean_removed=(1.0, None),
                )
                for signal in ("u", "v")
            ),
            traces=Traces(
                spikes=(0, 1) * 4,
                u=(0.5, 1.2) * 4,
                threshold=(1.0,) * 8,
                states={"v": (0.5, 0.2) * 4, **({"m": (0.0, 1.0) * 4} if name == "clif" else {})},
            ),
        )
        for name in names
    )
    known = {"input": "poisson", "rate": 0.5, "weight": 0.8, "trials": 3, "timesteps": (4, 8)}
    return made(DynamicsResult, **known, x=(0.8,) * 8, currents=(0.0, 0.5, 1.0), neurons=neurons)


def test_single_neurons(drawn: Drawn) -> None:
    figure = drawn(draw_dynamics, dynamics("lif", "clif"))
    axes = {axis.get_label(): axis for axis in figure.axes}
    assert labels(axes["spikes0"]) == labels(axes["spikes1"]) == ["input", "lif", "clif"]
    curves = axes["currents"]
    assert [line.get_color() for line in curves.lines] == [
        NEURONS[name].colour for name in ("lif", "clif")
    ]
    assert curves.get_xlabel() == "constant input current [units of input]"
    assert {text.get_text() for text in curves.texts} == {"lif", "clif"}
    traces = axes["traces1"]
    assert {text.get_text() for text in traces.texts} == {"u", "v", "m", "threshold"}
    # The same line for a signal in its trace and in its autocorrelation.
    looks = [(line.get_color(), line.get_linestyle()) for line in traces.lines[:2]]
    again = [(line.get_color(), line.get_linestyle()) for line in axes["raw1"].lines[:2]]
    assert looks == again
    assert len({line.get_color() for line in traces.lines[:3]}) == 3
    assert axes["mean_removed1"].get_xlabel() == "lag k [time steps]"
    assert "traces of its first 4 time steps" in note(figure)
    assert "3 trials, T = 8" in note(figure)
    assert not any(axis.get_legend() for axis in figure.axes)
