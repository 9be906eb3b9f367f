"""The picture of `runs show` and `runs compare`: losses and accuracy of runs, epoch by epoch."""

from collections.abc import Sequence
from typing import Any

from clifctl.report.panels import draw_curve, mark_exchange
from clifctl.report.pictures import Layout, figure_legend, figure_of_panels, finish, line_look
from clifctl.report.styles import Style, run_styles
from clifctl.results.runs import RunCurves, RunRow

_SHOWN = (
    ("train_loss_train_mode", "training loss (TET),\ntrain mode"),
    ("test_loss", "test loss (TET),\nevaluation mode"),
    ("test_accuracy_percent", "test accuracy [%]"),
)


def draw_runs(runs: Sequence[RunCurves], rows: Sequence[RunRow], layout: Layout) -> Any:
    """Training loss, test loss and test accuracy of several runs (Figures 3a and 10), with the
    exchange of a neuron marked."""
    figure, axes = figure_of_panels(layout, len(_SHOWN))
    styles = run_styles([row.neuron for row in rows])
    for axis, (name, label) in zip(axes, _SHOWN, strict=True):
        for number, (run, style) in enumerate(zip(runs, styles, strict=True)):
            draw_curve(axis, getattr(run.epochs, name), style, number)
        _exchanges(axis, runs, styles)
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.grid(axis="y")
        axis.xaxis.get_major_locator().set_params(integer=True)
        longest = max((len(run.epochs.test_loss) for run in runs), default=0)
        if longest == 0:
            axis.text(0.5, 0.5, "no epoch is finished", transform=axis.transAxes, ha="center")
        if longest < 2:
            axis.set_xlim(0.5, 1.5)
            axis.set_xticks([1])
    figure_legend(figure, _handles(runs, styles), columns=2 if not layout.narrow else 1)
    return finish(figure, layout, ", ".join(run.label for run in runs), "")


def _exchanges(axis: Any, runs: Sequence[RunCurves], styles: Sequence[Style]) -> None:
    """The exchanges, each once where several runs have it after one epoch."""
    epochs: dict[int, list[str]] = {}
    for run, style in zip(runs, styles, strict=True):
        if run.exchange_after_epoch is not None:
            epochs.setdefault(run.exchange_after_epoch, []).append(style.colour)
    for epoch, colours in epochs.items():
        mark_exchange(axis, epoch, "exchange", colours[0] if len(colours) == 1 else "0.3")


def _handles(runs: Sequence[RunCurves], styles: Sequence[Style]) -> list[Any]:
    from matplotlib.lines import Line2D

    # A folder that all runs lie in is left out.
    folders = {run.label.partition(": ")[0].rpartition("/")[0] for run in runs}
    shared = folders.pop() if len(folders) == 1 and len(runs) > 1 else ""
    return [
        Line2D(
            [], [], **line_look(style), label=run.label.removeprefix(f"{shared}/" if shared else "")
        )
        for run, style in zip(runs, styles, strict=True)
    ]
