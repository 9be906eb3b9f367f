"""What a run, or a grid of runs, says of itself while it goes on. Observers are functions of it.

A record that is written to `metrics.jsonl`, or to the results folder of a grid, is an event as it
stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clifctl.results.train import EpochRecord, Running, StepRecord, TrainPlan
from clifctl.results.trials import Epochs, TrialRecord


@dataclass(frozen=True)
class Notice:
    """Something that the person should know."""

    line: str


@dataclass(frozen=True)
class RunStarted:
    """A run begins, or goes on: `epochs` of `steps` each. What is written to its metrics before
    this is of an earlier process."""

    plan: TrainPlan
    epochs: int
    steps: int


@dataclass(frozen=True)
class StepDone:
    """One optimizer step was taken: `step` of the epoch, counted from 1, which has added up
    `running` so far."""

    epoch: int
    step: int
    running: Running


# A StepRecord or an EpochRecord is in metrics.jsonl by then, and a checkpoint of the epoch saved.
RunEvent = RunStarted | StepDone | StepRecord | EpochRecord | Notice
Observer = Callable[[RunEvent], None]


@dataclass(frozen=True)
class GridStarted:
    """The trials of a grid are about to be run: title and epochs of each by its name, of which
    `finished` were finished before. `curves` gives those of a trial, so far."""

    results_folder: str
    titles: Mapping[str, str]
    epochs: Mapping[str, int]
    finished: int
    curves: Callable[[str], Epochs]


@dataclass(frozen=True)
class TrialStarted:
    """A trial was handed to a worker, for the `attempt`-th time."""

    trial: str
    attempt: int


@dataclass(frozen=True)
class TrialElsewhere:
    """Another process runs a trial."""

    trial: str


@dataclass(frozen=True)
class TrialLost:
    """The worker of a trial was lost: it is tried once more."""

    trial: str
    reason: str


# A TrialRecord says how a trial ended.
GridEvent = GridStarted | TrialStarted | TrialElsewhere | TrialLost | TrialRecord | Notice
GridObserver = Callable[[GridEvent], None]
