"""What `train` and `eval` return."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class LayerRate:
    """Spikes per neuron and time step of one layer, on average and at each step, and the standard
    deviation over samples (None for one sample)."""

    layer: str
    neurons: int
    firing_rate: float
    firing_rate_sample_std: float | None
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
    validation_accuracy_percent: float | None
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
    best_chosen_on: str
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
    """What `train --dry-run` found out: this is what would run. Without usable data their numbers
    are None, and not part of `memory_bytes`."""

    schema: ClassVar[str] = "clifctl.train.plan/1"

    recipe: str
    device: str
    target: str
    target_reason: str
    threads: int
    threads_reason: str
    run_folder: str
    train_samples: int | None
    test_samples: int | None
    parameters: int
    data_bytes: int | None
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
