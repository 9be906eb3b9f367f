"""Pictures of comparisons: accuracy against T, bars by neuron, loss curves, windows by tau."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clifctl.report.pictures import new_figure
from clifctl.results.compare_neurons import ComparedNeuron, NeuronComparison
from clifctl.results.runs import RunCurves
from clifctl.results.statistics import Estimate
from clifctl.results.summary import MeanCurve
from clifctl.results.truncate_bptt import TruncationResult

# Told apart by people who do not see red and green alike (Okabe and Ito).
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999933",
    "#882255",
    "#44AA99",
)
_MARKERS = "osD^vPX*<>"


def draw_comparison(result: NeuronComparison) -> Any:
    """Accuracy against T with error bars where there are several T (Figures 2b, 3b), else bars by
    neuron (Figure 4); below, the loss curves in train and in evaluation mode (Figures 3a, 10).

    Bars and bands are one standard error over seeds. With several T the curves are of the largest.
    """
    norms = list(dict.fromkeys(row.batch_norm for row in result.rows))
    figure = new_figure(4.6 * max(2, len(norms)), 7.4)
    figure.suptitle(f"{result.recipe}: {result.data}, {result.model}, {result.seeds_asked} seed(s)")
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.0))
    names = list(dict.fromkeys(row.neuron for row in result.rows))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    panels = above.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axis, norm in zip(panels, norms, strict=True):
        rows = [row for row in result.rows if row.batch_norm == norm]
        axis.set_title(f"batch norm {norm}", fontsize=10)
        if len({row.paired_timesteps for row in rows}) > 1:
            _accuracy_over_time(axis, rows, colours)
        else:
            _bars(axis, rows, colours)
    panels[0].set_ylabel("test accuracy, last epoch [%]")
    most = max(row.paired_timesteps for row in result.rows)
    shown = [row for row in result.rows if row.paired_timesteps == most]
    axes = below.subplots(1, 2)
    for axis, title, name in (
        (axes[0], "training loss, train mode", "train_loss_curve"),
        (axes[1], "test loss, evaluation mode", "test_loss_curve"),
    ):
        for row in shown:
            label = row.neuron if len(norms) == 1 else f"{row.neuron}, {row.batch_norm}"
            style = "-" if row.batch_norm == norms[0] else "--"
            _curve(axis, getattr(row, name), label, colours[row.neuron], style)
        if result.exchange_after_epoch is not None:
            _mark_exchange(axis, result.exchange_after_epoch)
        axis.set_title(title if len(shown) == len(result.rows) else f"{title}, T = {most}")
        axis.title.set_fontsize(10)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
    axes[0].set_ylabel("loss (TET)")
    axes[1].legend(fontsize=8)
    return figure


def _accuracy_over_time(axis: Any, rows: Sequence[ComparedNeuron], colours: dict[str, str]) -> None:
    names = list(colours)
    for name in dict.fromkeys(row.neuron for row in rows):
        of = [row for row in rows if row.neuron == name]
        points = [(row.timesteps, row.summary.accuracy_percent_last) for row in of]
        known = [(steps, one) for steps, one in points if one is not None]
        axis.errorbar(
            [steps for steps, _ in known],
            [one.mean for _, one in known],
            yerr=_errors([one for _, one in known]),
            label=name,
            color=colours[name],
            marker=_MARKERS[names.index(name) % len(_MARKERS)],
            capsize=3,
        )
    axis.set_xlabel("time steps T")
    axis.set_xticks(sorted({row.timesteps for row in rows}))
    axis.legend(fontsize=8)


def _bars(axis: Any, rows: Sequence[ComparedNeuron], colours: dict[str, str]) -> None:
    known = [(row, row.summary.accuracy_percent_last) for row in rows]
    shown = [(row, one) for row, one in known if one is not None]
    means = [one.mean for _, one in shown]
    labels = [
        row.neuron
        if row.timesteps == row.paired_timesteps
        else f"{row.neuron}\nT = {row.timesteps}"
        for row, _ in shown
    ]
    places = range(len(shown))
    axis.bar(
        places,
        means,
        yerr=_errors([one for _, one in shown]),
        color=[colours[row.neuron] for row, _ in shown],
        capsize=4,
    )
    axis.set_xticks(places, labels)
    errors = [one.standard_error or 0.0 for _, one in shown]
    lowest = min((mean - error for mean, error in zip(means, errors, strict=True)), default=0.0)
    highest = max((mean + error for mean, error in zip(means, errors, strict=True)), default=100.0)
    # Bars that do not start at zero say so.
    axis.set_ylim(max(0.0, lowest - max(1.0, highest - lowest)), min(100.5, highest + 0.5))
    axis.set_xlabel("neuron (the axis does not start at 0)")


def _errors(estimates: Sequence[Estimate]) -> list[float] | None:
    """Standard errors for error bars; None where one seed has none."""
    errors = [one.standard_error for one in estimates]
    return None if None in errors else [error for error in errors if error is not None]


def _curve(axis: Any, curve: MeanCurve | None, label: str, colour: str, style: str) -> None:
    if curve is None:
        return
    epochs = np.arange(1, len(curve.mean) + 1)
    mean = np.array(curve.mean)
    axis.plot(epochs, mean, style, color=colour, label=label, linewidth=1.4)
    if curve.standard_error is not None:
        error = np.array(curve.standard_error)
        axis.fill_between(epochs, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)


def _mark_exchange(axis: Any, epoch: int) -> None:
    axis.axvline(epoch + 0.5, color="black", linestyle=":", linewidth=1)
    axis.annotate(
        "exchange",
        (epoch + 0.5, 0.97),
        xycoords=("data", "axes fraction"),
        rotation=90,
        ha="right",
        va="top",
        fontsize=8,
    )


def draw_truncation(result: TruncationResult) -> Any:
    """Training loss and test accuracy against the window, a curve for each tau, and both as heat
    maps (Figure 2a). Error bars are one standard error over seeds."""
    figure = new_figure(10.0, 7.4)
    figure.suptitle(
        f"{result.recipe}: {result.neuron}, T = {result.timesteps}, "
        f"{result.window_reading} window, {result.seeds_asked} seed(s)"
    )
    axes = figure.subplots(2, 2)
    taus = list(dict.fromkeys(row.tau for row in result.rows))
    windows = list(dict.fromkeys(row.window for row in result.rows))
    for column, (name, label, best) in enumerate(
        (
            ("train_loss_train_mode", "training loss, train mode", "viridis_r"),
            ("accuracy_percent_last", "test accuracy, last epoch [%]", "viridis"),
        )
    ):
        axis = axes[0, column]
        values = np.full((len(taus), len(windows)), np.nan)
        for number, tau in enumerate(taus):
            known = [
                (row.window, one)
                for row in result.rows
                if row.tau == tau and (one := getattr(row.summary, name)) is not None
            ]
            axis.errorbar(
                [window for window, _ in known],
                [one.mean for _, one in known],
                yerr=_errors([one for _, one in known]),
                label=f"tau = {tau:g}",
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                capsize=3,
            )
            for window, one in known:
                values[number, windows.index(window)] = one.mean
        axis.set_xticks(windows)
        axis.set_xlabel(f"window k (k = {result.timesteps} is full BPTT)")
        axis.set_ylabel(label)
        axis.legend(fontsize=8)
        _heat_map(figure, axes[1, column], values, taus, windows, label, best)
    return figure


def _heat_map(
    figure: Any,
    axis: Any,
    values: "np.ndarray[Any, Any]",
    taus: Sequence[float],
    windows: Sequence[int],
    label: str,
    colours: str,
) -> None:
    image = axis.imshow(values, aspect="auto", cmap=colours)
    axis.set_xticks(range(len(windows)), [str(window) for window in windows])
    axis.set_yticks(range(len(taus)), [f"{tau:g}" for tau in taus])
    axis.set_xlabel("window k")
    axis.set_ylabel("tau")
    digits = 1 if np.nanmax(values, initial=0.0) > 10 else 3
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axis.text(
                column,
                row,
                f"{value:.{digits}f}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    figure.colorbar(image, ax=axis, label=label)


def draw_runs(runs: Sequence[RunCurves]) -> Any:
    """Training and test loss of several runs in one picture (Figures 3a and 10), with the exchange
    of a neuron marked."""
    figure = new_figure(11.0, 4.6)
    axes = figure.subplots(1, 3)
    for axis, title, name in (
        (axes[0], "training loss, train mode", "train_loss_train_mode"),
        (axes[1], "test loss, evaluation mode", "test_loss"),
        (axes[2], "test accuracy [%]", "test_accuracy_percent"),
    ):
        for number, run in enumerate(runs):
            values = getattr(run.epochs, name)
            colour = _COLOURS[number % len(_COLOURS)]
            style = "-" if number < len(_COLOURS) else "--"
            axis.plot(range(1, len(values) + 1), values, style, color=colour, label=run.label)
            if run.exchange_after_epoch is not None:
                axis.axvline(
                    run.exchange_after_epoch + 0.5, color=colour, linestyle=":", linewidth=1.2
                )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
    handles, labels = axes[0].get_legend_handles_labels()
    if any(run.exchange_after_epoch is not None for run in runs):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color="grey", linestyle=":"))
        labels.append("exchange of the neuron")
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure
