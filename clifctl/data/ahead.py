"""Work on batches that is done ahead of the step that takes them, by processes or threads."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from clifctl.errors import ANNOUNCING, DataError, WorkerFailed

Item = TypeVar("Item")

BATCHES_AHEAD = 2  # of each worker, those included that are done and wait
# A child has what the run holds without a copy, within milliseconds. macOS's own libraries do not
# survive a fork.
_START = "fork" if sys.platform == "linux" else None
WITHOUT_WORKERS = "data.workers=0"


def ahead(
    work: Callable[[Item], Tensor], items: Iterable[Item], workers: int, *, pinned: bool = False
) -> Iterator[Tensor]:
    """`work(item)` for each item, in order, whatever the number of `workers`, which are processes;
    0: here, when it is asked for.

    At most BATCHES_AHEAD items a worker are asked for before their results are taken. Items are
    sent to a worker each by itself and should hold no tensors; `work` is what a worker starts with,
    and must be possible to pickle where processes do not fork. `pinned`: what is returned lies in
    memory that a GPU copies from without waiting.

    Raises DataError where `work` does, at its item, and WorkerFailed where a worker is gone or
    cannot be started. Workers end with the iterator, or with this process.
    """
    if multiprocessing.current_process().daemon:  # may have no children
        workers = 0
    before = multiprocessing.active_children()
    stream = _started(_Work(work), items, workers, pinned)
    children = [child for child in multiprocessing.active_children() if child not in before]
    try:
        while True:
            _require_alive(children)
            try:
                result = next(stream)
            except StopIteration:
                return
            except RuntimeError as error:
                _require_alive(children)
                if "DataLoader worker" in str(error):  # gone, and not yet known to the system
                    raise _failed("ended unexpectedly") from None
                raise
            if isinstance(result, DataError):
                raise result
            yield result
    finally:
        del stream  # ends the workers
        for child in children:
            if child.is_alive():  # stuck, or an error's traceback holds the loader
                child.kill()
            child.join()


def ahead_in_threads(
    work: Callable[[Item], Tensor], items: Iterable[Item], workers: int, *, pinned: bool = False
) -> Iterator[Tensor]:
    """`ahead` with threads for workers: for work that is done outside of Python's lock, such as
    copying out of a file. Nothing is sent anywhere."""

    def result(item: Item) -> Tensor:
        done = work(item)
        return done.pin_memory() if pinned else done

    if not workers:
        yield from map(result, items)
        return
    coming: deque[Future[Tensor]] = deque()
    pool, rest = ThreadPoolExecutor(workers), iter(items)
    try:
        for item in islice(rest, workers * BATCHES_AHEAD):
            coming.append(pool.submit(result, item))
        while coming:
            done = coming.popleft().result()
            for item in islice(rest, 1):
                coming.append(pool.submit(result, item))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)


class _Work(TorchDataset[Any]):
    """`work` as a loader calls it. A DataError is handed on: a worker's traceback helps nobody."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __getitem__(self, item: Any) -> Any:
        try:
            return self._work(item)
        except DataError as refused:
            return refused


def _started(work: _Work, items: Iterable[Any], workers: int, pinned: bool) -> Iterator[Any]:
    """torch's loader at work. Workers are born with signals held back."""
    try:
        with _signals_held_back(), _handler_kept(), warnings.catch_warnings():
            # Workers use no thread and no lock of this process.
            warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
            # As many as were asked for, on few cores too.
            warnings.filterwarnings("ignore", ".*worker processes in total", UserWarning)
            loader: DataLoader[Any] = DataLoader(
                work,
                batch_size=None,
                sampler=items,
                num_workers=workers,
                prefetch_factor=BATCHES_AHEAD if workers else None,
                pin_memory=pinned,
                # Its own: a loader would draw its workers' seed from the run's.
                generator=torch.Generator(),
                worker_init_fn=_leave_signals_to_the_run,
                multiprocessing_context=_START if workers else None,
            )
            return iter(loader)
    except OSError as refused:
        raise _failed(f"cannot be started: {refused.strerror or refused}") from None


@contextmanager
def _handler_kept() -> Iterator[None]:
    """torch answers a child's end with an error wherever the run happens to be. Here the loss of a
    worker is noticed when its batch is waited for."""
    handler = signal.getsignal(signal.SIGCHLD)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)


def _require_alive(children: Iterable[Any]) -> None:
    """Raise WorkerFailed where one of the workers is gone."""
    for child in children:
        if not child.is_alive():
            code = child.exitcode
            by = signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"
            raise _failed(f"ended unexpectedly ({by}); is there too little memory, or /dev/shm?")


def _failed(how: str) -> WorkerFailed:
    return WorkerFailed(
        f"a process that prepares batches ahead {how}", hint=f"{WITHOUT_WORKERS} does without"
    )


# Whether a process can see who sent it a signal; not on macOS and Windows.
_SENDER_IS_KNOWN = hasattr(signal, "sigwaitinfo")
_HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *ANNOUNCING)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Within it the signals that end a run wait."""
    if not _SENDER_IS_KNOWN:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_run(worker: int) -> None:
    """A terminal gives Ctrl-C to the workers too, a scheduler SIGTERM. They end with the run, which
    saves first."""
    for number in (signal.SIGINT, signal.SIGHUP, *ANNOUNCING):
        signal.signal(number, signal.SIG_IGN)
    if _SENDER_IS_KNOWN:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)  # where it was not forked
        threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """Wait for the SIGTERM of the run itself, which has no more use for this worker."""
    run = multiprocessing.parent_process()
    while run is not None and signal.sigwaitinfo({signal.SIGTERM}).si_pid != run.pid:
        pass
    os._exit(0)
