"""Running the trials of a grid: in this process, in processes beside it, or on a cluster."""

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from clifctl.devices import available_memory_bytes
from clifctl.errors import Interrupted, UsageError
from clifctl.experiments.trial_names import Trial
from clifctl.experiments.trial_run import (
    Order,
    Outcome,
    failed_record,
    run_trial,
    run_trial_remotely,
)
from clifctl.experiments.trials import ResultsFolder
from clifctl.experiments.worker_pool import WorkerLost, WorkerPool
from clifctl.results import TrialRecord

# A worker that the system kills may have met another's peak of memory: it is tried once more.
ATTEMPTS = 2
POLL_SECONDS = 0.5
GO_ON = "the same command goes on from there"


class TrialsObserver(Protocol):
    """Who watches a grid being run."""

    def opened(self, trials: Sequence[Trial], folder: ResultsFolder, finished: int) -> None: ...
    def began(self, trial: Trial, attempt: int) -> None: ...
    def elsewhere(self, trial: Trial) -> None: ...
    def lost(self, trial: Trial, why: str) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...


@dataclass(frozen=True)
class Workforce:
    """Who runs trials: an executor, how many trials at once, and how its work is ended."""

    executor: Executor
    run: Callable[[Order], Outcome]
    at_once: int
    stop: Callable[[], None]


@dataclass(frozen=True)
class Shard:
    """Every `of`-th trial, beginning with number `index` (from 1)."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`i/n`. Raises UsageError for anything else."""
        index, slash, of = text.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
            raise UsageError(f"--shard {text}: must be i/n with i from 1 to n", hint="--shard 1/4")
        return cls(int(index), int(of))

    def part(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The trials of this shard."""
        return trials[self.index - 1 :: self.of]


class _InThisProcess(Executor):
    """Runs a call when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def local_workforce(workers: int) -> Iterator[Workforce]:
    """`workers` processes of this machine; one is this process itself."""
    if workers == 1:
        yield Workforce(_InThisProcess(), run_trial, 1, lambda: None)
        return
    pool = WorkerPool(workers)
    try:
        yield Workforce(pool, run_trial_remotely, workers, pool.terminate)
        pool.shutdown()
    finally:
        pool.terminate()


@contextmanager
def dask_workforce(address: str) -> Iterator[Workforce]:
    """The workers of the Dask scheduler at `address`. Raises UsageError where there are none."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "--scheduler needs Dask, which is not installed", hint="pip install 'clifctl[dask]'"
        ) from None
    try:
        client: Any = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as refused:
        reason = str(refused) or "no answer within 10 s"
        raise UsageError(
            f"--scheduler {address}: {reason}", hint="give the address that dask scheduler prints"
        ) from None
    start = f"dask worker {shlex.quote(address)}"
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            raise UsageError(
                f"the scheduler at {address} has no workers",
                hint=f"{start}",
            )
        if any(worker["nthreads"] > 1 for worker in workers):
            # The generators of torch belong to a process: two trials there would share them.
            raise UsageError(
                f"workers of {address} have several threads, a trial needs a process of its own",
                hint=f"{start} --nworkers N --nthreads 1",
            )
        executor = client.get_executor(pure=False, retries=ATTEMPTS - 1)
        yield Workforce(
            executor,
            run_trial_remotely,
            len(workers),
            lambda: executor.shutdown(wait=False, cancel_futures=True),
        )
    finally:
        client.close()


@dataclass
class Dispatch:
    """One run over the trials of a grid. `order` says how a trial is to be run."""

    trials: Sequence[Trial]
    folder: ResultsFolder
    order: Callable[[Trial, int], Order]
    observer: TrialsObserver
    need_bytes: int = 0
    fail_fast: bool = False
    _running: dict["Future[Outcome]", tuple[Trial, int]] = field(default_factory=dict)
    _elsewhere: dict[str, Trial] = field(default_factory=dict)
    _old: dict[str, TrialRecord] = field(default_factory=dict)
    _pending: deque[tuple[Trial, int]] = field(default_factory=deque)
    _failed: bool = False

    def run(self, workforce: Workforce) -> None:
        """Run what is not finished. Raises Interrupted where it is ended before that; what is
        finished is kept, and the same call goes on."""
        for trial in self.trials:
            record = self.folder.record(trial.name)
            if record is None or record.state != "finished":
                self._pending.append((trial, 1))
            if record is not None:
                self._old[trial.name] = record
        self.observer.opened(self.trials, self.folder, len(self.trials) - len(self._pending))
        try:
            while self._pending or self._running or self._elsewhere:
                self._fill(workforce)
                self._collect()
                self._look_elsewhere()
                if self._failed and self.fail_fast:
                    workforce.stop()
                    return
        except KeyboardInterrupt as stop:
            workforce.stop()
            raise Interrupted(stop, self._so_far(), hint=GO_ON) from None
        except Interrupted as stopped:
            raise _with_message(stopped, self._so_far()) from None

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
            self.observer.began(trial, attempt)
            future = workforce.executor.submit(workforce.run, self.order(trial, attempt))
            self._running[future] = (trial, attempt)
            if future.done():
                return

    def _memory_allows(self) -> bool:
        """Whether another trial fits beside those that run."""
        free = available_memory_bytes()
        return free is None or free > self.need_bytes

    def _collect(self) -> None:
        done, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            trial, attempt = self._running.pop(future)
            try:
                outcome = future.result()
            except WorkerLost as lost:
                self._retry(trial, attempt, str(lost))
                continue
            except Exception as failed:  # whatever a cluster or a full disk has to say
                why = f"{type(failed).__name__}: {failed}"
                self._give_up(trial, attempt, why, lost=type(failed).__name__ == "KilledWorker")
                continue
            if outcome == "busy":
                self._elsewhere[trial.name] = trial
                self.observer.elsewhere(trial)
            elif outcome == "stopped":
                self._retry(trial, attempt, "its process was told to end")
            else:
                record = self.folder.record(trial.name)
                if record is None:
                    self._give_up(trial, attempt, "its record was not written", lost=True)
                else:
                    self._end(record)

    def _retry(self, trial: Trial, attempt: int, why: str) -> None:
        if attempt < ATTEMPTS:
            self.observer.lost(trial, why)
            self._pending.appendleft((trial, attempt + 1))
        else:
            self._give_up(trial, attempt, f"{why}, {attempt} times", lost=True)

    def _give_up(self, trial: Trial, attempt: int, why: str, *, lost: bool) -> None:
        record = failed_record(self.order(trial, attempt), why, lost=lost)
        self.folder.write(record)
        self._end(record)

    def _end(self, record: TrialRecord) -> None:
        self._failed |= record.state != "finished"
        self.observer.ended(record)

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
        return (
            f"stopped: {finished} of {len(self.trials)} trials are finished in '{self.folder.path}'"
        )


def _with_message(stopped: Interrupted, message: str) -> Interrupted:
    told = Interrupted(KeyboardInterrupt(), message, hint=GO_ON)
    told.exit_code = stopped.exit_code
    return told
