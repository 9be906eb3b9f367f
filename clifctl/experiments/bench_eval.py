"""`bench eval`: the inference of a spiking net against that of the same net with ReLU, with the
synaptic operations of both beside the times: how much of the saving in theory a machine gives.

First the gate, as in `bench train`; then the contestants take turns in one process.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from clifctl.energy.accounting import synaptic_operations
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.signals import Signals
from clifctl.energy.tracing import trace_net
from clifctl.experiments.bench.firing_rates import at_rates, reached_rates, target_rates
from clifctl.experiments.bench.net_contestants import paths_of, timed
from clifctl.experiments.bench.net_gate import inference_gate, missing_peers
from clifctl.experiments.bench.task import (
    NetBenchOptions,
    Task,
    described,
    steps_of,
    task_of,
    with_threads,
)
from clifctl.experiments.bench.timing import cpu_threads, paired, require_repeats, spread
from clifctl.models import FiringRates
from clifctl.results.bench import BenchRate, memory_formats_of
from clifctl.results.bench_eval import EvalBenchOperations, EvalBenchResult, EvalBenchRow

# contestant -> the memory formats of weights and input that it is timed in
CONTESTANTS = memory_formats_of("eval")


def bench_eval(
    asked: NetBenchOptions, *, say: Callable[[str], None] = lambda line: None
) -> EvalBenchResult:
    """Time the inference of one sample and of a batch at each T, and count their operations.

    Raises UsageError for a name or number that cannot be used, EnergyError for a file of rates,
    RunFailed where clifctl's net does not do what its plain path does.
    """
    require_repeats(asked.repeats)
    task = task_of(asked, least_batch=1)
    steps = steps_of(asked, task)
    targets = target_rates(asked.rates, task)
    task = with_threads(task, steps[-1])
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with cpu_threads(task.execution.threads.count):
        tasks, checks = [], []
        reached: list[BenchRate] = []
        for count in steps:
            say(f"T = {count}: setting firing rates, comparing the fused net with the plain path")
            tasks.append(at_rates(replace(task, timesteps=count), targets, training=False))
            reached += reached_rates(tasks[-1], targets, training=False)
            checks.append(inference_gate(tasks[-1]))
        missing = missing_peers(tasks[0], training=False)
        rows: list[EvalBenchRow] = []
        operations = []
        for one in tasks:
            for size in sorted({1, one.batch_size}):
                say(f"T = {one.timesteps}, batch {size}: measuring times, counting operations")
                part = replace(one, batch_size=size)
                found = _measure(part, missing, asked.repeats)
                operations.append(_operations(part, found))
                rows += found
        paths = paths_of(tasks[-1], training=False)
    return EvalBenchResult(
        **described(asked, replace(task, timesteps=steps[0])),
        started=started,
        timesteps=steps,
        firing_rates=tuple(reached),
        connection_paths=paths,
        checks=tuple(checks),
        rows=tuple(rows),
        operations=tuple(operations),
    )


def _measure(task: Task, missing: Mapping[str, str], repeats: int) -> list[EvalBenchRow]:
    """A row for each contestant."""
    present = timed(CONTESTANTS, task, missing, repeats, training=False)
    rows = []
    for who in (*present, *missing):
        at: dict[str, Any] = {
            "timesteps": task.timesteps,
            "batch_size": task.batch_size,
            "contestant": who,
        }
        if who in missing:
            rows.append(EvalBenchRow(**at, missing=missing[who]))
            continue
        own = present[who]
        ratios = {
            key: value
            for base in ("relu", "relu_one_step", "ours")
            for key, value in spread(base, "ratio", paired(own.times, present[base].times)).items()
        }
        rows.append(
            EvalBenchRow(
                **at,
                memory_format=own.memory_format,
                **spread("inference", "ms", own.times),
                **ratios,
                samples_per_s=1000.0 * own.learner.images / statistics.median(own.times),
            )
        )
    return rows


def _operations(task: Task, rows: list[EvalBenchRow]) -> EvalBenchOperations:
    """The operations of one sample, mean over the batch, beside the times of `ours` in `rows`."""
    with torch.device("meta"):
        shapes = task.net(fuse_norm=True)
    graph = trace_net(shapes, task.input_shape, task.timesteps, repeat=task.repeat)
    net = task.net(fuse_norm=True, connections="dense").to(task.device).eval()
    counter, firing = SpikeCounter(graph), FiringRates(net)
    with torch.no_grad(), firing.recording(), counter.following(net):
        net(task.input().to(task.device), repeat=task.repeat)
    rates = {layer: statistics.mean(rate) for layer, rate in firing.per_step().items()}
    acs, macs = synaptic_operations(Signals(graph, True, rates, counter.counted()))
    _, relu_macs = synaptic_operations(Signals(graph, False, {}))
    measured = next(row for row in rows if row.contestant == "ours")
    assert measured.relu_ratio is not None
    assert measured.relu_one_step_ratio is not None
    theoretical = (acs + macs) / (task.timesteps * relu_macs)
    saving = 1 - theoretical
    return EvalBenchOperations(
        timesteps=task.timesteps,
        batch_size=task.batch_size,
        relu_macs=relu_macs,
        spiking_acs=acs,
        spiking_macs=macs,
        theoretical_relu_ratio=theoretical,
        theoretical_relu_one_step_ratio=(acs + macs) / relu_macs,
        measured_relu_ratio=measured.relu_ratio,
        measured_relu_one_step_ratio=measured.relu_one_step_ratio,
        saving_share_percent=100 * (1 - measured.relu_ratio) / saving if saving > 0 else None,
    )
