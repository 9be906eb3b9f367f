"""`bench train`: the training step of a spiking net against that of the same net with ReLU.

First the gate, as in `bench neurons`: a net whose numbers are wrong gets no times. Then the
contestants take turns in one process; their peak memory is measured in processes of their own.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import torch

from clifctl.experiments.bench.engine import bench_engine
from clifctl.experiments.bench.firing_rates import at_rates, reached_rates, target_rates
from clifctl.experiments.bench.net_contestants import (
    CONTESTANTS,
    paths_of,
    timed,
)
from clifctl.experiments.bench.net_gate import gate, missing_peers
from clifctl.experiments.bench.peak_memory import peak_bytes, peak_missing
from clifctl.experiments.bench.task import (
    DIGITS_MODEL,
    DIGITS_RECIPE,
    NetBenchOptions,
    Task,
    described,
    steps_of,
    task_of,
    with_threads,
)
from clifctl.experiments.bench.timing import cpu_threads, paired, require_repeats, spread
from clifctl.results.bench import BenchRate
from clifctl.results.bench_train import EngineCost, TrainBenchCost, TrainBenchResult, TrainBenchRow
from clifctl.results.events import Observer
from clifctl.training.memory import held_for_backward


def bench_train(
    asked: NetBenchOptions,
    *,
    peak: bool = True,
    observe: Observer | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainBenchResult:
    """Time the training step at each T, and what the engine adds to the one of the largest T on
    images: that run is shown to `observe` (None: it is not made).

    Raises UsageError for a name or number that cannot be used, EnergyError for a file of rates,
    RunFailed where clifctl's net does not do what its plain path does.
    """
    require_repeats(asked.repeats)
    task = task_of(asked, least_batch=2)
    steps = steps_of(asked, task)
    targets = target_rates(asked.rates, task)
    missing = peak_missing(task.device) if peak else "--no-peak"
    task = with_threads(task, steps[-1])
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with cpu_threads(task.execution.threads.count):
        tasks, checks = [], []
        reached: list[BenchRate] = []
        for count in steps:
            say(f"T = {count}: setting firing rates, comparing the fused net with the plain path")
            tasks.append(at_rates(replace(task, timesteps=count), targets, training=True))
            reached += reached_rates(tasks[-1], targets, training=True)
            checks.append(gate(tasks[-1]))
        rows = _rows(tasks, asked.repeats, peak=missing is None, say=say)
        paths = paths_of(tasks[-1], training=True)
    engine = None
    if observe is not None and task.frames_percent is None:
        say("measuring what the engine adds")
        engine = _engine(replace(task, timesteps=steps[-1]), asked.repeats, observe)
    return TrainBenchResult(
        **described(asked, replace(task, timesteps=steps[0])),
        started=started,
        timesteps=steps,
        batch_norm=task.options.norm_mode if task.row.own else task.batch_norm,
        firing_rates=tuple(reached),
        connection_paths=paths,
        peak_missing=missing,
        checks=tuple(checks),
        rows=tuple(rows),
        costs=_costs(rows),
        engine=engine,
    )


def _rows(
    tasks: Sequence[Task], repeats: int, *, peak: bool, say: Callable[[str], None]
) -> list[TrainBenchRow]:
    """The rows of every T."""
    rows = []
    missing = missing_peers(tasks[0])
    for task in tasks:
        say(f"T = {task.timesteps}: measuring times")
        found = _measure(task, missing, repeats)
        if peak:
            say(f"T = {task.timesteps}: measuring memory")
            found = _with_peaks(task, found)
        rows += found
    return rows


def _engine(task: Task, repeats: int, observe: Observer) -> EngineCost:
    recipe = DIGITS_RECIPE if task.model == DIGITS_MODEL else None
    return bench_engine(task, recipe, repeats=repeats, observe=observe)


def _measure(task: Task, missing: Mapping[str, str], repeats: int) -> list[TrainBenchRow]:
    """A row for each contestant, peak memory aside."""
    present = timed(CONTESTANTS, task, missing, repeats, training=True)
    held = {
        who: held_for_backward(own.learner.loss, own.learner.net.parameters())
        for who, own in present.items()
    }
    rows = []
    for who in (*present, *missing):
        if who in missing:
            row = TrainBenchRow(timesteps=task.timesteps, contestant=who, missing=missing[who])
        else:
            own = present[who]
            row = TrainBenchRow(
                timesteps=task.timesteps,
                contestant=who,
                memory_format=own.memory_format,
                **spread("step", "ms", own.times),
                **spread("relu", "ratio", paired(own.times, present["relu"].times)),
                **spread("ours", "ratio", paired(own.times, present["ours"].times)),
                images_per_s=1000.0 * own.learner.images / statistics.median(own.times),
                held_bytes=held[who],
                held_relu_ratio=held[who] / held["relu"],
            )
        rows.append(row)
    return rows


def _with_peaks(task: Task, rows: list[TrainBenchRow]) -> list[TrainBenchRow]:
    base = peak_bytes(task, None, "contiguous")
    return [
        row
        if row.memory_format is None
        else replace(
            row,
            peak_bytes=peak_bytes(task, row.contestant, row.memory_format) - base,
        )
        for row in rows
    ]


def _costs(rows: Sequence[TrainBenchRow]) -> tuple[TrainBenchCost, ...]:
    """A line through each contestant's step times over T, where there are three T or more."""
    costs = []
    for who in CONTESTANTS:
        points = [
            (row.timesteps, row.step_ms)
            for row in rows
            if row.contestant == who and row.step_ms is not None
        ]
        if len(points) < 3:
            continue
        # Divided by the time, so that the line minimises relative errors.
        system = torch.tensor([[1 / ms, count / ms] for count, ms in points], dtype=torch.float64)
        ones = torch.ones(len(points), 1, dtype=torch.float64)
        fixed, slope = torch.linalg.lstsq(system, ones).solution.flatten().tolist()
        off = max(abs(fixed + slope * count - ms) / ms for count, ms in points)
        costs.append(
            TrainBenchCost(
                contestant=who,
                fixed_ms=fixed,
                per_timestep_ms=slope,
                farthest_percent=100 * off,
            )
        )
    return tuple(costs)
