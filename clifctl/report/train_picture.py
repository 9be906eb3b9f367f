"""The pictures that a run draws of itself into its folder."""

from pathlib import Path
from typing import Any

from clifctl.files import write_atomically
from clifctl.report.panels import draw_rates
from clifctl.report.pictures import Layout, figure_of_panels, finish, picture
from clifctl.report.runs_picture import draw_runs
from clifctl.report.styles import neuron_style
from clifctl.results.runs import RunShown
from clifctl.results.train import TrainResult


def write_curves(path: Path, run: RunShown) -> None:
    """Write the curves of a run, a file of its own. Raises OutputError."""
    _write(path, draw_runs, [run.curves], [run.row])


def write_firing_rates(path: Path, result: TrainResult) -> None:
    """Write the firing rates of a finished run, a file of its own. Raises OutputError."""
    _write(path, draw_firing_rates, result)


def draw_firing_rates(result: TrainResult, layout: Layout) -> Any:
    """The firing rate of each layer on the test data, mean and single time steps."""
    height = max(2.1, 0.7 + 0.14 * len(result.firing_rates))
    figure, (axis,) = figure_of_panels(layout, 1, height=height)
    note = draw_rates(axis, result.firing_rates, neuron_style(result.neuron))
    title = f"{result.recipe}: {result.model}, {result.neuron}, T = {result.timesteps}"
    return finish(figure, layout, title, note)


def _write(path: Path, draw: Any, *shown: Any) -> None:
    content = picture("png", draw, *shown)
    write_atomically(path, lambda file: file.write(content))
