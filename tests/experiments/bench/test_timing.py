"""How the benchmarks take turns."""

import pytest
import torch

from clifctl.devices import CPU
from clifctl.experiments.bench import timing
from clifctl.experiments.bench.timing import interleaved


def test_a_short_call_is_timed_after_one_that_does_not_count() -> None:
    order: list[str] = []
    jobs = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = interleaved(jobs, repeats=2, device=torch.device(CPU))
    assert {key: len(found) for key, found in times.items()} == {"a": 2, "b": 2}
    assert "".join(order) == "ababaabb"


def test_a_long_call_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SHORT_MS", 0.0)
    order: list[str] = []
    jobs = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    interleaved(jobs, repeats=2, device=torch.device(CPU))
    assert "".join(order) == "ababab"
