"""Work that is done ahead: in order, bounded, and with no process that outlives its use."""

import errno
import multiprocessing
import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.data import DATASETS, shuffled_batches
from clifctl.data.ahead import BATCHES_AHEAD, ahead, ahead_in_threads
from clifctl.data.augment.pipelines import FlipAndPolicy
from clifctl.errors import DataError, WorkerFailed


def square(number: int) -> Tensor:
    if number < 0:
        raise DataError(f"{number} is negative")
    return torch.tensor([number**2, os.getpid()])


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("by", [ahead, ahead_in_threads])
def test_results_come_in_order_and_few_are_asked_for_ahead(by: Any, workers: int) -> None:
    asked = []

    def items() -> Iterator[int]:
        for number in range(11):
            asked.append(number)
            yield number

    pids, taken = set(), 0
    for result in by(square, items(), workers):
        value, pid = result.tolist()
        assert value == taken**2
        taken += 1
        pids.add(pid)
        assert len(asked) <= taken + workers * BATCHES_AHEAD
    assert taken == 11
    if by is ahead and workers:
        assert len(pids) == workers
        assert os.getpid() not in pids
    else:
        assert pids == {os.getpid()}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("by", [ahead, ahead_in_threads])
def test_what_is_wrong_is_told_at_its_item_and_nothing_is_left(by: Any, workers: int) -> None:
    threads = threading.active_count()
    stream = by(square, [1, 2, -3, 4], workers)
    assert [int(next(stream)[0]) for _ in range(2)] == [1, 4]
    with pytest.raises(DataError, match="-3 is negative") as caught:
        next(stream)
    assert "Traceback" not in caught.value.message
    assert multiprocessing.active_children() == []
    assert by is ahead or threading.active_count() <= threads


@pytest.mark.parametrize("by", [ahead, ahead_in_threads])
def test_workers_end_where_the_rest_is_not_wanted(by: Any) -> None:
    threads = threading.active_count()
    stream = by(square, range(99), 2)
    next(stream)
    assert len(multiprocessing.active_children()) == (2 if by is ahead else 0)
    stream.close()
    assert multiprocessing.active_children() == []
    assert by is ahead or threading.active_count() <= threads


def test_a_lost_worker_is_told() -> None:
    stream = ahead(square, range(99), 2)
    next(stream)
    worker = multiprocessing.active_children()[0]
    worker.kill()
    worker.join()
    with pytest.raises(WorkerFailed, match=r"ended unexpectedly \(SIGKILL\)") as caught:
        list(stream)
    assert "data.workers=0" in str(caught.value.hint)
    assert multiprocessing.active_children() == []


def test_a_worker_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(WorkerFailed, match="cannot be started: Resource temporarily unavailable"):
        next(ahead(square, range(9), 2))


def test_a_process_that_may_have_no_children_does_it_itself() -> None:
    """A worker of Dask's, for one."""

    def alone() -> None:
        pids = {result.tolist()[1] for result in ahead(square, range(5), 2)}
        os._exit(0 if pids == {os.getpid()} else 1)

    child = multiprocessing.get_context("fork").Process(target=alone, daemon=True)
    child.start()
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_a_signal_to_all_processes_leaves_the_workers_at_work(name: str) -> None:
    """A terminal's Ctrl-C, a scheduler's SIGTERM: the run stops at its next step, and saves."""
    stream = ahead(square, range(9), 2)
    values = [int(next(stream)[0])]
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    # By a process of its own: SIGTERM of the run itself does end them.
    subprocess.run(["kill", f"-{name}", *(str(worker.pid) for worker in workers)], check=True)
    values += [int(result[0]) for result in stream]
    assert values == [number**2 for number in range(9)]


def test_the_run_itself_ends_its_workers() -> None:
    stream = ahead(square, range(9), 1)
    next(stream)
    (worker,) = multiprocessing.active_children()
    worker.terminate()
    worker.join(4)  # sooner than it would look by itself whether the run is gone
    assert worker.exitcode == 0


def test_where_nothing_is_forked_a_worker_gets_the_set_once_and_a_batch_as_numbers(
    data_root: Path,
) -> None:
    options = DATASETS["cifar10"].options(root=str(data_root), augmentation="strong", workers=2)
    data = DATASETS["cifar10"].load(options, 2)
    sent: list[int] = []

    def pickled(work: object, items: object, workers: int, *, pinned: bool) -> Iterator[Tensor]:
        assert workers == 2
        # What a process that is not forked begins with; torch sends tensors by their place.
        assert isinstance(work, partial)
        there = pickle.loads(pickle.dumps(work))
        for item in items:  # type: ignore[attr-defined]
            sent.append(len(pickle.dumps(item)))
            yield there(pickle.loads(pickle.dumps(item)))

    def stream() -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(2)
        return list(shuffled_batches(data.train, 64, generator, data.augment))

    expected = stream()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clifctl.data.contract.ahead", pickled)
        got = stream()
    assert all(torch.equal(a[0], b[0]) for a, b in zip(got, expected, strict=True))
    assert len(sent) == 4
    assert max(sent) < 1000  # 64 images are 196,608 bytes
    assert pickle.loads(pickle.dumps(FlipAndPolicy("auto_augment_imagenet"))).policy
