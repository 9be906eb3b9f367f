"""Signals that ask a run to stop."""

import os
import signal
from collections.abc import Callable

import pytest

from clifctl.errors import HungUp, Terminated
from clifctl.training.distributed import ALONE, Processes
from clifctl.training.stopping import HANDED_ON_S, StopNow, stop_requests


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_a_run_that_no_signal_reaches_is_told_otherwise() -> None:
    answers = iter([False, False, True])
    with stop_requests(print, should_stop=lambda: next(answers)) as request:
        request.settle(ALONE)
        assert request.stop is None
        items = request.watched(iter("ab"))
        assert next(items) == "a"
        with pytest.raises(StopNow):
            next(items)
        request.settle(ALONE)  # and nobody is asked again
        assert type(request.stop) is Terminated


def test_a_terminal_that_is_gone_asks_for_a_stop_and_is_written_to_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.openpty()
    with open(theirs, "w", buffering=1) as terminal:
        monkeypatch.setattr("sys.stderr", terminal)

        def notice(line: str) -> None:
            terminal.write(line)
            raise OSError(5, "Input/output error")

        with stop_requests(notice) as request:
            # A shell that ends hands its own on, and the system sends another.
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert type(request.asked) is HungUp
            request.settle(ALONE)
            assert getattr(request.stop, "exit_code", None) == 129
            os.close(ours)
            terminal.write("a line that would be an error\n")
            with pytest.raises(KeyboardInterrupt):
                interrupt()


@pytest.mark.parametrize(("ask", "kind"), [(interrupt, KeyboardInterrupt), (terminate, Terminated)])
def test_the_first_asks_and_the_second_interrupts(
    ask: Callable[[], None], kind: type[KeyboardInterrupt]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told = list[str]()
    with stop_requests(told.append) as request:
        assert list(request.watched(iter("ab"))) == ["a", "b"]
        ask()
        assert type(request.asked) is kind
        assert (len(told), "stopping at the next step" in told[0]) == (1, True)
        with pytest.raises(StopNow):
            next(request.watched(iter("ab")))
        with pytest.raises(kind):
            ask()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_torchrun_hands_on_is_the_same_one() -> None:
    clock, told = Clock(), list[str]()
    with stop_requests(told.append, Processes(1, 2), clock) as request:
        terminate()
        clock.now += HANDED_ON_S - 0.1
        terminate()  # nothing
        assert (type(request.asked), len(told)) == (Terminated, 1)
        clock.now += 0.2
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    with stop_requests(told.append, ALONE, clock):
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_scheduler_announces_the_end_and_interrupts_nothing(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    clock, told = Clock(), list[str]()
    with stop_requests(told.append, clock=clock) as request:
        signal.raise_signal(number)
        request.settle(ALONE)
        assert (type(request.stop), request.stop.exit_code) == (Terminated, 143)
        assert told == [f"{number.name}: stopping at the next step; once more ends at once"]
        signal.raise_signal(number)  # nothing
        with pytest.raises(Terminated):
            terminate()
    # Slurm sends SIGTERM with it, before it or after.
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for first, second in ((terminate, number), (number, terminate)):
        with stop_requests(told.append, clock=clock) as request:
            for one in (first, second):
                one() if callable(one) else signal.raise_signal(one)
            assert type(request.asked) is Terminated
            clock.now += HANDED_ON_S + 0.1
            with pytest.raises(Terminated):
                terminate()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests(print) as request:
            interrupt()
            assert request.asked is None
    finally:
        signal.signal(signal.SIGINT, before)
