"""Handing out the trials of a grid to those who run them, and what happens when that goes wrong."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field

from clifctl.devices import available_memory_bytes
from clifctl.errors import Interrupted, RunFailed
from clifctl.experiments.grid.results_folder import ResultsFolder
from clifctl.experiments.grid.trial import Outcome, TrialTask, failed_record
from clifctl.experiments.grid.trial_names import Trial
from clifctl.experiments.grid.worker_pool import GRACE_SECONDS, WorkerLost
from clifctl.experiments.grid.workers import Workforce
from clifctl.results.events import (
    GridObserver,
    GridStarted,
    Notice,
    TrialElsewhere,
    TrialLost,
    TrialStarted,
)
from clifctl.results.trials import TrialRecord

# A worker that the system kills may have met another's peak of memory: it is tried once more.
ATTEMPTS = 2
POLL_SECONDS = 0.5
GO_ON = "the same command resumes from there"
LOST = "its worker is gone"


@dataclass(frozen=True)
class Shard:
    """Every `of`-th trial, beginning with number `index` (from 1)."""

    index: int
    of: int

    def part(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The trials of this shard."""
        return trials[self.index - 1 :: self.of]


def started(trials: Sequence[Trial], folder: ResultsFolder, finished: int) -> GridStarted:
    """The event that a run over `trials` begins with."""
    return GridStarted(
        results_folder=str(folder.path),
        titles={trial.name: trial.title for trial in trials},
        epochs={trial.name: trial.loaded.recipe.train.epochs for trial in trials},
        finished=finished,
        curves=folder.epochs,
    )


@dataclass
class Dispatch:
    """One run over the trials of a grid. `task` says how a trial is to be run."""

    trials: Sequence[Trial]
    folder: ResultsFolder
    task: Callable[[Trial, int], TrialTask]
    observe: GridObserver
    need_bytes: int = 0
    fail_fast: bool = False
    _running: dict["Future[Outcome]", tuple[Trial, int]] = field(default_factory=dict)
    _elsewhere: dict[str, Trial] = field(default_factory=dict)
    _old: dict[str, TrialRecord] = field(default_factory=dict)
    _pending: deque[tuple[Trial, int]] = field(default_factory=deque)
    _failed: bool = False

    def run(self, workforce: Workforce) -> None:
        """Run what is not finished. Raises Interrupted where it is ended before that, RunFailed
        where nobody is left who could run it; what is finished is kept, and the same call goes
        on."""
        for trial in self.trials:
            record = self.folder.record(trial.name)
            if record is None or record.state != "finished":
                self._pending.append((trial, 1))
            if record is not None:
                self._old[trial.name] = record
        self.observe(started(self.trials, self.folder, len(self.trials) - len(self._pending)))
        try:
            while self._pending or self._running or self._elsewhere:
                workforce.look(self._notice)
                self._fill(workforce)
                self._collect(workforce)
                self._look_elsewhere()
                if self._failed and self.fail_fast:
                    left = self._stop(workforce)
                    self._notice(f"--fail-fast: no further trial is started{left}")
                    return
        except KeyboardInterrupt as stop:
            left = self._stop(workforce)
            raise Interrupted(stop, f"stopped: {self._so_far()}{left}", hint=GO_ON) from None
        except Interrupted as stopped:
            raise _with_message(stopped, f"stopped: {self._so_far()}") from None
        except RunFailed as gone:
            raise RunFailed(f"{gone.message}: {self._so_far()}", hint=gone.hint) from None

    def _notice(self, line: str) -> None:
        self.observe(Notice(line))

    def _stop(self, workforce: Workforce) -> str:
        """Cancel what has not begun, have what runs save and end, and say what is left of it on a
        cluster. Another Ctrl-C ends the waiting."""
        running = [trial.name for trial, _ in self._running.values()]
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(KeyboardInterrupt):
            workforce.stop()
            while time.monotonic() < deadline and any(map(self.folder.is_claimed, running)):
                time.sleep(POLL_SECONDS / 5)
        if workforce.cluster is None:
            return ""
        left = sum(map(self.folder.is_claimed, running))
        if left:
            return f"; {left} still run in the cluster at {workforce.cluster}, to their next step"
        return f"; nothing of it runs in the cluster at {workforce.cluster} any more"

    def _fill(self, workforce: Workforce) -> None:
        while self._pending and len(self._running) < workforce.at_once:
            if self._running and not self._memory_allows():
                return
            trial, attempt = self._pending.popleft()
            record = self.folder.record(trial.name)
            if record is not None and (
                record.state == "finished" or record != self._old.get(trial.name)
            ):
                # Another process has run it meanwhile, for better or worse.
                self._end(record)
                continue
            self.observe(TrialStarted(trial.name, attempt))
            future = workforce.executor.submit(workforce.run, self.task(trial, attempt))
            self._running[future] = (trial, attempt)
            if future.done():
                return

    def _memory_allows(self) -> bool:
        """Whether another trial fits beside those that run."""
        free = available_memory_bytes()
        return free is None or free > self.need_bytes

    def _collect(self, workforce: Workforce) -> None:
        done, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            trial, attempt = self._running.pop(future)
            try:
                outcome = future.result()
            except WorkerLost as lost:
                self._retry(trial, attempt, str(lost))
                continue
            except CancelledError:
                workforce.look(self._notice)  # raises where the cluster is gone
                self._retry(trial, attempt, "the cluster cancelled it")
                continue
            except Exception as failed:  # whatever a cluster or a full disk has to say
                if type(failed).__name__ == "KilledWorker":  # of Dask's
                    self._retry(trial, attempt, LOST)
                else:
                    self._give_up(trial, attempt, f"{type(failed).__name__}: {failed}", lost=False)
                continue
            if outcome == "busy":
                self._elsewhere[trial.name] = trial
                self.observe(TrialElsewhere(trial.name))
            elif outcome == "stopped":
                self._retry(trial, attempt, "its process was asked to stop")
            elif outcome == "lost":
                self._retry(trial, attempt, LOST)
            else:
                record = self.folder.record(trial.name)
                if record is None:
                    self._give_up(trial, attempt, "its record was not written", lost=True)
                else:
                    self._end(record)

    def _retry(self, trial: Trial, attempt: int, why: str) -> None:
        if attempt < ATTEMPTS:
            self.observe(TrialLost(trial.name, why))
            self._pending.appendleft((trial, attempt + 1))
        else:
            self._give_up(trial, attempt, f"{why}, {attempt} times", lost=True)

    def _give_up(self, trial: Trial, attempt: int, why: str, *, lost: bool) -> None:
        with self.folder.claim(trial.name) as mine:
            if mine is None:  # another command has begun it meanwhile, and will tell
                self._elsewhere[trial.name] = trial
                self.observe(TrialElsewhere(trial.name))
                return
            record = self.folder.record(trial.name)
            if record is None or record.state != "finished":
                record = failed_record(self.task(trial, attempt), why, lost=lost)
                self.folder.write(record)
        self._end(record)

    def _end(self, record: TrialRecord) -> None:
        self._failed |= record.state != "finished"
        self.observe(record)

    def _look_elsewhere(self) -> None:
        if self._elsewhere and not self._running:
            time.sleep(POLL_SECONDS)
        for name, trial in list(self._elsewhere.items()):
            # The lock is given back after the record was written: an end shows here, or below.
            if not self.folder.is_claimed(name):
                del self._elsewhere[name]
                self._pending.append((trial, 1))

    def _so_far(self) -> str:
        records = [self.folder.record(trial.name) for trial in self.trials]
        finished = sum(record is not None and record.state == "finished" for record in records)
        return f"{finished} of {len(self.trials)} trials are finished in '{self.folder.path}'"


def _with_message(stopped: Interrupted, message: str) -> Interrupted:
    renamed = Interrupted(KeyboardInterrupt(), message, hint=GO_ON)
    renamed.exit_code = stopped.exit_code
    return renamed
