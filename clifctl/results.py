"""What experiments return: frozen values, units in the names. `schema` names the JSON document."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class LayerRate:
    """Spikes per neuron and time step of one layer, on average and at each step."""

    layer: str
    neurons: int
    firing_rate: float
    firing_rate_per_step: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A net on one split of the data. Accuracies come from the logits summed over time steps."""

    samples: int
    loss: float
    cross_entropy: float
    accuracy_percent: float
    accuracy_percent_per_step: tuple[float, ...]
    firing_rate: float | None
    firing_rates: tuple[LayerRate, ...]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of `metrics.jsonl`. The training loss is that of the steps, in train mode."""

    epoch: int
    lr: float
    train_loss_train_mode: float
    train_accuracy_percent_train_mode: float
    test_loss: float
    test_accuracy_percent: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """A test accuracy that the paper printed: its best epoch on the test set."""

    accuracy_percent: float
    source: str
    row: str
    column: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper says of a run: accuracies, most apt first, or why it prints none."""

    accuracies: tuple[PublishedNumber, ...] = ()
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished training run."""

    schema: ClassVar[str] = "clifctl.train/1"

    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: int
    batch_norm: str
    window: int | None
    seed: int
    epochs: int
    parameters: int
    accuracy_percent_last: float
    accuracy_percent_best: float
    epoch_best: int
    train_loss_train_mode: float
    train_loss_eval_mode: float
    test_loss: float
    firing_rate: float | None
    firing_rates: tuple[LayerRate, ...]
    train_seconds: float
    total_seconds: float
    device: str
    target: str
    target_reason: str
    run_folder: str
    published: Published


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What `train --dry-run` found out: all is valid, and this is what would run."""

    schema: ClassVar[str] = "clifctl.train.plan/1"

    recipe: str
    device: str
    target: str
    target_reason: str
    threads: int
    threads_reason: str
    run_folder: str
    train_samples: int
    test_samples: int
    parameters: int
    data_bytes: int
    weights_bytes: int
    activations_bytes: int
    memory_bytes: int
    resolved_recipe: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """A checkpoint evaluated on the test data."""

    schema: ClassVar[str] = "clifctl.eval/1"

    checkpoint: str
    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: int
    epoch: int | None
    seed: int | None
    batch_statistics: bool
    batch_size: int
    samples: int
    accuracy_percent: float
    loss: float
    cross_entropy: float
    accuracy_percent_per_step: tuple[float, ...]
    firing_rate: float | None
    firing_rates: tuple[LayerRate, ...]
    seconds: float
    device: str
    target: str
    target_reason: str
    published: Published


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One recipe of the catalog."""

    recipe: str
    title: str
    data: str
    model: str
    neuron: str
    timesteps: int


@dataclass(frozen=True, kw_only=True)
class RecipeList:
    """The catalog of recipes."""

    schema: ClassVar[str] = "clifctl.recipes/1"

    recipes: tuple[RecipeRow, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeCheck:
    """A recipe that holds: schema, data and shapes."""

    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class RecipeChecks:
    """Every recipe that was checked."""

    schema: ClassVar[str] = "clifctl.recipes.check/1"

    recipes: tuple[RecipeCheck, ...]


@dataclass(frozen=True, kw_only=True)
class HyperparameterRow:
    """One hyperparameter of a neuron."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class NeuronRow:
    """What a neuron declares."""

    schema: ClassVar[str] = "clifctl.neuron/1"

    neuron: str
    title: str
    states: tuple[str, ...]
    learnables: tuple[str, ...]
    hyperparameters: tuple[HyperparameterRow, ...]
    paper: str


@dataclass(frozen=True, kw_only=True)
class NeuronList:
    """Every neuron."""

    schema: ClassVar[str] = "clifctl.neurons/1"

    neurons: tuple[NeuronRow, ...]


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """The worst quantity of one parity case: its relative error, and the error that is allowed."""

    case: str
    quantity: str
    error: float
    allowed: float
    excluded_percent: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The parity suite on one neuron."""

    schema: ClassVar[str] = "clifctl.neurons.check/1"

    neuron: str
    timesteps: int
    passed: bool
    cases: tuple[CheckRow, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One row of the DATASETS table; None: the data set's options say."""

    data: str
    title: str
    classes: int | None
    input_shape: tuple[int, ...] | None
    timesteps: str
    source: str


@dataclass(frozen=True, kw_only=True)
class DatasetList:
    """The DATASETS table."""

    schema: ClassVar[str] = "clifctl.data/1"

    data: tuple[DatasetRow, ...]


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One file or folder that a data set needs. `state` is good, missing or bad (`problem`)."""

    file: str
    state: str
    what: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class DataCheckResult:
    """What a data set needs below `root` (None: it is embedded), and what of it is there."""

    schema: ClassVar[str] = "clifctl.data.check/1"

    data: str
    root: str | None
    complete: bool
    url: str | None
    licence: str | None
    download_bytes: int | None
    obtain: str | None
    files: tuple[FileRow, ...]


@dataclass(frozen=True, kw_only=True)
class FrameRow:
    """One time step of one sample. Channel sums are event counts for event data."""

    step: int
    minimum: float
    maximum: float
    mean: float
    sum_per_channel: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """One sample of a data set, as the net would see it (without augmentation)."""

    schema: ClassVar[str] = "clifctl.data.show/1"

    data: str
    split: str
    sample: int
    label: int
    samples_in_split: int
    shape: tuple[int, ...]
    sha256: str
    frames: tuple[FrameRow, ...]
    picture: str | None


@dataclass(frozen=True, kw_only=True)
class RegisterRow:
    """What one GPU kernel takes in machine code, per thread. A spill appears as stack."""

    neuron: str
    kernel: str
    timesteps: int
    dtype: str
    gpu: str
    elements_per_thread: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes_per_program: int
    compile_s: float


@dataclass(frozen=True, kw_only=True)
class RegisterResult:
    """The GPU kernels of one neuron, compiled without a GPU."""

    schema: ClassVar[str] = "clifctl.neurons.registers/1"

    neuron: str
    versions: dict[str, str | None]
    spills: int
    compile_s_largest: float
    kernels: tuple[RegisterRow, ...]


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
