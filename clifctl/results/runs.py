"""What the `runs` commands return."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from clifctl.results.published import Published
from clifctl.results.quantities import (
    ACCURACY_BEST,
    ACCURACY_LAST,
    TEST_LOSS,
    TIMESTEPS,
    TRAIN_LOSS_TRAIN_MODE,
    WINDOW,
)
from clifctl.results.result import Result
from clifctl.results.trials import Epochs

# Lost: a trial of a grid whose worker was gone, several times.
RunState = Literal["running", "interrupted", "failed", "lost", "done"]


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run folder. Losses and accuracies are those of its last epoch so far, `best` is chosen on
    the test data; all are None before the first epoch. A run that was stopped has saved
    `saved_epochs` epochs and `saved_steps` steps of the next (None: nothing says so); `problem` is
    why it failed. `hyperparameters` are the keys of its recipe that are listed."""

    run: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    batch_norm: str
    window: Annotated[int | None, WINDOW]
    seed: int
    epochs_done: int
    epochs: int
    accuracy_percent_last: Annotated[float | None, ACCURACY_LAST]
    accuracy_percent_best: Annotated[float | None, ACCURACY_BEST]
    train_loss_train_mode: Annotated[
        float | None, replace(TRAIN_LOSS_TRAIN_MODE, short="train loss")
    ]
    test_loss: Annotated[float | None, TEST_LOSS]
    started: str | None
    state: RunState | None = None
    saved_epochs: int | None = None
    saved_steps: int | None = None
    problem: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DamagedRun:
    """A folder that looks like a run, or may hold some, and cannot be read."""

    run: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class RunList(Result):
    """`runs ls`. `keys` are those of the recipes that each run is listed with. `skipped` names the
    folders that are damaged, and `damaged` says what is wrong."""

    schema: ClassVar[str] = "clifctl.runs/1"

    folder: str
    runs: tuple[RunRow, ...]
    skipped: tuple[str, ...]
    damaged: tuple[DamagedRun, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunCurves:
    """The curves of one run, and what it is called in a picture."""

    label: str
    exchange_after_epoch: int | None
    epochs: Epochs


@dataclass(frozen=True, kw_only=True)
class RunShown(Result):
    """`runs show`: one run, its curves, its manifest, its resolved recipe, and what the paper says
    of such a run."""

    schema: ClassVar[str] = "clifctl.runs.show/1"

    row: RunRow
    curves: RunCurves
    manifest: dict[str, Any]
    resolved_recipe: dict[str, Any]
    published: Published = field(default_factory=Published)


@dataclass(frozen=True, kw_only=True)
class RecipeDifference:
    """A key of the recipe in which runs differ, with the value of each (None: it has none)."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class RunComparison(Result):
    """`runs compare`: first where the recipes differ, then the runs."""

    schema: ClassVar[str] = "clifctl.runs.compare/1"

    differences: tuple[RecipeDifference, ...]
    same_data: bool | None
    runs: tuple[RunRow, ...]
    curves: tuple[RunCurves, ...]
