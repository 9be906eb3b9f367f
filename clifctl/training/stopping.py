"""Signals: the first asks the run to stop at its next step, the second ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from clifctl.errors import Terminated

Item = TypeVar("Item")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopNow(Exception):
    """Raised between two batches of an evaluation, where a run has been asked to stop."""


@dataclass
class StopRequest:
    """What has been asked from outside: `stop` is the interrupt to end with, None to go on."""

    stop: KeyboardInterrupt | None = None

    def watched(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, until a stop is asked for: then StopNow is raised between two of them."""
        for item in items:
            if self.stop is not None:
                raise StopNow
            yield item


@contextmanager
def stop_requests(notice: Callable[[str], None]) -> Iterator[StopRequest]:
    """Within it, SIGINT and SIGTERM ask for a stop, once; the next one interrupts where it hits.

    `notice` is told. In a thread other than the main one signals cannot be caught: they are left to
    whoever has them, as is a signal that is ignored (a command in the background of a script).
    """
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if request.stop is not None:
            raise stop
        request.stop = stop
        name = signal.Signals(number).name
        notice(f"{name}: stopping at the next step; once more ends at once")

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
