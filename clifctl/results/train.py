"""What `train` returns."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

from clifctl.results.connections import DENSE_THEN, ConnectionPaths
from clifctl.results.eval import LayerRate
from clifctl.results.published import Published
from clifctl.results.quantities import (
    ACCURACY_BEST,
    ACCURACY_LAST,
    FIRING_RATE,
    PARAMETERS,
    TARGET,
    TEST_LOSS,
    TEST_SAMPLES,
    TIMESTEPS,
    TRAIN_LOSS_EVAL_MODE,
    TRAIN_LOSS_TRAIN_MODE,
    VALIDATION_ACCURACY,
    WINDOW,
    Quantity,
)
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class TimeShares:
    """Where the time of the training steps went [%]: `rest` is the loop itself, logging, progress
    and saving; evaluation is not part of it."""

    data_percent: Annotated[float, Quantity("  share of its time, data", "%", 1)]
    forward_percent: Annotated[float, Quantity("  share of its time, forward", "%", 1)]
    backward_percent: Annotated[float, Quantity("  share of its time, backward", "%", 1)]
    optimizer_percent: Annotated[float, Quantity("  share of its time, optimizer", "%", 1)]
    rest_percent: Annotated[float, Quantity("  share of its time, the rest", "%", 1)]


@dataclass(frozen=True, kw_only=True)
class StepRecord(Result):
    """A line of `metrics.jsonl` within an epoch: loss and accuracy are means over its steps so far,
    `skipped_steps` counts those of the run that float16 left out. `samples_per_second` is that of
    the training steps, evaluation not counted."""

    epoch: int
    step: int
    lr: float
    train_loss_train_mode: float
    train_accuracy_percent_train_mode: float
    skipped_steps: int
    seconds: float
    samples_per_second: float
    time: TimeShares


@dataclass(frozen=True, kw_only=True)
class EpochRecord(Result):
    """A line of `metrics.jsonl` after an epoch. The training loss is that of the steps, in train
    mode; `seconds` are those of training and evaluation; the rest is as in a StepRecord."""

    epoch: int
    lr: float
    train_loss_train_mode: float
    train_accuracy_percent_train_mode: float
    test_loss: float
    test_accuracy_percent: float
    validation_accuracy_percent: float | None
    skipped_steps: int
    seconds: float
    samples_per_second: float
    time: TimeShares


class Running(Protocol):
    """What an epoch has added up so far. Reading one waits for the device: that is
    cheap a few times a second, but not at every step."""

    @property
    def samples(self) -> Any:
        """How many samples, as a whole number or a tensor with one."""

    def mean_loss(self) -> float:
        """The mean training loss."""

    def accuracy_percent(self) -> float:
        """The training accuracy."""


@dataclass(frozen=True, kw_only=True)
class TrainResult(Result):
    """A finished training run. `run_folder` is None where nothing was written."""

    schema: ClassVar[str] = "clifctl.train/1"

    recipe: str
    state: Literal["done"] = "done"
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    batch_norm: str
    window: Annotated[int | None, WINDOW]
    seed: int
    epochs: int
    parameters: Annotated[int, PARAMETERS]
    accuracy_percent_last: Annotated[float, ACCURACY_LAST]
    accuracy_percent_best: Annotated[float, ACCURACY_BEST]
    validation_accuracy_percent_last: Annotated[float | None, VALIDATION_ACCURACY] = None
    epoch_best: Annotated[int, Quantity("best epoch")]
    best_chosen_on: Annotated[str, Quantity("best epoch chosen on")]
    train_loss_train_mode: Annotated[float, TRAIN_LOSS_TRAIN_MODE]
    train_loss_eval_mode: Annotated[float, TRAIN_LOSS_EVAL_MODE]
    test_loss: Annotated[float, TEST_LOSS]
    firing_rate: Annotated[float | None, FIRING_RATE]
    firing_rates: tuple[LayerRate, ...]
    precision: str
    skipped_steps: int
    train_seconds: Annotated[float, Quantity("training time", "s", 1)]
    total_seconds: Annotated[float, Quantity("total time", "s", 1)]
    samples_per_second: Annotated[float, Quantity("training speed, last epoch", "samples/s", 0)]
    time: TimeShares
    device: str
    processes: int = 1
    target: Annotated[str, TARGET]
    target_reason: str
    connections: str = "dense"
    connections_reason: str = DENSE_THEN
    run_folder: str | None
    resolved_recipe: dict[str, Any] = field(default_factory=dict)
    published: Published


@dataclass(frozen=True, kw_only=True)
class TrainPlan(Result):
    """What `train --dry-run` found out: this is what would run. Without usable data their numbers
    are None, and not part of `memory_bytes`. `continues_after` says how far a run that goes on has
    come; None: it begins. `connection_paths` are those of a step with fresh weights; empty where
    connections are dense."""

    schema: ClassVar[str] = "clifctl.train.plan/1"

    recipe: str
    device: str
    processes: int = 1
    target: Annotated[str, TARGET]
    target_reason: str
    connections: str = "dense"
    connections_reason: str = DENSE_THEN
    threads: Annotated[int, Quantity("CPU threads")]
    threads_reason: str
    precision: str
    precision_reason: str
    run_folder: str | None
    continues_after: str | None
    train_samples: Annotated[int | None, Quantity("training samples", digits=0)]
    test_samples: Annotated[int | None, TEST_SAMPLES]
    parameters: Annotated[int, PARAMETERS]
    data_bytes: int | None
    weights_bytes: int
    activations_bytes: int
    memory_bytes: int
    resolved_recipe: dict[str, Any]
    connection_paths: tuple[ConnectionPaths, ...] = ()
