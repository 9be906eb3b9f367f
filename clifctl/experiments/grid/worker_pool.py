"""Processes of this machine as a `concurrent.futures.Executor` that survives the loss of a worker.

The standard library's process pool is broken as a whole, with all of its work, when the system
kills one of its processes. Here each process is a worker of its own: only the task that it ran is
lost, which is reported as `WorkerLost`, and the next task gets a fresh one.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from clifctl.errors import ANNOUNCING, Terminated

# How long a worker may take to save what it has when it is asked to end.
GRACE_SECONDS = 20.0


class WorkerLost(Exception):
    """The process that ran a task was ended from outside, by the system for instance."""


@dataclass(frozen=True)
class _Task:
    future: "Future[Any]"
    call: "_Call"


class WorkerPool(Executor):
    """`workers` processes, each started (by spawn: torch does not survive a fork) when it is first
    needed. A process that dies sets WorkerLost on the future of its task.

    Each worker may have arguments of its own: every call that it carries out gets them, behind
    those that it was submitted with."""

    def __init__(self, workers: int, own: Sequence[tuple[Any, ...]] = ()) -> None:
        self._own = own or [()] * workers
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._processes: dict[int, SpawnProcess] = {}
        self._ending = False
        self._threads = [
            threading.Thread(target=self._serve, args=(index,), daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """See `concurrent.futures.Executor`; `fn` and its arguments are pickled."""
        if self._ending:
            raise RuntimeError("cannot submit to a pool that was shut down")
        future: Future[Any] = Future()
        self._tasks.put(_Task(future, _Call(fn, args, kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`."""
        self._ending = True
        if cancel_futures:
            with suppress(queue.Empty):
                while (task := self._tasks.get_nowait()) is not None:
                    task.future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def terminate(self) -> None:
        """End every process: SIGTERM, time to save, then SIGKILL. Nothing more is started."""
        self.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes.values()):
            process.terminate()
        for process in list(self._processes.values()):
            process.join(GRACE_SECONDS)
            if process.is_alive():
                process.kill()

    def _serve(self, index: int) -> None:
        """One worker's thread: hand over tasks, one after the other."""
        connection: Connection | None = None
        while (task := self._tasks.get()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            if connection is None or not self._processes[index].is_alive():
                connection = self._start(index)
            process = self._processes[index]
            try:
                connection.send(replace(task.call, own=self._own[index]))
                wait([connection, process.sentinel])
                # A process that answered and then ended has answered all the same.
                succeeded, value = connection.recv()
            except (EOFError, OSError):
                process.join()
                task.future.set_exception(WorkerLost(_cause(process.exitcode)))
                continue
            except BaseException as refused:  # what cannot be pickled, for one
                task.future.set_exception(refused)
                continue
            if succeeded:
                task.future.set_result(value)
            else:
                task.future.set_exception(value)
        if connection is not None:
            with suppress(OSError):
                connection.send(None)
            self._processes[index].join()

    def _start(self, index: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=False)
        process.start()
        theirs.close()
        self._processes[index] = process
        if self._ending:
            process.terminate()
        return ours


@dataclass(frozen=True)
class _Call:
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    own: tuple[Any, ...] = ()

    def __call__(self) -> Any:
        return self.fn(*self.args, *self.own, **self.kwargs)


def _work(connection: Connection) -> None:
    """A worker process: run what is sent until None comes."""
    # Ctrl-C on a terminal goes to every process; the parent decides what it means.
    # So do those of a terminal's end, and those by which a scheduler announces the end of a job.
    for number in (signal.SIGINT, signal.SIGHUP, *ANNOUNCING):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, OSError):
        while (call := connection.recv()) is not None:
            try:
                answer = (True, call())
            except Exception as failed:
                answer = (False, failed)
            connection.send(answer)
    # Nothing is left to do: what the libraries take their time for at the end is not needed.
    os._exit(0)


def _end_with_the_parent() -> None:
    """A parent that was killed says nothing: its worker must not run on without it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
    return "its process was ended" + ("" if code is None else f" with code {code}")
