"""How the benchmarks measure: turns, threads, and the name of the machine."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from clifctl.devices import wait_for
from clifctl.errors import ArgumentError

MOST_REPEATS = 1000
# A call below it is preceded by one that does not count: see `interleaved`.
SHORT_MS = 50.0
Key = TypeVar("Key")


def require_repeats(repeats: int) -> None:
    """Raise UsageError for a number of rounds that cannot be run."""
    if not 1 <= repeats <= MOST_REPEATS:
        raise ArgumentError(
            "repeats", repeats, f"must be between 1 and {MOST_REPEATS}", hint="7 is the default"
        )


def interleaved(
    jobs: Mapping[Key, Callable[[], object]],
    *,
    repeats: int,
    device: torch.device,
    calls: int = 1,
) -> dict[Key, list[float]]:
    """Milliseconds of each job in each round, after one round that does not count. The jobs take
    turns (A B C A B C ...), so that a machine that slows down slows all of them. A time is that of
    `calls` calls in a row, divided by their number. In training and at work one call follows the
    other; a short one that follows another job would mostly be timed while the CPU's caches are
    filled with its code again, so there a call that does not count comes before it."""
    times: dict[Key, list[float]] = {key: [] for key in jobs}
    for turn in range(repeats + 1):
        for key, job in jobs.items():
            if calls == 1 and times[key] and times[key][-1] < SHORT_MS:
                job()
                wait_for(device)
            started = time.perf_counter()
            for _ in range(calls):
                job()
            wait_for(device)
            if turn:
                times[key].append(1000.0 * (time.perf_counter() - started) / calls)
    return times


def paired(times: list[float], base: list[float]) -> list[float]:
    """Ratios of times to those of the same round."""
    return [time / other for time, other in zip(times, base, strict=True)]


def spread(name: str, unit: str, values: list[float]) -> dict[str, Any]:
    """Median and quartiles of one quantity, under the names that they have in a result."""
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {
        f"{name}_{unit}": median,
        f"{name}_lower_quartile_{unit}": lower,
        f"{name}_upper_quartile_{unit}": upper,
    }


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Within it torch uses `count` CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
