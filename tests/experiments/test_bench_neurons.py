"""`bench neurons`: the gate, the numbers' form, wrong input. No test looks at how long it took."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl import kernels

Run = Callable[..., Any]
TINY = ["bench", "neurons", "--shape", "3x2x4x5", "--repeats", "2", "--threads", "1"]


def refused(done: Any, *parts: str) -> None:
    assert done.code == 2, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[-1].startswith("hint: ")
    for part in parts:
        assert part in done.err


def test_numbers(clifctl: Run) -> None:
    threads = torch.get_num_threads()
    done = clifctl(*TINY, "--neurons", "lif, clif,relu", "--json")
    assert (done.code, done.err) == (0, "")
    assert torch.get_num_threads() == threads
    document = done.json
    assert document["schema"] == "clifctl.bench.neurons/1"
    assert document["threads"] == 1
    assert document["machine"]
    assert document["versions"]["numba"]
    assert [row["neuron"] for row in document["rows"]] == ["lif", "clif", "relu"]
    assert [row["shape"] for row in document["rows"]] == [[3, 2, 4, 5]] * 2 + [[1, 6, 4, 5]]
    for row in document["rows"]:
        assert row["ours"]["saved_bytes_ratio"] == 1.0
        assert row["memory_bound_ms"] == pytest.approx(2.5 * row["copy_ms"])
        numbers = [row["eager_forward_backward_ratio"], row["ours_memory_bound_ratio"]]
        for run in (row["ours"], row["eager"], row["peer"] or {}):
            numbers += run.values()
            if run:
                assert run["forward_min_ms"] <= run["forward_ms"] <= run["forward_max_ms"]
        assert all(math.isfinite(number) and number > 0 for number in numbers)
        assert (row["peer"] is None) == bool(row["peer_missing"])
        assert (row["peer"] is None) == (row["peer_forward_ratio"] is None)
    assert document["rows"][1]["eager"]["saved_bytes_ratio"] > 1.0
    assert document["rows"][2]["peer"] is None


def test_the_peer_computes_the_same_neuron(clifctl: Run) -> None:
    names = "lif,plif,klif,glif,glif_channel,clif"
    image = [*TINY[:3], "3x2x4x5x3", "--repeats", "1", "--neurons", names, "--json"]
    image += ["--dtype", "float64"]  # the gate and the oracle's tests compile it as well
    assert [row["peer_missing"] for row in clifctl(*image).json["rows"]] == [None] * 6
    vectors = clifctl(*TINY[:3], "2x3x1", "--repeats", "1", "--neurons", "glif,lif", "--json")
    missing = [row["peer_missing"] for row in vectors.json["rows"]]
    assert missing == ["SpikingJelly's node takes images alone", None]


def test_without_the_peer(clifctl: Run) -> None:
    done = clifctl(*TINY, "--neurons", "alif", "--dtype", "float64")
    assert done.code == 0
    assert "no SJ for alif: no node of SpikingJelly is set against it" in done.out
    row = clifctl(*TINY, "--neurons", "alif", "--json").json["rows"][0]
    assert row["peer"] is None
    assert row["peer_forward_backward_ratio"] is None


def test_every_format(clifctl: Run) -> None:
    table = clifctl(*TINY, "--neurons", "lif").out
    assert table.startswith("forward + backward: median of 2, 3x2x4x5 float32, 1 CPU thread")
    csv = clifctl(*TINY, "--neurons", "lif", "--format", "csv").out
    assert csv.startswith("neuron,ours_forward_backward_ms,")
    assert "| lif |" in clifctl(*TINY, "--neurons", "lif", "--format", "md").out


def _first_output_flipped(x: Tensor, run: Callable[[Tensor], Any]) -> Any:
    output, final = run(x)
    change = torch.zeros_like(output)
    change.view(-1)[0] = 1.0 - 2.0 * output.detach().view(-1)[0]
    return output + change, final


def _gradient_scaled(dtype: torch.dtype, by: float) -> Callable[..., Any]:
    def run_wrong(x: Tensor, run: Callable[[Tensor], Any]) -> Any:
        if x.requires_grad and x.dtype == dtype:
            x = x.clone()
            x.register_hook(lambda gradient: gradient * by)
        return run(x)

    return run_wrong


@pytest.mark.parametrize(
    ("run_wrong", "part"),
    [
        (_first_output_flipped, "of the outputs differ in float64"),
        (_gradient_scaled(torch.float64, 1 + 1e-9), "gradient of the input is off"),
        (_gradient_scaled(torch.float64, math.nan), "gradient of the input is off by nan"),
        (_gradient_scaled(torch.float32, 1.001), "in float32"),
    ],
)
def test_a_wrong_kernel_gets_no_times(
    clifctl: Run,
    monkeypatch: pytest.MonkeyPatch,
    run_wrong: Callable[..., Any],
    part: str,
) -> None:
    def scan(x: Tensor, state: Any, parameters: Any, *, target: str, **options: Any) -> Any:
        def run(x: Tensor) -> Any:
            return kernels.scan(x, state, parameters, target=target, **options)

        return run(x) if target == "reference" else run_wrong(x, run)

    monkeypatch.setattr("clifctl.models.layers.scan", scan)
    done = clifctl(*TINY, "--neurons", "clif")
    assert done.code == 1
    assert done.out == ""
    assert "neuron 'clif': target 'numba' does not do what the reference does" in done.err
    assert part in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--neurons", "lif,cliff"], "did you mean 'clif'"),
        (["--neurons", ""], "the list is empty"),
        (["--shape", "6x16"], "must have 3 to 8 sizes"),
        (["--shape", "6x16x-3"], "must be whole numbers with x between"),
        (["--shape", "6,16,3"], "must be whole numbers with x between"),
        (["--shape", "6x0x3"], "must be at least 1"),
        (["--shape", "5000x1x1"], "at most 4096 time steps"),
        (["--shape", "6x999999999x999999999"], "GiB of memory"),
        (["--repeats", "0"], "must be between 1 and 1000"),
        (["--threads", "0"], "must be between 1 and"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--dtype", "float16"], "float16"),
        (["-o", "none/result.json"], "no folder 'none'"),
    ],
)
def test_wrong_input(clifctl: Run, arguments: list[str], part: str) -> None:
    refused(clifctl("bench", "neurons", *arguments), part)
