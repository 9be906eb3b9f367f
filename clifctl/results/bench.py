"""What `bench` returns."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.connections import ConnectionPaths
from clifctl.results.engine import EngineCost


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """Times of one way to run a neuron: median, fastest and slowest round. `saved_bytes_ratio` is
    what autograd keeps for backward, in sizes of the input."""

    forward_ms: float
    forward_min_ms: float
    forward_max_ms: float
    forward_backward_ms: float
    forward_backward_min_ms: float
    forward_backward_max_ms: float
    saved_bytes_ratio: float


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One neuron: the fused kernel, the plain loop and SpikingJelly (or why it is missing).

    `eager_..._ratio` and `peer_..._ratio` are medians over those of the fused kernel.
    `memory_bound_ms` is 5/2 of `copy_ms`, the copy of the input: the five transfers that forward
    and backward cannot do without; `ours_memory_bound_ratio` is ours over it.
    """

    neuron: str
    shape: tuple[int, ...]
    ours: BenchRun
    eager: BenchRun
    peer: BenchRun | None
    peer_missing: str | None
    copy_ms: float
    memory_bound_ms: float
    eager_forward_ratio: float
    eager_forward_backward_ratio: float
    peer_forward_ratio: float | None
    peer_forward_backward_ratio: float | None
    ours_memory_bound_ratio: float


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Neurons timed on one machine. Every kernel passed the comparison with the reference."""

    schema: ClassVar[str] = "clifctl.bench.neurons/1"

    started: str
    shape: tuple[int, ...]
    dtype: str
    repeats: int
    device: str
    machine: str
    threads: int
    target: str
    versions: dict[str, str | None]
    rows: tuple[BenchRow, ...]


@dataclass(frozen=True, kw_only=True)
class TrainBenchRow:
    """One contestant at one T. `missing` says why it was not measured: then it has no numbers.

    `..._ratio` are medians of ratios of the same round, with their quartiles: to the ReLU net's
    step, and to that of clifctl's net. `memory_format` is the faster one of those tried.
    `images_per_s` counts what the net was given: T * N images of the ReLU net, N of the others.
    `held_bytes` is what autograd holds for backward, parameters not counted; `peak_bytes` the
    process's largest memory over that of one that trains nothing (None: not measured).
    """

    timesteps: int
    contestant: str
    missing: str | None = None
    memory_format: str | None = None
    step_ms: float | None = None
    step_lower_quartile_ms: float | None = None
    step_upper_quartile_ms: float | None = None
    relu_ratio: float | None = None
    relu_lower_quartile_ratio: float | None = None
    relu_upper_quartile_ratio: float | None = None
    ours_ratio: float | None = None
    ours_lower_quartile_ratio: float | None = None
    ours_upper_quartile_ratio: float | None = None
    images_per_s: float | None = None
    held_bytes: int | None = None
    held_relu_ratio: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainBenchCheck:
    """What the gate found at one T: clifctl's net against its plain path. Errors are relative."""

    timesteps: int
    batch_size: int
    float64_loss_error: float
    float64_gradient_error: float
    float64_allowed: float
    layer_differing_share: float
    layer_differing_share_allowed: float
    layer_gradient_error: float
    layer_gradient_error_allowed: float


@dataclass(frozen=True, kw_only=True)
class TrainBenchCost:
    """The line `fixed_ms + T * per_timestep_ms` through a contestant's step times (least squares of
    relative errors), and how far the farthest of them lies off it."""

    contestant: str
    fixed_ms: float
    per_timestep_ms: float
    farthest_percent: float


@dataclass(frozen=True, kw_only=True)
class TrainBenchResult:
    """One net's training step timed on one machine, after it has passed the gate. The paths of its
    connections are those at the largest T; there are none where all are dense."""

    schema: ClassVar[str] = "clifctl.bench.train/1"

    started: str
    model: str
    neuron: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    timesteps: tuple[int, ...]
    batch_size: int
    precision: str
    batch_norm: str
    repeats: int
    device: str
    machine: str
    threads: int
    threads_reason: str
    target: str
    peak_missing: str | None
    versions: dict[str, str | None]
    checks: tuple[TrainBenchCheck, ...]
    rows: tuple[TrainBenchRow, ...]
    costs: tuple[TrainBenchCost, ...]
    engine: EngineCost | None = None
    connections: str = "dense"
    connection_paths: tuple[ConnectionPaths, ...] = ()
