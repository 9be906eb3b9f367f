"""Who runs the trials of a grid: this process, or processes beside it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    run: Callable[..., Outcome]
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


def run_trial_on(task: TrialTask, device: str) -> Outcome:
    """As `run_trial_remotely`, for a worker that has a device of its own."""
    return run_trial_remotely(replace(task, execution=replace(task.execution, device=device)))


@contextmanager
def local_workforce(workers: int, devices: Sequence[str] = ()) -> Iterator[Workforce]:
    """`workers` processes of this machine, each with its own one of `devices`, where there are
    any; one is this process itself."""
    if workers == 1:
        yield Workforce(_InThisProcess(), run_trial, 1, lambda: None)
        return
    settle()
    pool = WorkerPool(workers, [(device,) for device in devices])
    run = run_trial_on if devices else run_trial_remotely
    try:
        yield Workforce(pool, run, workers, pool.terminate)
        pool.shutdown()
    finally:
        pool.terminate()
