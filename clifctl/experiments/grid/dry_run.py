"""What a grid would do and how long it would take, from small timed steps of its configurations."""

import functools
import time
from collections.abc import Iterator
from dataclasses import replace

from clifctl.experiments.bench.timing import cpu_threads
from clifctl.experiments.build import run_on
from clifctl.experiments.grid.grid import Grid, configuration, state_of
from clifctl.experiments.grid.step_cost import StepCost, float16_extra_of_cpu, size_of, step_cost
from clifctl.experiments.grid.trial_names import Trial
from clifctl.results.trials import PlannedTrial, TimedStep, TrialPlan
from clifctl.training.device import determinism, tf32

# When no further configuration is timed: a person waits. What is left is scaled from one that was.
SECONDS = 4.0


def dry_run(grid: Grid, command: str) -> TrialPlan:
    """The trials and an estimate of their time, from steps that are timed here and alone: small
    ones, so that the answer is a matter of seconds for any net. Writes nothing."""
    costs = dict(_costs(grid))
    planned = tuple(_planned(grid, trial, costs) for trial in grid.trials)
    left = [one.estimate_seconds or 0.0 for one in planned]
    is_timed = grid.unusable_data is None and grid.options.slurm is None
    estimate = None if not is_timed else max(sum(left) / grid.workers, max(left))
    return TrialPlan(
        command=command,
        recipe=grid.trials[0].loaded.name,
        results_folder=str(grid.folder.path),
        device=grid.numerics.device,
        target=grid.numerics.target,
        connections=grid.numerics.connections,
        workers=grid.workers,
        workers_reason=grid.workers_reason,
        threads_per_trial=_threads(grid),
        trials=planned,
        finished=sum(one.state == "finished" for one in planned),
        estimate_seconds=estimate,
        batch_script=grid.batch_script,
    )


def _planned(grid: Grid, trial: Trial, costs: dict[str, tuple[Trial, StepCost]]) -> PlannedTrial:
    size, recipe = grid.sizes[trial.name], trial.loaded.recipe
    state = state_of(grid.folder, trial)
    found = None if state == "finished" else costs.get(configuration(recipe))
    planned = PlannedTrial(
        trial=trial.name,
        title=trial.title,
        seed=trial.seed,
        state=state,
        step_ms=None,
        steps=None,
        kept_for_backward_bytes=size.kept_bytes,
        estimate_seconds=None,
    )
    if found is None:
        return planned
    of, cost = found
    epoch = size.steps * cost.step_seconds + size.tested * cost.test_seconds_per_sample
    return replace(
        planned,
        step_ms=1000 * cost.step_seconds,
        steps=recipe.train.epochs * size.steps,
        estimate_seconds=recipe.train.epochs * epoch,
        timed=TimedStep(
            trial=of.name,
            samples=cost.timed.samples,
            timesteps=cost.timed.timesteps,
            precision=cost.precision,
            work_factor=cost.whole.macs / cost.timed.macs,
            precision_factor=cost.precision_factor,
        ),
    )


def _threads(grid: Grid) -> int:
    return grid.threads or grid.execution.threads.count


def _costs(grid: Grid) -> Iterator[tuple[str, tuple[Trial, StepCost]]]:
    """For each configuration with something left to run its cost, and the trial that was timed for
    it: where time is short that of another configuration, of the same neuron if there is one. The
    machines of Slurm's jobs are others."""
    if grid.unusable_data is not None or grid.options.slurm is not None:
        return
    started = time.perf_counter()
    float16_extra = functools.cache(float16_extra_of_cpu)
    known: dict[str, tuple[Trial, StepCost]] = {}
    by_neuron: dict[str, tuple[Trial, StepCost]] = {}
    for trial in grid.trials:
        recipe = run_on(trial.loaded.recipe, grid.execution.kernels)
        key, neuron = configuration(trial.loaded.recipe), recipe.neuron.neuron.name
        if key in known or state_of(grid.folder, trial) == "finished":
            continue
        whole = size_of(recipe, grid.sizes[trial.name].step_samples)
        if not known or time.perf_counter() - started < SECONDS:
            train = recipe.train
            with (
                cpu_threads(_threads(grid)),
                determinism(train.deterministic),
                tf32(train.tf32),
            ):
                known[key] = trial, step_cost(recipe, whole, grid.execution.device, float16_extra)
            by_neuron[neuron] = known[key]
        else:
            of, cost = by_neuron.get(neuron, next(iter(known.values())))
            known[key] = of, cost.scaled_to(whole)
        yield key, known[key]
