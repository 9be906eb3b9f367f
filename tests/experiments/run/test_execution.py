"""On what a net runs: what is asked for, and what it comes to."""

import pickle

import pytest
import torch

from clifctl.errors import TargetError, UsageError
from clifctl.experiments.run.execution import Execution, ExecutionOptions
from clifctl.training.device import ONE_THREAD_BYTES, OWN_THREADS


def test_it_is_resolved_with_its_reasons() -> None:
    found = ExecutionOptions("cpu", connections="dense").resolve()
    assert found.facts == {
        "device": "cpu",
        "target": "numba",
        "target_reason": "auto: the fused kernel for tensors on the CPU",
        "connections": "dense",
        "connections_reason": "asked for",
    }
    assert found.threads.facts == {
        "threads": OWN_THREADS,
        "threads_reason": "auto: torch's own number",
    }


def test_threads_are_those_of_the_step_unless_they_are_asked_for() -> None:
    auto, asked = (ExecutionOptions("cpu", threads=n).resolve() for n in (None, 2))
    assert auto.for_step(ONE_THREAD_BYTES - 1).threads.count == 1
    assert auto.for_step(ONE_THREAD_BYTES).threads.count == OWN_THREADS
    # What was asked for stays known: a second step is not taken for one that asked.
    assert auto.for_step(0).for_step(ONE_THREAD_BYTES).threads.count == OWN_THREADS
    assert asked.for_step(0).threads == asked.threads
    assert (asked.threads.count, asked.threads.reason) == (2, "asked for")


def test_kernels_are_those_for_the_dtype() -> None:
    found = ExecutionOptions("cpu").resolve(torch.float64).kernels
    assert (found.target.name, found.connections.name) == ("numba", "dense")
    assert found.connections.reason.endswith("not in float64")


def test_both_are_sent_to_workers() -> None:
    options = ExecutionOptions("cpu", "reference", "dense", 1)
    found: Execution = pickle.loads(pickle.dumps(options.resolve()))
    assert found == options.resolve()
    assert found.options == options


def test_what_cannot_be_met_is_refused() -> None:
    for options in (ExecutionOptions(device="tpu"), ExecutionOptions(threads=0)):
        with pytest.raises(UsageError):
            options.resolve()
    for options in (ExecutionOptions(target="numpy"), ExecutionOptions(connections="sparse")):
        with pytest.raises(TargetError):
            options.resolve()
