"""What `compare-neurons` returns."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.published import Published
from clifctl.results.result import Result
from clifctl.results.summary import Differences, MeanCurve, Summary
from clifctl.results.trials import TrialStatus


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

    @property
    def setting(self) -> str:
        """T in words, and that of the baseline where it is another one."""
        other = self.paired_timesteps
        against = "" if other == self.timesteps else f" against T = {other}"
        return f"T = {self.timesteps}{against}"


@dataclass(frozen=True, kw_only=True)
class NeuronComparison(Result):
    """`compare-neurons`. `conclusions` says in sentences what the numbers bear; `results_folder` is
    None where the trials were not kept."""

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
    results_folder: str | None
    rows: tuple[ComparedNeuron, ...]
    conclusions: tuple[str, ...]
    notes: tuple[str, ...]
    trials: tuple[TrialStatus, ...]
