"""How a run is stopped: the first signal asks it to stop at its next step, the second ends it at
once; a run that no signal can reach asks a function of its caller."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO, TypeVar

from clifctl.errors import ANNOUNCING, Terminated, stop_by, stop_with
from clifctl.launch import in_a_job
from clifctl.training.distributed import ALONE, Processes

Item = TypeVar("Item")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *ANNOUNCING)
KEYBOARD = 130  # the exit code of a KeyboardInterrupt
# torchrun hands every signal on to its processes, which a scheduler may have given it already; and
# Slurm may send two where one is meant. For so long the next one is the same one.
HANDED_ON_S = 3.0


class StopNow(Exception):
    """Raised between two batches of an evaluation, where a run has been asked to stop."""


def never() -> bool:
    """Nobody but a signal tells the run to stop."""
    return False


@dataclass
class StopRequest:
    """What has been asked from outside: `asked` of this process, None to go on; `stop` is what the
    run obeys, in all of its processes at the same point. `should_stop` is asked in each step,
    beside the signals."""

    asked: KeyboardInterrupt | None = None
    stop: KeyboardInterrupt | None = None
    should_stop: Callable[[], bool] = field(default=never)

    def watched(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, until a stop is asked for: then StopNow is raised between two of them."""
        for item in items:
            self._look()
            if self.asked is not None:
                raise StopNow
            yield item

    def settle(self, processes: Processes, *, is_due: bool = False) -> bool:
        """Whether `is_due` holds in any process; `stop` is set where a stop was asked of any."""
        self._look()
        if not processes.several:
            self.stop = self.asked
            return is_due
        own = 0 if self.asked is None else getattr(self.asked, "exit_code", KEYBOARD)
        code, due = processes.largest(own, is_due)
        if code:
            self.stop = stop_with(code)
        return bool(due)

    def _look(self) -> None:
        if self.asked is None and self.should_stop():
            self.asked = Terminated()


@contextmanager
def stop_requests(
    notice: Callable[[str], None],
    processes: Processes = ALONE,
    clock: Callable[[], float] = time.monotonic,
    should_stop: Callable[[], bool] = never,
) -> Iterator[StopRequest]:
    """Within it, each of SIGNALS asks for a stop, once; the next one interrupts where it hits, in
    one of several `processes` or a job of Slurm after HANDED_ON_S at the earliest. A SIGHUP never
    does (a shell that ends hands on its own, and the system sends another), nor do those that
    announce an end. A stop is asked for, too, as soon as `should_stop` returns True.

    `notice` is called with a line about the signal. In a thread other than the main one signals
    cannot be caught: they are left to whoever has them, as is a signal that is ignored (a command
    in the background of a script).
    """
    request = StopRequest(should_stop=should_stop)
    before: dict[signal.Signals, Any] = {}
    asked_at = 0.0
    twice = processes.several or in_a_job()
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        stop = stop_by(number)
        if request.asked is not None:
            if number == signal.SIGHUP or number in ANNOUNCING:
                return
            if twice and clock() - asked_at < HANDED_ON_S:
                return
            raise stop
        request.asked, asked_at = stop, clock()
        name = signal.Signals(number).name
        after = f" after {HANDED_ON_S:g} s" if twice else ""
        with suppress(OSError):  # of a terminal that is gone
            notice(f"{name}: stopping at the next step; once more{after} ends at once")
        if number == signal.SIGHUP:
            _leave_terminal(terminals)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal(streams: list[TextIO]) -> None:
    """Have them lead nowhere: to write to a terminal that is gone is an error, and would end the
    run before it is saved."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
