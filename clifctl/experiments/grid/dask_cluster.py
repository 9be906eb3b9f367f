"""The workers of a Dask cluster as those who run the trials of a grid.

No signal reaches a trial on a worker. It asks Dask whether to stop: it looks, at each
step, whether its task was cancelled (by the command that gave it, or because that command is gone)
or its worker is about to close (because the scheduler is gone, for one). It then saves and ends.
"""

import logging
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from clifctl.amounts import counted
from clifctl.errors import ClifctlError, RunFailed, UsageError
from clifctl.experiments.grid.trial import Outcome, TrialTask, numerics_of, run_trial_remotely
from clifctl.experiments.grid.trial_names import Numerics
from clifctl.experiments.grid.workers import Workforce
from clifctl.experiments.run.execution import ExecutionOptions

# How often the workers are counted, how long the scheduler may take to answer, and how long there
# may be no worker before a notice says so.
LOOK_EVERY_SECONDS = 2.0
ANSWER_SECONDS = 10.0
NOTICE_AFTER_SECONDS = 5.0


@dataclass
class Cluster(Workforce):
    """The workers of the scheduler at `cluster`, as many as there are at the moment."""

    client: Any = None
    _looked: float = field(default=0.0, init=False)
    _idle_since: float | None = field(default=None, init=False)
    _reported: bool = field(default=False, init=False)

    def look(self, notice: Callable[[str], None]) -> None:
        """See `Workforce.look`."""
        if self.client.status != "running":
            raise self._gone()
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_SECONDS:
            return
        self._looked = now
        try:
            count, problem = len(_workers(self.client)), "has no workers"
        except TimeoutError:
            count, problem = 0, "does not answer"
        except OSError:
            raise self._gone() from None
        if count:
            if self._reported:
                notice(f"the scheduler at {self.cluster} has {counted(count, 'worker')}: resuming")
            self._idle_since, self._reported, self.at_once = None, False, count
            return
        self._idle_since = self._idle_since or now
        if not self._reported and now - self._idle_since >= NOTICE_AFTER_SECONDS:
            self._reported = True
            notice(
                f"the scheduler at {self.cluster} {problem}: waiting for it; a worker is started "
                f"with: {_start(self.cluster)}"
            )

    def numerics(self, options: ExecutionOptions) -> Numerics:
        """As `numerics_of`, on a worker. Raises UsageError where the workers cannot run clifctl,
        RunFailed where they are gone."""
        try:
            found: Numerics = self.executor.submit(numerics_of, options).result()
        except ClifctlError:
            raise
        except CancelledError:
            raise self._gone() from None
        except Exception as failed:
            raise UsageError(
                f"the workers of {self.cluster} cannot run clifctl: {type(failed).__name__}: "
                f"{failed}",
                hint="install the same clifctl, Python and Dask where they run",
            ) from None
        return found

    def _gone(self) -> RunFailed:
        return RunFailed(
            f"the scheduler at {self.cluster} has ended or cannot be reached",
            hint="start it and its workers again: the same command resumes, also with "
            "--workers on this machine",
        )


@contextmanager
def dask_workforce(address: str) -> Iterator[Cluster]:
    """The workers of the Dask scheduler at `address`. Raises UsageError where there are none."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "--scheduler needs Dask, which is not installed", hint="pip install 'clifctl[dask]'"
        ) from None
    _silence_dask()
    try:
        client: Any = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as refused:
        reason = str(refused) or "no answer within 10 s"
        raise UsageError(
            f"--scheduler {address}: {reason}", hint="give the address that dask scheduler prints"
        ) from None
    try:
        _require_workers(client, address)
        executor = client.get_executor(pure=False)

        def stop() -> None:
            with suppress(Exception):  # a scheduler that is gone has nothing to cancel
                executor.shutdown(wait=False)

        yield Cluster(
            executor, run_on_worker, len(_workers(client)), stop, cluster=address, client=client
        )
    finally:
        client.close()


def run_on_worker(task: TrialTask) -> Outcome:
    """As `run_trial_remotely`, on a worker of Dask's."""
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()

    def should_stop() -> bool:
        current = worker.state.tasks.get(key)
        ending = worker.status.name in ("closing", "closing_gracefully", "closed", "failed")
        return ending or current is None or current.state == "cancelled"

    return run_trial_remotely(task, should_stop)


def _silence_dask() -> None:
    """Have Dask log nothing: clifctl reports in one line what happens to the cluster."""
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _require_workers(client: Any, address: str) -> None:
    workers = _workers(client)
    if not workers:
        raise UsageError(f"the scheduler at {address} has no workers", hint=_start(address))
    if any(threads > 1 for threads in workers.values()):
        # The generators of torch belong to a process: two trials there would share them.
        raise UsageError(
            f"workers of {address} have several threads, a trial needs a process of its own",
            hint=_start(address),
        )


def _workers(client: Any) -> dict[str, int]:
    """Address -> threads of each worker. Raises TimeoutError, OSError where nobody answers."""
    workers: dict[str, int] = client.sync(
        client.scheduler.ncores, workers=None, callback_timeout=ANSWER_SECONDS
    )
    return workers


def _start(address: str | None) -> str:
    return f"dask worker {shlex.quote(str(address))} --nworkers N --nthreads 1"
