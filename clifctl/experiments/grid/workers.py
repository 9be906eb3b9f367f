"""Who runs the trials of a grid: this process, or processes beside it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clifctl.experiments.grid.trial import Outcome, TrialTask, run_trial, run_trial_remotely
from clifctl.experiments.grid.worker_pool import WorkerPool
from clifctl.kernels.cache_folder import settle


@dataclass
class Workforce:
    """An executor, what it is to call, how many trials at once, and how its work is ended.

    `cluster`: the address of the cluster that it is, None on this machine.
    """

    executor: Executor
    run: Callable[[TrialTask], Outcome]
    at_once: int
    stop: Callable[[], None]
    cluster: str | None = None

    def look(self, notice: Callable[[str], None]) -> None:
        """Take stock, and tell what keeps the work from going on. Raises RunFailed where nothing
        will go on. Workers of this machine report everything by themselves."""


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
    settle()
    pool = WorkerPool(workers)
    try:
        yield Workforce(pool, run_trial_remotely, workers, pool.terminate)
        pool.shutdown()
    finally:
        pool.terminate()
