"""Units of work over as many threads as torch uses on the CPU.

They are torch's own threads, those of its OpenMP library, where that can be reached: threads beside
them would wait for them, since OpenMP's go on spinning for milliseconds after each of torch's
operations. Elsewhere, and in a forked child, whose OpenMP does not work, plain threads do it:
kernels release the GIL. numba's own thread layers abort after a fork or when two Python threads use
them at once.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

# Below so many elements and steps a job is done before another thread has woken up.
SMALL_JOB = 64 * 1024

Run = Callable[[int, int], None]
_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_process = os.getpid()


def run_units(run: Run, units: int, work: int) -> None:
    """Call `run(first, last)` over 0..units, in parallel where `work` (elements x steps) is worth
    it. Which thread does which unit has no influence on any result."""
    threads = min(torch.get_num_threads(), units)
    if threads <= 1 or work < SMALL_JOB:
        run(0, units)
        return
    openmp = _openmp() if os.getpid() == _process else None
    if openmp is None:
        _in_pool(run, units, threads)
    else:
        _in_team(openmp, run, units, threads)


@lru_cache(maxsize=1)
def _openmp() -> Any:
    """The OpenMP library that torch is linked with, found through torch's own; None where it does
    not have GNU's entry points."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        openmp = ctypes.CDLL(str(library))
        for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"):
            getattr(openmp, name)
    except (OSError, AttributeError):
        return None
    openmp.GOMP_parallel.restype = None
    return openmp


_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _in_team(openmp: Any, run: Run, units: int, threads: int) -> None:
    failures: list[BaseException] = []
    done: list[int] = []

    def body(_: object) -> None:
        try:
            number, of = openmp.omp_get_thread_num(), openmp.omp_get_num_threads()
            first, last = units * number // of, units * (number + 1) // of
            run(first, last)
            done.append(last - first)
        except BaseException as failure:  # nothing may pass through the library's frames
            failures.append(failure)

    openmp.GOMP_parallel(_Body(body), None, ctypes.c_uint(threads), ctypes.c_uint(0))
    if failures:
        raise failures[0]
    # An interrupt between the library's call and `try` ends a body without a trace.
    if sum(done) != units:
        raise KeyboardInterrupt


def _in_pool(run: Run, units: int, threads: int) -> None:
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
