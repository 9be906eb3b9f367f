"""What `compare-neurons` and `truncate-bptt` return."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.runs import Published
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.trials import TrialStatus


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


@dataclass(frozen=True, kw_only=True)
class ComparedNeuron:
    """One neuron in one setting. `differences` is None for the baseline itself, and where no seed
    has both. `paired_timesteps` is T of the baseline: that of the ANN is 1, whatever the rest."""

    neuron: str
    timesteps: int
    batch_norm: str
    paired_timesteps: int
    is_baseline: bool
    summary: Summary
    differences: Differences | None
    train_loss_curve: MeanCurve | None
    test_loss_curve: MeanCurve | None
    published: Published


@dataclass(frozen=True, kw_only=True)
class NeuronComparison:
    """`compare-neurons`. `conclusions` says in sentences what the numbers bear."""

    schema: ClassVar[str] = "clifctl.compare-neurons/1"

    recipe: str
    data: str
    model: str
    epochs: int
    exchange_to: str | None
    exchange_after_epoch: int | None
    baseline: str
    seeds_asked: int
    correction: str
    results_folder: str
    rows: tuple[ComparedNeuron, ...]
    conclusions: tuple[str, ...]
    notes: tuple[str, ...]
    trials: tuple[TrialStatus, ...]


@dataclass(frozen=True, kw_only=True)
class TruncationRow:
    """One window k at one tau; `full` marks k = T, which is full BPTT. `published_percent` is the
    paper's accuracy (Table 3: best epoch on the test set, one seed)."""

    tau: float
    window: int
    full: bool
    summary: Summary
    published_percent: float | None


@dataclass(frozen=True, kw_only=True)
class TruncationStep:
    """From one window to the next longer one, at one tau: paired differences longer - shorter."""

    tau: float
    window_from: int
    window_to: int
    differences: Differences


@dataclass(frozen=True, kw_only=True)
class TruncationResult:
    """`truncate-bptt`. `conclusions` says in sentences what the numbers bear."""

    schema: ClassVar[str] = "clifctl.truncate-bptt/1"

    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: int
    window_reading: str
    epochs: int
    seeds_asked: int
    correction: str
    results_folder: str
    rows: tuple[TruncationRow, ...]
    steps: tuple[TruncationStep, ...]
    conclusions: tuple[str, ...]
    notes: tuple[str, ...]
    trials: tuple[TrialStatus, ...]
