"""`bench train`: the training step of a spiking net against that of the same net with ReLU.

First the gate, as in `bench neurons`: a net whose numbers are wrong gets no times. Then the
contestants take turns in one process; their peak memory is measured in processes of their own.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast, get_args

import torch

from clifctl.devices import CPU, device_name
from clifctl.errors import UsageError, unknown_name
from clifctl.experiments.assembly import parameter_count
from clifctl.experiments.bench_train_contestants import CONTESTANTS, Learner, Task, learner
from clifctl.experiments.bench_train_engine import bench_engine
from clifctl.experiments.bench_train_gate import gate, peer_differs
from clifctl.experiments.bench_train_memory import peak_bytes, peak_missing
from clifctl.experiments.connections import watched_connections
from clifctl.experiments.keeping import Observer
from clifctl.experiments.measuring import cpu_threads, interleaved, require_repeats
from clifctl.experiments.provenance import package_versions
from clifctl.kernels import resolve_kernels
from clifctl.models import MODELS
from clifctl.models.norm import NormMode
from clifctl.neurons import NEURONS
from clifctl.recipe.load import load_recipe
from clifctl.results import (
    ConnectionPaths,
    EngineCost,
    TrainBenchCost,
    TrainBenchResult,
    TrainBenchRow,
)
from clifctl.training.device import resolve_device, resolve_threads
from clifctl.training.memory import held_for_backward, saved_for_backward
from clifctl.training.precision import ArithmeticName

CIFAR_SHAPE, CIFAR_CLASSES, TIMESTEPS = (3, 32, 32), 10, 6
DIGITS_MODEL, DIGITS_RECIPE = "snn5", "digits_snn5"
NETS = ("resnet18", "vgg11", DIGITS_MODEL)
PEERS = ("sj_multi_step", "sj_step_by_step")
PRECISIONS = ("float32", "bfloat16")
MOST_STEPS, MOST_BATCH = 256, 4096


def bench_train(
    model: str = "resnet18",
    neuron: str = "clif",
    *,
    timesteps: Sequence[int] | None = None,
    batch_size: int = 8,
    precision: str = "float32",
    batch_norm: str = "per_step",
    repeats: int = 7,
    device: str = CPU,
    connections: str = "auto",
    threads: int | None = None,
    peak: bool = True,
    observer: Observer | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainBenchResult:
    """Time the training step of `model` at each T of `timesteps` (None: 6, or the digits recipe's
    own for snn5), and what the engine adds to the one of the largest T: that run is told to
    `observer` (None: it is not made).

    Raises UsageError for a name or number that cannot be used, RunFailed where clifctl's net does
    not do what its plain path does.
    """
    require_repeats(repeats)
    task = _task(model, neuron, batch_size, precision, batch_norm, resolve_device(device))
    kernels = resolve_kernels("auto", connections, task.device)
    task = replace(task, connections=kernels.connections.name)
    steps = _steps(timesteps, task)
    untold = peak_missing(task.device) if peak else "--no-peak"
    chosen = resolve_threads(threads, _activations_bytes(replace(task, timesteps=steps[-1])))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    tasks = [replace(task, timesteps=count) for count in steps]
    with cpu_threads(chosen.count):
        checks = []
        for one in tasks:
            say(f"T = {one.timesteps}: comparing the fused net with the plain path")
            checks.append(gate(one))
        rows = tuple(_rows(tasks, repeats, chosen.count if untold is None else None, say))
        paths = _paths(tasks[-1])
    engine = None
    if observer is not None:
        say("measuring what the engine adds")
        engine = _engine(tasks[-1], repeats, chosen.count, observer)
    return TrainBenchResult(
        started=started,
        model=model,
        neuron=neuron,
        input_shape=task.input_shape,
        classes=task.classes,
        parameters=parameter_count(tasks[0].net(fuse_norm=True)),
        timesteps=steps,
        batch_size=batch_size,
        precision=precision,
        batch_norm=batch_norm,
        repeats=repeats,
        device=str(task.device),
        machine=device_name(task.device),
        threads=chosen.count,
        threads_reason=chosen.reason,
        target=kernels.target.name,
        connections=kernels.connections.name,
        connection_paths=paths,
        peak_missing=untold,
        versions=package_versions("clifctl", "torch", "numba", "triton", "spikingjelly"),
        checks=tuple(checks),
        rows=rows,
        costs=_costs(rows),
        engine=engine,
    )


def _rows(
    tasks: Sequence[Task], repeats: int, peak_threads: int | None, say: Callable[[str], None]
) -> Iterator[TrainBenchRow]:
    """The rows of every T, with peak memory on so many threads (None: without)."""
    missing = _missing(tasks[0])
    for task in tasks:
        say(f"T = {task.timesteps}: measuring times")
        found = _measure(task, missing, repeats)
        if peak_threads is not None:
            say(f"T = {task.timesteps}: measuring memory")
            found = _with_peaks(task, found, peak_threads)
        yield from found


def _paths(task: Task) -> tuple[ConnectionPaths, ...]:
    """How the connections of clifctl's net run in the step that was timed."""
    if task.connections == "dense":
        return ()
    ours = learner("ours", task, "channels_last")
    assert isinstance(ours, Learner)  # it takes part in any case
    with watched_connections(ours.net) as watched:
        ours.step()
    return watched.rows()


def _engine(task: Task, repeats: int, threads: int, observer: Observer) -> EngineCost:
    recipe = DIGITS_RECIPE if task.model == DIGITS_MODEL else None
    return bench_engine(task, recipe, repeats=repeats, threads=threads, observer=observer)


def _task(
    model: str, neuron: str, batch_size: int, precision: str, batch_norm: str, device: torch.device
) -> Task:
    for kind, name, known in (
        ("model", model, NETS),
        ("neuron", neuron, tuple(NEURONS)),
        ("precision", precision, PRECISIONS),
        ("batch norm", batch_norm, get_args(NormMode)),
    ):
        if name not in known:
            raise UsageError(unknown_name(kind, name, known), hint=f"one of {', '.join(known)}")
    if NEURONS[neuron].max_timesteps == 1:
        raise UsageError(
            f"neuron '{neuron}' has no time steps: it is what the others are measured against",
            hint="choose a spiking neuron, as --neuron clif",
        )
    if not 2 <= batch_size <= MOST_BATCH:
        raise UsageError(
            f"--batch {batch_size}: must be between 2 and {MOST_BATCH}",
            hint="batch norm needs two samples; 8 is the default",
        )
    options = MODELS[model].options()
    shape: tuple[int, ...] = CIFAR_SHAPE
    classes, timesteps = CIFAR_CLASSES, TIMESTEPS
    if model == DIGITS_MODEL:
        recipe = load_recipe(DIGITS_RECIPE).recipe
        options, timesteps = recipe.model.options, recipe.timesteps
        shape, classes = recipe.data.input_shape, recipe.data.classes
    return Task(
        model=model,
        options=options,
        neuron=neuron,
        input_shape=shape,
        classes=classes,
        timesteps=timesteps,
        batch_size=batch_size,
        batch_norm=cast(NormMode, batch_norm),
        precision=cast(ArithmeticName, precision),
        device=device,
    )


def _steps(timesteps: Sequence[int] | None, task: Task) -> tuple[int, ...]:
    """The T to measure, ascending."""
    steps = (task.timesteps,) if timesteps is None else tuple(sorted(set(timesteps)))
    for count in steps:
        if not 1 <= count <= MOST_STEPS:
            raise UsageError(
                f"--timesteps {count}: must be between 1 and {MOST_STEPS}",
                hint="several with commas: 1,2,4,6,8,16",
            )
    return steps


def _activations_bytes(task: Task) -> int:
    with torch.device("meta"):
        net = task.net(fuse_norm=True)
        image = torch.empty(1, task.batch_size, *task.input_shape)
    return saved_for_backward(net, image, repeat=task.timesteps)


def _missing(task: Task) -> dict[str, str]:
    """Contestant -> why it does not take part."""
    missing = {}
    for who in PEERS:
        made = learner(who, task, "contiguous")
        reason = made if isinstance(made, str) else peer_differs(who, task)
        if reason:
            missing[who] = reason
    return missing


def _measure(task: Task, missing: Mapping[str, str], repeats: int) -> list[TrainBenchRow]:
    """A row for each contestant, peak memory aside."""
    learners: dict[tuple[str, str], Learner] = {}
    for who, formats in CONTESTANTS.items():
        for memory_format in formats if who not in missing else ():
            made = learner(who, task, memory_format)
            assert isinstance(made, Learner)  # as `_missing` has found
            learners[who, memory_format] = made
    jobs = {key: made.step for key, made in learners.items()}
    times = interleaved(jobs, repeats=repeats, device=task.device)
    faster = {
        who: min(
            (key for key in times if key[0] == who), key=lambda key: statistics.median(times[key])
        )
        for who in CONTESTANTS
        if who not in missing
    }
    held = {
        who: held_for_backward(learners[key].loss, learners[key].net.parameters())
        for who, key in faster.items()
    }
    rows = []
    for who in CONTESTANTS:
        if who in missing:
            row = TrainBenchRow(timesteps=task.timesteps, contestant=who, missing=missing[who])
        else:
            own = times[faster[who]]
            row = TrainBenchRow(
                timesteps=task.timesteps,
                contestant=who,
                memory_format=faster[who][1],
                **_spread("step", "ms", own),
                **_spread("relu", "ratio", _paired(own, times[faster["relu"]])),
                **_spread("ours", "ratio", _paired(own, times[faster["ours"]])),
                images_per_s=1000.0 * learners[faster[who]].images / statistics.median(own),
                held_bytes=held[who],
                held_relu_ratio=held[who] / held["relu"],
            )
        rows.append(row)
    return rows


def _paired(times: list[float], base: list[float]) -> list[float]:
    return [time / other for time, other in zip(times, base, strict=True)]


def _spread(name: str, unit: str, values: list[float]) -> dict[str, Any]:
    """Median and quartiles under the names that they have in a row."""
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {
        f"{name}_{unit}": median,
        f"{name}_lower_quartile_{unit}": lower,
        f"{name}_upper_quartile_{unit}": upper,
    }


def _with_peaks(task: Task, rows: list[TrainBenchRow], threads: int) -> list[TrainBenchRow]:
    base = peak_bytes(task, None, "contiguous", threads)
    return [
        row
        if row.memory_format is None
        else replace(
            row,
            peak_bytes=peak_bytes(task, row.contestant, row.memory_format, threads) - base,
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
