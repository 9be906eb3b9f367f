"""What `bench eval` returns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.bench import BenchRate
from clifctl.results.connections import ConnectionPaths
from clifctl.results.quantities import BATCH_SIZE, RELU_RATIO, TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class EvalBenchRow:
    """One contestant at one T and batch size. `missing` says why it was not measured.

    `..._ratio` are medians of ratios of the same round, with their quartiles: to the ReLU net on
    T * N images, to the same net on N images, and to clifctl's net. `memory_format` is the faster
    one of those tried. `samples_per_s` counts what the net was given.
    """

    timesteps: Annotated[int, TIMESTEPS]
    batch_size: Annotated[int, BATCH_SIZE]
    contestant: str
    missing: str | None = None
    memory_format: str | None = None
    inference_ms: Annotated[float | None, Quantity("inference", "ms", 2, short="[ms]")] = None
    inference_lower_quartile_ms: float | None = None
    inference_upper_quartile_ms: float | None = None
    relu_ratio: Annotated[float | None, RELU_RATIO] = None
    relu_lower_quartile_ratio: float | None = None
    relu_upper_quartile_ratio: float | None = None
    relu_one_step_ratio: Annotated[
        float | None, Quantity("ratio to the ReLU net at T = 1", digits=2, short="/T = 1")
    ] = None
    relu_one_step_lower_quartile_ratio: float | None = None
    relu_one_step_upper_quartile_ratio: float | None = None
    ours_ratio: Annotated[
        float | None, Quantity("ratio to clifctl's net", digits=2, short="/ours")
    ] = None
    ours_lower_quartile_ratio: float | None = None
    ours_upper_quartile_ratio: float | None = None
    samples_per_s: Annotated[
        float | None, Quantity("samples per second", digits=1, short="samples/s")
    ] = None


@dataclass(frozen=True, kw_only=True)
class EvalBenchOperations:
    """The synaptic operations of a sample's inference, counted on the benchmark's own input by the
    rules of `energy`, beside the times. `relu_macs` are those of the ReLU net on one image,
    `spiking_acs` the additions that spikes cause, `spiking_macs` what the image or other values
    feed. A `theoretical_..._ratio` is (ACs + MACs) over the ReLU net's on T images, or on one;
    `saving_share_percent` how much of the saving against T images (1 - ratio) the time has (None:
    there is none to have)."""

    timesteps: Annotated[int, TIMESTEPS]
    batch_size: Annotated[int, BATCH_SIZE]
    relu_macs: float
    spiking_acs: float
    spiking_macs: float
    theoretical_relu_ratio: Annotated[
        float, Quantity("operations over those of the ReLU net", digits=3, short="/ReLU")
    ]
    theoretical_relu_one_step_ratio: float
    measured_relu_ratio: Annotated[
        float, Quantity("time over that of the ReLU net", digits=3, short="time")
    ]
    measured_relu_one_step_ratio: float
    saving_share_percent: Annotated[
        float | None, Quantity("saving that the time has", "%", 0, short="saved [%]")
    ]


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
class EvalBenchResult(Result):
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
