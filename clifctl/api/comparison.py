"""`compare`: neurons against each other over seeds, with statistics."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from clifctl.api.recipe import Recipe, as_recipe
from clifctl.api.session import LOG, session
from clifctl.errors import RunFailed
from clifctl.experiments.compare_neurons import NeuronAxes, compare_neurons, plan_comparison_of
from clifctl.experiments.grid.grid import GridOptions, raise_for_failures
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.events import GridEvent, Notice


def compare(
    recipe: Recipe | str | os.PathLike[str] = "digits_snn5",
    /,
    neurons: Sequence[str] = ("lif", "clif"),
    *,
    seeds: int = 4,
    timesteps: Sequence[int] | None = None,
    batch_norm: Sequence[str] | None = None,
    baseline: str | None = None,
    gradients: bool = False,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = 1,
    device: str = "auto",
    target: str = "auto",
    connections: str = "auto",
    threads: int | None = None,
    trust: Sequence[str] = (),
) -> NeuronComparison:
    """Train a recipe with each of `neurons` on the same data and `seeds` seeds, and compare them
    with `baseline` (lif, or else the first): what `clifctl compare-neurons` gives. A row has the
    mean of every quantity with its standard error, and the paired difference to the baseline with
    its 95 % interval and its p value, corrected by Holm.

    `neurons` are names, NAME(KEY=VALUE, ...) or FILE.py:NAME; `timesteps` and `batch_norm` list the
    settings to compare in, `gradients` adds the temporal share of the gradient. Trials are kept in
    the results folder `out`, and those that it has are not run again; without it nothing is kept.
    More than one of `workers` (None: by the size of the net) are processes: a script that asks for
    them begins with `if __name__ == "__main__":`, as for `multiprocessing`.

    Raises ClifctlError for what will not do, RunFailed where a trial failed.

    >>> import clifctl
    >>> tiny = {"model.channels": [2, 2, 2, 2, 4], "train.batch_size": 256, "train.epochs": 1}
    >>> recipe = clifctl.load_recipe("digits_snn5", timesteps=2, **tiny)
    >>> result = clifctl.compare(recipe, ["lif", "clif"], seeds=2)
    >>> [(row.neuron, row.is_baseline, row.summary.seeds) for row in result.rows]
    [('lif', True, (0, 1)), ('clif', False, (0, 1))]
    >>> difference = result.rows[1].differences["accuracy_percent_last"]
    >>> difference.n, difference.interval_95_low < difference.mean < difference.interval_95_high
    (2, True)
    """
    chosen = as_recipe(recipe, trust)
    axes = NeuronAxes(tuple(neurons), seeds, timesteps, batch_norm, baseline, gradients)
    execution = ExecutionOptions(device, target, connections, threads)
    with session(chosen.trusted), _folder(out) as folder:
        options = GridOptions(out=folder, execution=execution, workers=workers)
        planned = plan_comparison_of(chosen.source, axes, options)
        for notice in planned.notices:
            LOG.warning(notice)
        result = compare_neurons(planned, _log)
        if out is not None:
            raise_for_failures(result.trials, str(folder))
            return result
        try:
            raise_for_failures(result.trials, "")
        except RunFailed as failed:
            raise RunFailed(failed.message, hint="with out=FOLDER the trials are kept") from None
        return replace(result, results_folder=None)


@contextmanager
def _folder(out: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The results folder; without one, a folder that is gone at the end."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="clifctl-") as folder:
        yield Path(folder) / "results"


def _log(event: GridEvent) -> None:
    if isinstance(event, Notice):
        LOG.warning(event.line)
