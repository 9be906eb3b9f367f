"""Units of work on threads: each done once, and nothing lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from clifctl.kernels.cpu import threads
from clifctl.kernels.cpu.threads import SMALL_JOB, run_units


@pytest.fixture(params=["team", "pool"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two threads, of OpenMP and of Python."""
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("torch's OpenMP library has no entry point")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield request.param
    torch.set_num_threads(before)


def shares(units: int, work: int = SMALL_JOB) -> list[tuple[int, int]]:
    """What each call of `run` was given."""
    seen: list[tuple[int, int]] = []
    run_units(lambda first, last: seen.append((first, last)), units, work)
    return sorted(seen)


@pytest.mark.parametrize("units", [0, 1, 2, 3, 7, 64])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_unit_is_done_once(two_threads: str, units: int, number: int) -> None:
    torch.set_num_threads(number)
    seen = shares(units)
    assert [unit for first, last in seen for unit in range(first, last)] == list(range(units))
    assert len(seen) == max(1, min(units, number))


def test_a_small_job_is_done_by_the_thread_that_asks(two_threads: str) -> None:
    assert shares(8, SMALL_JOB - 1) == [(0, 8)]
    assert shares(8) == [(0, 4), (4, 8)]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_of_any_thread_is_raised(
    two_threads: str, failing: int, kind: type[BaseException]
) -> None:
    def run(first: int, last: int) -> None:
        if first // 4 == failing:
            raise kind("of a unit")

    with pytest.raises(kind, match="of a unit"):
        run_units(run, 8, SMALL_JOB)
    assert shares(8) == [(0, 4), (4, 8)]  # it goes on working


def test_a_part_that_is_not_done_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that comes before a body begins leaves no other trace."""

    class Half:
        """Calls half of the team."""

        def omp_get_thread_num(self) -> int:
            return 0

        def omp_get_num_threads(self) -> int:
            return 2

        def GOMP_parallel(self, body: object, *others: object) -> None:
            assert callable(body)
            body(None)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "_openmp", Half)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_units(lambda first, last: None, 8, SMALL_JOB)
    finally:
        torch.set_num_threads(before)


def test_units_within_units_are_done(two_threads: str) -> None:
    inner: list[tuple[int, int]] = []

    def run(first: int, last: int) -> None:
        if two_threads == "team":  # a pool of one thread that waits for itself would not return
            run_units(lambda a, b: inner.append((a, b)), 6, SMALL_JOB)

    run_units(run, 2, SMALL_JOB)
    done = sorted(unit for first, last in inner for unit in range(first, last))
    assert done == (sorted([*range(6)] * 2) if two_threads == "team" else [])


def test_two_python_threads_at_once(two_threads: str) -> None:
    together = threading.Barrier(2, timeout=600)
    found: list[list[tuple[int, int]]] = []

    def work() -> None:
        together.wait()
        for _ in range(50):
            found.append(shares(9))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=600)
    assert found == [[(0, 4), (4, 9)]] * 100


def test_a_forked_child_has_threads_of_its_own() -> None:
    code = (
        "import os, sys, threading, torch;"
        "from clifctl.kernels.cpu.threads import run_units;"
        "assert 'torch._dynamo' not in sys.modules;"  # over a second of every command
        "torch.set_num_threads(2);"
        "seen = [];"
        "run = lambda first, last: seen.append((first, last, threading.get_ident()));"
        "run_units(run, 6, 10**6);"
        "pid = os.fork();"
        "seen.clear();"
        "run_units(run, 6, 10**6);"
        "assert sorted(s[:2] for s in seen) == [(0, 3), (3, 6)], seen;"
        "assert len({s[2] for s in seen}) == 2 or pid;"
        "os._exit(0) if pid == 0 else None;"
        "print('child', os.waitpid(pid, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout == "child 0\n", done.stderr


def test_an_interrupt_ends_a_long_job() -> None:
    """Ctrl-C while a team works is raised where the job was asked for, and not printed away."""
    code = """
import threading, time, torch, signal, os
from clifctl.kernels.cpu.threads import run_units
torch.set_num_threads(2)
def run(first, last):
    if first == 0:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    for _ in range(200):
        time.sleep(0.01)
run_units(lambda first, last: None, 2, 10**6)
try:
    run_units(run, 2, 10**6)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert hasattr(signal, "SIGINT")
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.stdout == "interrupted\n", done.stderr
    assert done.stderr == ""
