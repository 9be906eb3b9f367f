"""What the trials of a grid give: estimates over seeds, and paired differences."""

from dataclasses import dataclass

from clifctl.results.statistics import Difference, Estimate


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the finished trials of one cell of a grid gave, over their seeds. Each estimate is None
    where no trial is finished, or none measured it. Memory is the largest of the trials. The
    temporal share of the gradient is that of `gradients`, where it was asked for."""

    seeds: tuple[int, ...]
    accuracy_percent_last: Estimate | None
    accuracy_percent_best: Estimate | None
    train_loss_train_mode: Estimate | None
    train_loss_eval_mode: Estimate | None
    test_loss: Estimate | None
    firing_rate: Estimate | None
    step_ms: Estimate | None
    parameters: int | None
    kept_for_backward_bytes: int | None
    peak_memory_bytes: int | None
    beside_most: int | None
    temporal_share_percent: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Paired differences to a baseline, over the seeds that both have. Each quantity is a family of
    comparisons of its own for the correction."""

    accuracy_percent_last: Difference
    train_loss_train_mode: Difference
    train_loss_eval_mode: Difference
    test_loss: Difference
    firing_rate: Difference | None
    temporal_share_percent: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class MeanCurve:
    """Mean and standard error over seeds, an entry an epoch; one seed has no standard error."""

    mean: tuple[float, ...]
    standard_error: tuple[float, ...] | None
