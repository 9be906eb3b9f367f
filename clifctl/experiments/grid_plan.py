"""What a grid would do and how long it would take, from one timed step of each configuration."""

import statistics
import time
from dataclasses import dataclass

import torch

from clifctl.data import batches, shuffled_batches
from clifctl.devices import wait_for
from clifctl.experiments.assembly import (
    build_net,
    load_data,
    optimizer_of,
    repeat_of,
    run_on,
    steps_of,
    training_step_of,
)
from clifctl.experiments.grid import Grid, configuration, state_of
from clifctl.experiments.measuring import cpu_threads
from clifctl.kernels import resolve_target
from clifctl.recipe.schema import Recipe
from clifctl.results import PlannedTrial, TrialPlan
from clifctl.training.device import determinism, resolve_device, resolve_threads, tf32
from clifctl.training.precision import Precision, resolve_precision
from clifctl.training.step import Sums

_TIMED_STEPS, _TIMED_SECONDS = 5, 2.0


@dataclass(frozen=True)
class _Timed:
    """A step (median), a test, and the steps of an epoch."""

    step_seconds: float
    test_seconds: float
    steps: int

    @property
    def epoch_seconds(self) -> float:
        """A whole epoch."""
        return self.steps * self.step_seconds + self.test_seconds


def dry_run(grid: Grid, command: str) -> TrialPlan:
    """The trials and an estimate of their time, from a step of each configuration, timed here and
    alone. Writes nothing."""
    times: dict[str, _Timed] = {}
    planned = []
    for trial in grid.trials:
        state = state_of(grid.folder, trial)
        key = configuration(trial.loaded.recipe)
        usable = state != "finished" and grid.unusable_data is None
        if usable and key not in times:
            times[key] = _timed(trial.loaded.recipe, grid)
        timed = times[key] if usable else None
        epochs = trial.loaded.recipe.train.epochs
        planned.append(
            PlannedTrial(
                trial=trial.name,
                title=trial.title,
                seed=trial.seed,
                state=state,
                step_ms=1000 * timed.step_seconds if timed else None,
                steps=epochs * timed.steps if timed else None,
                kept_for_backward_bytes=grid.kept_bytes[trial.name],
                estimate_seconds=epochs * timed.epoch_seconds if timed else None,
            )
        )
    left = [one.estimate_seconds or 0.0 for one in planned]
    estimate = None if grid.unusable_data else max(sum(left) / grid.workers, max(left))
    return TrialPlan(
        command=command,
        recipe=grid.trials[0].loaded.name,
        results_folder=str(grid.folder.path),
        device=grid.numerics.device,
        target=grid.numerics.target,
        workers=grid.workers,
        workers_reason=grid.workers_reason,
        threads_per_trial=_threads(grid),
        trials=tuple(planned),
        finished=sum(one.state == "finished" for one in planned),
        estimate_seconds=estimate,
    )


def _threads(grid: Grid) -> int:
    return grid.threads or resolve_threads(None, max(grid.kept_bytes.values())).count


def _timed(recipe: Recipe, grid: Grid) -> _Timed:
    device = resolve_device(grid.options.device)
    recipe = run_on(recipe, resolve_target(grid.options.target, device))
    section = recipe.train
    with cpu_threads(_threads(grid)), determinism(section.deterministic), tf32(section.tf32):
        data = load_data(recipe).to(device)
        net = build_net(recipe).to(device)
        optimizer, _ = optimizer_of(recipe, net)
        precision = Precision(resolve_precision(section.precision, device).name, device)
        take_step = training_step_of(recipe, net, optimizer, precision)
        order, sums = torch.Generator().manual_seed(0), Sums()
        seconds: list[float] = []
        net.train()
        for inputs, targets in shuffled_batches(
            data.train, section.batch_size, order, data.augment, drop_last=section.drop_last
        ):
            start = time.perf_counter()
            take_step(1, len(seconds) + 1, inputs, targets, sums)
            wait_for(device)
            seconds.append(time.perf_counter() - start)
            # The first step compiles kernels.
            if len(seconds) > _TIMED_STEPS or sum(seconds[1:]) > _TIMED_SECONDS:
                break
        net.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            inputs, _ = next(iter(batches(data.test, recipe.eval.batch_size)))
            net(inputs, repeat=repeat_of(recipe))
        wait_for(device)
        share = len(data.test) / inputs.shape[1]
        test = share * (time.perf_counter() - start)
    return _Timed(statistics.median(seconds[1:] or seconds), test, steps_of(recipe, data))
