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
class BenchRate:
    """The firing rate of a layer of neurons on a benchmark's input, in spikes per neuron and step;
    `target_rate` is what it was brought to (None: fresh weights as they are)."""

    timesteps: int
    layer: str
    neurons: int
    target_rate: float | None
    firing_rate: float


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
    """What the gate found at one T: clifctl's net against its plain path. Errors are relative;
    `connection_rounding_share` is the error of a connection in shares of what rounding may make
    (None: results of older versions)."""

    timesteps: int
    batch_size: int
    float64_loss_error: float
    float64_gradient_error: float
    float64_allowed: float
    layer_differing_share: float
    layer_differing_share_allowed: float
    layer_gradient_error: float
    layer_gradient_error_allowed: float
    connection_rounding_share: float | None = None


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
    """One net's training step timed on one machine, after it has passed the gate. `rates` says
    where the firing rates come from (fresh weights, the paper, a file), `frames_percent` how many
    of the values of event frames were not zero (None: the input was an image). The paths of its
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
    rates: str = "fresh"
    firing_rates: tuple[BenchRate, ...] = ()
    frames_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class EvalBenchRow:
    """One contestant at one T and batch size. `missing` says why it was not measured.

    `..._ratio` are medians of ratios of the same round, with their quartiles: to the ReLU net on
    T * N images, to the same net on N images, and to clifctl's net. `memory_format` is the faster
    one of those tried. `samples_per_s` counts what the net was given.
    """

    timesteps: int
    batch_size: int
    contestant: str
    missing: str | None = None
    memory_format: str | None = None
    inference_ms: float | None = None
    inference_lower_quartile_ms: float | None = None
    inference_upper_quartile_ms: float | None = None
    relu_ratio: float | None = None
    relu_lower_quartile_ratio: float | None = None
    relu_upper_quartile_ratio: float | None = None
    relu_one_step_ratio: float | None = None
    relu_one_step_lower_quartile_ratio: float | None = None
    relu_one_step_upper_quartile_ratio: float | None = None
    ours_ratio: float | None = None
    ours_lower_quartile_ratio: float | None = None
    ours_upper_quartile_ratio: float | None = None
    samples_per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class EvalBenchOperations:
    """The synaptic operations of a sample's inference, counted on the benchmark's own input by the
    rules of `energy`, beside the times. `relu_macs` are those of the ReLU net on one image,
    `spiking_acs` the additions that spikes cause, `spiking_macs` what the image or other values
    feed. A `theoretical_..._ratio` is (ACs + MACs) over the ReLU net's on T images, or on one;
    `saving_share_percent` how much of the saving against T images (1 - ratio) the time has (None:
    there is none to have)."""

    timesteps: int
    batch_size: int
    relu_macs: float
    spiking_acs: float
    spiking_macs: float
    theoretical_relu_ratio: float
    theoretical_relu_one_step_ratio: float
    measured_relu_ratio: float
    measured_relu_one_step_ratio: float
    saving_share_percent: float | None


@dataclass(frozen=True, kw_only=True)
class EvalBenchCheck:
    """What the gate found at one T, as for training."""

    timesteps: int
    batch_size: int
    float64_logits_error: float
    float64_allowed: float
    layer_differing_share: float
    layer_differing_share_allowed: float
    connection_rounding_share: float


@dataclass(frozen=True, kw_only=True)
class EvalBenchResult:
    """One net's inference timed on one machine, after it has passed the gate. `rates` says where
    the firing rates come from (fresh weights, the paper, a file), `frames_percent` how many of the
    values of event frames were not zero (None: the input was an image). The paths of its
    connections are those of the batch at the largest T; there are none where all are dense."""

    schema: ClassVar[str] = "clifctl.bench.eval/1"

    started: str
    model: str
    neuron: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    timesteps: tuple[int, ...]
    batch_size: int
    precision: str
    rates: str
    firing_rates: tuple[BenchRate, ...]
    frames_percent: float | None
    repeats: int
    device: str
    machine: str
    threads: int
    threads_reason: str
    target: str
    connections: str
    connection_paths: tuple[ConnectionPaths, ...]
    versions: dict[str, str | None]
    checks: tuple[EvalBenchCheck, ...]
    rows: tuple[EvalBenchRow, ...]
    operations: tuple[EvalBenchOperations, ...]
