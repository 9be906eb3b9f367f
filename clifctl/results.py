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
    epoch: int
    seed: int
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
class DatasetRow:
    """One row of the DATASETS table."""

    data: str
    title: str
    classes: int
    input_shape: tuple[int, ...]
    timesteps: str
    source: str


@dataclass(frozen=True, kw_only=True)
class DatasetList:
    """The DATASETS table."""

    schema: ClassVar[str] = "clifctl.data/1"

    data: tuple[DatasetRow, ...]


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
