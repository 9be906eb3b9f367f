"""The trials of a grid: how each ended, what it measured, and the plan of a dry run."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args

from clifctl.results.quantities import (
    ACCURACY_BEST,
    ACCURACY_LAST,
    FIRING_RATE,
    STEP,
    TEST_LOSS,
    TRAIN_LOSS_EVAL_MODE,
    TRAIN_LOSS_TRAIN_MODE,
    VALIDATION_ACCURACY,
    Quantity,
)
from clifctl.results.result import Result

TrialState = Literal["finished", "failed", "lost", "missing"]
# Of a trial that has a job of Slurm.
JobState = Literal["queued", "running"]
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Quantities(Generic[Value]):
    """What the trials of a grid are summarised by: of one trial a number, over seeds an Estimate.

    A field of TrainResult that is declared here is kept in the record of each trial, and is a
    column of every grid. A new one needs None as its default, since older records do not have it.
    """

    accuracy_percent_last: Annotated[Value, ACCURACY_LAST]
    accuracy_percent_best: Annotated[Value, ACCURACY_BEST]
    train_loss_train_mode: Annotated[Value, TRAIN_LOSS_TRAIN_MODE]
    train_loss_eval_mode: Annotated[Value, TRAIN_LOSS_EVAL_MODE]
    test_loss: Annotated[Value, TEST_LOSS]
    firing_rate: Annotated[Value | None, FIRING_RATE]
    validation_accuracy_percent_last: Annotated[Value | None, VALIDATION_ACCURACY] = None

    def __init_subclass__(cls) -> None:
        """Declare the fields again with the type of the values, as which they are validated."""
        (value,) = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]
        declared: dict[str, Any] = Quantities.__annotations__
        mine = {name: hint[value] for name, hint in declared.items()}
        cls.__annotations__ = {**mine, **cls.__annotations__}


@dataclass(frozen=True, kw_only=True)
class Measured(Quantities[float]):
    """What one finished trial gave. Step times are those between two optimizer steps of an epoch,
    without the first step of each epoch and those before an interruption. `beside` trials ran on
    the machine at once, which makes steps longer. `peak_memory_bytes` is the most that the process
    held (on a GPU: torch), or None where the system does not say."""

    epoch_best: int
    parameters: int
    train_seconds: float
    step_ms_median: float | None
    step_ms_quartile_low: float | None
    step_ms_quartile_high: float | None
    steps_timed: int
    kept_for_backward_bytes: int
    peak_memory_bytes: int | None
    beside: int
    device: str
    target: str
    connections: str = "dense"
    torch_version: str


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Result):
    """`<trial>.json` of a results folder: how a trial ended. A finished one has more in the
    `result.json` of its run folder."""

    schema: ClassVar[str] = "clifctl.trial/1"

    trial: str
    title: str
    seed: int
    state: TrialState
    attempts: int
    problem: str | None
    measured: Measured | None


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The loss curves of one trial, an entry an epoch."""

    train_loss_train_mode: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy_percent: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """One trial in a result: its name, its place in the grid, and how it stands."""

    trial: str
    title: str
    seed: int
    state: TrialState | JobState
    attempts: int
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TimedStep:
    """What a dry run timed for a trial: a training step of the net of `trial` (of another trial,
    where there was no time for every configuration), on so many samples and time steps, in the
    arithmetic `precision`. `work_factor` is how many times as much work the whole step is, by
    counted multiply-accumulates; `precision_factor` how many times as long the run's own arithmetic
    takes.
    """

    trial: str
    samples: int
    timesteps: int
    precision: str
    work_factor: float
    precision_factor: float

    @property
    def is_whole(self) -> bool:
        """Whether the trial's own step was timed as it will be."""
        return self.work_factor == 1.0 and self.precision_factor == 1.0


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One trial of a dry run. Steps and times are None where no step was timed: the trial is
    finished, or its data are missing. `step_ms` and `estimate_seconds` are estimates; `timed` is
    what they were scaled from."""

    trial: str
    title: Annotated[str, Quantity("what")]
    seed: int
    state: TrialState
    step_ms: Annotated[float | None, STEP]
    steps: Annotated[int | None, Quantity("steps", digits=0)]
    kept_for_backward_bytes: int
    estimate_seconds: Annotated[float | None, Quantity("estimate", "s", 0)]
    timed: TimedStep | None = None


@dataclass(frozen=True, kw_only=True)
class TrialPlan(Result):
    """What `--dry-run` of a grid found out. `estimate_seconds` is the time of all that is left, on
    `workers` processes; None where the data are missing, and where jobs of Slurm run them, all by
    `batch_script`."""

    schema: ClassVar[str] = "clifctl.trials.plan/1"

    command: str
    recipe: str
    results_folder: str
    device: str
    target: str
    connections: str = "dense"
    workers: int
    workers_reason: str
    threads_per_trial: int
    trials: tuple[PlannedTrial, ...]
    finished: int
    estimate_seconds: float | None
    batch_script: str | None = None
