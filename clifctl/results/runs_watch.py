"""What `runs watch` shows."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from clifctl.results.quantities import ACCURACY_LAST
from clifctl.results.result import Result
from clifctl.results.runs import DamagedRun, RunState

# Waiting: a command was to run it in this folder, and nobody has begun.
WatchState = RunState | Literal["waiting"]
STATES: tuple[WatchState, ...] = (
    *("running", "waiting", "interrupted", "failed", "lost"),
    "done",
)


@dataclass(frozen=True, kw_only=True)
class WatchedRun:
    """How a run or trial stands: epochs that are finished, of how many, the accuracy after the last
    of them, since when it is in that state (None: it waits), and why it failed."""

    run: str
    state: WatchState
    epochs_done: int
    epochs: int | None
    accuracy_percent_last: Annotated[float | None, ACCURACY_LAST]
    since: str | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunWatch(Result):
    """All runs and trials below a folder, and how many are in each state."""

    schema: ClassVar[str] = "clifctl.runs.watch/1"

    folder: str
    counts: dict[WatchState, int]
    runs: tuple[WatchedRun, ...]
    damaged: tuple[DamagedRun, ...] = field(default=())

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs, or waits for that."""
        return not self.counts.get("running", 0) + self.counts.get("waiting", 0)
