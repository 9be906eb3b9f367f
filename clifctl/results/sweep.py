"""What `sweep` returns."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from clifctl.results.result import Result
from clifctl.results.statistics import Estimate
from clifctl.results.summary import Differences, Summary
from clifctl.results.trials import TrialStatus


@dataclass(frozen=True, kw_only=True)
class SweptPoint:
    """One point of a sweep: the value of each swept key, and what its trials gave. `differences`
    is None for a baseline itself, and where no seed has both; `title` says the values in words."""

    title: str
    values: dict[str, Any]
    is_baseline: bool
    summary: Summary
    differences: Differences | None


@dataclass(frozen=True, kw_only=True)
class BestPoint:
    """The point of the highest mean accuracy (last epoch) on validation data, where every trial
    has some, else on the test data, which makes that accuracy too good: `said` tells which."""

    said: Literal["best by validation data", "best on test"]
    title: str
    values: dict[str, Any]
    validation_accuracy_percent_last: Estimate | None
    accuracy_percent_last: Estimate


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """A point by two quantities, the mean of each: it is on the front where no other point is as
    good in both and better in one."""

    title: str
    values: dict[str, Any]
    quantity: Estimate
    against: Estimate
    on_front: bool


@dataclass(frozen=True, kw_only=True)
class SweepResult(Result):
    """`sweep`. `quantities` are the columns that were asked for (empty: all usual ones); `pareto`
    has the points by the first of them (accuracy) and `against`, the best in `against` first. Of
    `points_of_product` points some were drawn where `sample_seed` is one."""

    schema: ClassVar[str] = "clifctl.sweep/1"

    recipe: str
    keys: tuple[str, ...]
    zipped: bool
    points_of_product: int
    sample_seed: int | None
    baseline: str
    seeds_asked: int
    epochs: int
    quantities: tuple[str, ...]
    quantity: str
    against: str | None
    correction: str
    results_folder: str
    rows: tuple[SweptPoint, ...]
    best: BestPoint | None
    pareto: tuple[ParetoPoint, ...]
    conclusions: tuple[str, ...]
    notes: tuple[str, ...]
    trials: tuple[TrialStatus, ...]
