"""Pictures of comparisons and runs: axes, labels, series, what bands mean; nothing hidden."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from clifctl.experiments.grid.statistics import estimate
from clifctl.experiments.grid.summary import mean_curve
from clifctl.report.compare_neurons_picture import draw_comparison
from clifctl.report.pictures import LAYOUTS
from clifctl.report.runs_picture import draw_runs
from clifctl.report.styles import NEURONS
from clifctl.report.truncate_bptt_picture import draw_truncation
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.runs import RunCurves, RunRow
from clifctl.results.summary import MeanCurve, Summary
from clifctl.results.trials import Epochs
from clifctl.results.truncate_bptt import TruncationResult, TruncationRow

Kind = TypeVar("Kind")
Drawn = Callable[..., Any]
PAGE, COLUMN = LAYOUTS["page"], LAYOUTS["column"]


def made(kind: type[Kind], **known: Any) -> Kind:
    """A result with these fields; all others are None."""
    every: Any = kind
    return kind(**{**dict.fromkeys(field.name for field in dataclasses.fields(every)), **known})


def epochs(*losses: float) -> Epochs:
    return Epochs(
        train_loss_train_mode=losses,
        test_loss=tuple(loss + 0.1 for loss in losses),
        test_accuracy_percent=tuple(100 - 10 * loss for loss in losses),
    )


def row(neuron: str, accuracies: Sequence[float], losses: int = 3, **more: Any) -> ComparedNeuron:
    curves = [epochs(*(seed / 10 + 3 / n for n in range(1, losses + 1))) for seed in range(2)]
    curve: MeanCurve = mean_curve(curves, lambda one: one.train_loss_train_mode)
    settled: dict[str, Any] = {"timesteps": 4, "paired_timesteps": 4, "batch_norm": "per_step"}
    settled["summary"] = made(Summary, accuracy_percent_last=estimate(accuracies))
    return made(
        ComparedNeuron,
        neuron=neuron,
        train_loss_curve=curve,
        test_loss_curve=curve,
        **{**settled, **more},
    )


def comparison(*rows: ComparedNeuron, seeds: int = 4, exchange: int | None = None) -> Any:
    return made(
        NeuronComparison,
        recipe="digits_snn5",
        data="digits",
        model="snn5",
        seeds_asked=seeds,
        rows=rows,
        exchange_to=exchange and "clif",
        exchange_after_epoch=exchange,
    )


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def note(figure: Any) -> str:
    return " ".join(figure.texts[0].get_text().split())


def test_accuracy_by_neuron_is_dots_with_intervals_and_seeds(drawn: Drawn) -> None:
    found = comparison(
        row("lif", [90.0, 92.0, 94.0, 96.0]),
        row("mine.py:Foo", [90.5, 90.5, 91.5, 91.5]),
        row("clif", [95.0, 96.0, 97.0, 98.0]),
    )
    figure = drawn(draw_comparison, found)
    accuracy, train, test = figure.axes
    assert not accuracy.patches  # bars that do not start at 0
    (bars,) = [one for one in accuracy.containers if one.lines[0].get_marker() == "o"]
    assert bars.lines[0].get_color() == NEURONS["lif"].colour
    assert bars.lines[0].get_ydata() == pytest.approx([93.0])
    (segment,) = bars.lines[2][0].get_segments()
    error = np.std([90, 92, 94, 96], ddof=1) / 2
    assert segment[:, 1] == pytest.approx([93 - error, 93 + error])
    seeds = [line for line in accuracy.lines if len(line.get_ydata()) == 4]
    assert list(seeds[0].get_ydata()) == [90.0, 92.0, 94.0, 96.0]
    assert len({*zip(*seeds[1].get_data(), strict=True)}) == 4  # none hides another
    names = [tick.get_text() for tick in accuracy.get_xticklabels()]
    assert names == ["lif", "mine.py:Foo", "clif"]
    assert accuracy.get_ylabel() == "test accuracy,\nlast epoch [%]"
    assert (train.get_xlabel(), test.get_xlabel()) == ("epoch", "epoch")
    assert train.get_lines()[2].get_color() == NEURONS["clif"].colour
    assert note(figure) == (
        "Mean ± standard error of 4 seeds; small open marks: single seeds. Bands: ± standard error."
    )
    # Curves have their names beside them, in their colours: no legend covers one.
    assert not figure.legends
    assert not any(axis.get_legend() for axis in figure.axes)
    named = {text.get_text(): text.get_color() for text in train.texts}
    assert named["clif"] == NEURONS["clif"].colour
    assert "mine.py:Foo" in named


def test_names_of_curves_do_not_overlap(drawn: Drawn) -> None:
    from matplotlib.text import Text

    names = ["lif", "plif", "klif", "glif", "clif", "alif", "cuba", "relu"]
    figure = drawn(draw_comparison, comparison(*(row(name, [90.0, 91.0]) for name in names)))
    figure.draw_without_rendering()
    for axis in figure.axes[1:]:
        boxes = sorted(Text.get_window_extent(text).y0 for text in axis.texts)
        assert len(boxes) == len(names)
        # The letters of 7 points are seven high.
        assert min(np.diff(boxes)) * 72 / figure.dpi > 7


def test_one_epoch_has_no_loss_panels_and_one_seed_no_spread(drawn: Drawn) -> None:
    found = comparison(row("lif", [51.0], losses=1), row("clif", [51.2], losses=1), seeds=1)
    figure = drawn(draw_comparison, found)
    (axis,) = figure.axes
    assert note(figure) == "One seed: nothing is known of the spread."
    assert np.diff(axis.get_ylim()) >= 2.0  # points: two tenths do not fill the picture
    assert figure.get_figwidth() == COLUMN.width


def test_missing_trials_and_older_results_are_not_passed_over(drawn: Drawn) -> None:
    found = comparison(row("lif", [90.0, 91.0, 92.0]), row("clif", [90.0, 91.0]))
    assert note(drawn(draw_comparison, found)).startswith("Mean ± standard error of 2 to 3 seeds;")
    none = dataclasses.replace(row("lif", [90.0], summary=made(Summary)), train_loss_curve=None)
    assert note(drawn(draw_comparison, comparison(none))) == "No trial is finished."
    bare = dataclasses.replace(estimate([90.0, 91.0]), values=())
    old = comparison(row("lif", [90.0], summary=made(Summary, accuracy_percent_last=bare)))
    said = "Mean ± standard error of 2 seeds. Bands: ± standard error."
    assert note(drawn(draw_comparison, old)) == said


def test_accuracy_against_timesteps(drawn: Drawn) -> None:
    rows = [
        row(name, [80.0 + t + plus, 82.0 + t + plus], timesteps=t, paired_timesteps=t)
        for t in (1, 2, 8)
        for name, plus in (("lif", 0), ("clif", 1))
    ]
    rows.append(row("relu", [99.0, 99.2], timesteps=1, paired_timesteps=8))
    figure = drawn(draw_comparison, comparison(*rows, seeds=2))
    axis = figure.axes[0]
    assert axis.get_xlabel() == "time steps T"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "2", "8"]
    lif, clif = (one.lines[0] for one in axis.containers)
    assert list(lif.get_xdata()) == [1, 2, 8]
    assert list(clif.get_ydata()) == [83.0, 84.0, 90.0]
    level = [line for line in axis.lines if line.get_color() == NEURONS["relu"].colour]
    assert [list(line.get_ydata()) for line in level] == [[pytest.approx(99.1)] * 2]
    assert "relu: T = 1. Losses: T = 8." in note(figure)


def test_batch_norms_share_an_axis_that_holds_all(drawn: Drawn) -> None:
    rows = [row("lif", [70.0, 72.0]), row("lif", [94.0, 96.0], batch_norm="folded")]
    figure = drawn(draw_comparison, comparison(*rows, seeds=2, exchange=2))
    first, second = figure.axes[:2]
    assert (first.get_title(), second.get_title()) == ("batch norm per_step", "batch norm folded")
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] < 70.0
    assert first.get_ylim()[1] > 96.0
    assert "to clif" in texts(figure.axes[2])
    per_step, folded = figure.axes[2].lines[:2]
    assert per_step.get_markerfacecolor() != folded.get_markerfacecolor() == "white"
    assert note(figure).endswith("Losses: curves with open markers have batch norm folded.")


def test_a_column_stacks_its_panels(drawn: Drawn) -> None:
    figure = drawn(draw_comparison, comparison(row("lif", [90.0, 91.0])), layout=COLUMN)
    assert figure.get_figwidth() == COLUMN.width
    left = {round(axis.get_subplotspec().get_position(figure).x0, 3) for axis in figure.axes}
    assert len(left) == 1


def truncation(losses: dict[tuple[float, int], list[float]], **known: Any) -> Any:
    rows = [
        made(
            TruncationRow,
            tau=tau,
            window=window,
            summary=made(
                Summary,
                train_loss_train_mode=estimate(values),
                accuracy_percent_last=estimate([100 - 10 * value for value in values]),
            ),
        )
        for (tau, window), values in losses.items()
    ]
    settled = {"recipe": "r", "neuron": "lif", "timesteps": 8, "window_reading": "sliding"}
    return made(TruncationResult, **{**settled, "seeds_asked": 2, "rows": rows, **known})


def test_windows_by_tau(drawn: Drawn) -> None:
    cells = {(1.5, 1): [2.0, 2.2], (1.5, 8): [1.0, 1.2], (2.0, 1): [1.9, 1.9], (2.0, 8): [0.5, 0.7]}
    figure = drawn(draw_truncation, truncation(cells))
    accuracy, loss, accuracy_map, loss_map = figure.axes[:4]
    assert loss.get_xlabel() == "window k [time steps]"
    assert loss.get_ylabel() == "training loss (TET),\ntrain mode"
    small, large = (one.lines[0] for one in loss.containers)
    assert list(small.get_ydata()) == pytest.approx([2.1, 1.1])
    assert small.get_color() != large.get_color()
    assert small.get_marker() != large.get_marker()
    assert {text.get_text() for text in accuracy.texts} == {"tau = 1.5", "tau = 2"}
    assert loss_map.texts[0].get_text() == "2.100\n± 0.100"
    assert accuracy_map.texts[-1].get_text() == "94.0\n± 1.0"
    assert note(figure).startswith("k = 8 is full BPTT. Mean ± standard error of 2 seeds")


def test_a_heat_map_does_not_paint_noise(drawn: Drawn) -> None:
    cells = {(1.5, 1): [2.076, 2.076], (1.5, 8): [2.079, 2.079]}
    figure = drawn(draw_truncation, truncation(cells))
    (accuracy,), (loss,) = (axis.images for axis in figure.axes[2:4])
    low, high = loss.get_clim()
    assert high - low == pytest.approx(0.2079)
    assert low < 2.076 < 2.079 < high
    low, high = accuracy.get_clim()
    assert high - low == pytest.approx(5.0)
    lightness = [loss.cmap(loss.norm(value))[1] for value in (2.076, 2.079)]
    assert abs(lightness[0] - lightness[1]) < 0.02


def run(label: str, losses: Sequence[float], exchange: int | None = None) -> RunCurves:
    return RunCurves(label=label, exchange_after_epoch=exchange, epochs=epochs(*losses))


def test_runs_of_one_neuron_are_told_apart(drawn: Drawn) -> None:
    runs = [
        run("runs/grid/a: clif", [2.0, 1.0]),
        run("runs/grid/b: clif", [2.0, 1.5], exchange=1),
        run("runs/grid/c: lif", [1.0]),
    ]
    rows = [made(RunRow, neuron=name) for name in ("clif", "clif", "lif")]
    figure = drawn(draw_runs, runs, rows)
    for axis in figure.axes:
        first, second, third = axis.lines[:3]
        assert third.get_color() == NEURONS["lif"].colour
        assert first.get_color() != second.get_color()
        assert first.get_marker() != second.get_marker()
        assert axis.get_xlabel() == "epoch"
    assert [axis.get_ylabel() for axis in figure.axes][2] == "test accuracy [%]"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a: clif", "b: clif", "c: lif"]
    figure.draw_without_rendering()
    top = legend.get_window_extent().y1
    assert all(axis.get_tightbbox().y0 > top for axis in figure.axes)


@pytest.mark.parametrize(("losses", "empty"), [([], True), ([2.0], False)])
def test_a_run_that_has_just_begun(drawn: Drawn, losses: list[float], empty: bool) -> None:
    figure = drawn(draw_runs, [run("a", losses)], [made(RunRow, neuron="lif")])
    assert ("no epoch is finished" in texts(figure)) == empty
    # A single point has a marker, or it would not be seen.
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_curves_that_cover_each_other_show_their_markers(drawn: Drawn) -> None:
    losses = [3.0 / n for n in range(1, 33)]
    rows = [made(RunRow, neuron=name) for name in ("lif", "clif")]
    axis = drawn(draw_runs, [run("a", losses), run("b", losses)], rows).axes[0]
    first, second = (line.get_markevery() for line in axis.lines)
    assert first[1] == second[1] == 4
    assert first[0] != second[0]
    (legend,) = axis.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
