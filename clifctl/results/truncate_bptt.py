"""What `truncate-bptt` returns."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.result import Result
from clifctl.results.summary import Differences, Summary
from clifctl.results.trials import TrialStatus


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
class TruncationResult(Result):
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
