"""Units of work over as many threads as torch uses on the CPU.

numba's own thread layers abort after a fork or when two Python threads use them at once; kernels
release the GIL, so plain threads will do, and a small job needs none.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

# Below so many elements and steps a job is done before another thread has woken up.
SMALL_JOB = 64 * 1024

_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def run_units(run: Callable[[int, int], None], units: int, work: int) -> None:
    """Call `run(first, last)` over 0..units, in parallel where `work` (elements x steps) is worth
    it. Which thread does which unit has no influence on any result."""
    threads = min(torch.get_num_threads(), units)
    if threads <= 1 or work < SMALL_JOB:
        run(0, units)
        return
    bounds = [units * i // threads for i in range(threads + 1)]
    pending = [_pool(threads - 1).submit(run, first, last) for first, last in pairwise(bounds[1:])]
    run(bounds[0], bounds[1])
    for future in pending:
        future.result()


def _pool(workers: int) -> ThreadPoolExecutor:
    # A forked child has its parent's pools without their threads: it makes its own.
    key = (os.getpid(), workers)
    with _lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(workers, thread_name_prefix="clifctl-kernel")
        return _pools[key]


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
