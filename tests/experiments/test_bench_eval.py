"""`bench eval`: the gate, the numbers' form, the operations. No test looks at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl import kernels
from clifctl.experiments.bench_eval import CONTESTANTS

Run = Callable[..., Any]
TINY = ["bench", "eval", "--model", "snn5", "--timesteps", "2", "--batch", "3", "--repeats", "1"]
TINY += ["--threads", "1"]


def check_operations(document: dict[str, Any], clifctl: Run) -> None:
    # digits_snn5: every MAC of its five 3x3 convolutions and its linear layer, padding included.
    energy = clifctl("energy", "digits_snn5", "--per-layer", "--json").json["rows"][0]
    macs = sum(
        layer["corrected"]["macs"]
        for layer in energy["layers"]
        if layer["kind"] in ("convolution", "linear")
    )
    for row in document["operations"]:
        assert row["relu_macs"] == macs
        # The stem of the image alone has MACs, and runs once.
        assert row["spiking_macs"] == energy["layers"][0]["corrected"]["macs"]
        assert 0 < row["spiking_acs"] < 2 * macs
        total = row["spiking_acs"] + row["spiking_macs"]
        theory = row["theoretical_relu_ratio"]
        assert theory == pytest.approx(total / (2 * macs))
        assert row["theoretical_relu_one_step_ratio"] == pytest.approx(total / macs)
        (ours,) = [
            found
            for found in document["rows"]
            if (found["contestant"], found["batch_size"]) == ("ours", row["batch_size"])
        ]
        assert row["measured_relu_ratio"] == ours["relu_ratio"]
        saved = 100 * (1 - ours["relu_ratio"]) / (1 - theory)
        assert row["saving_share_percent"] == pytest.approx(saved)


def test_numbers(clifctl: Run) -> None:
    done = clifctl(*TINY, "--json")
    assert (done.code, done.err) == (0, "")
    document = done.json
    assert document["schema"] == "clifctl.bench.eval/1"
    assert (document["timesteps"], document["batch_size"], document["rates"]) == ([2], 3, "fresh")
    (check,) = document["checks"]
    assert check["float64_logits_error"] < check["float64_allowed"]
    assert 0 < check["connection_rounding_share"] <= 1
    assert len(document["firing_rates"]) == 5
    assert len(document["rows"]) == 2 * len(CONTESTANTS)
    for size in (1, 3):
        rows = {row["contestant"]: row for row in document["rows"] if row["batch_size"] == size}
        assert list(rows) == list(CONTESTANTS)
        assert rows["relu"]["relu_ratio"] == rows["ours"]["ours_ratio"] == 1.0
        assert rows["relu_one_step"]["relu_one_step_ratio"] == 1.0
        for name, row in rows.items():
            assert row["missing"] is None
            assert row["memory_format"] in CONTESTANTS[name]
            images = size * (2 if name == "relu" else 1)
            assert row["samples_per_s"] == pytest.approx(1000 * images / row["inference_ms"])
            for base in ("relu", "relu_one_step", "ours"):
                ratio = row["inference_ms"] / rows[base]["inference_ms"]
                assert row[f"{base}_ratio"] == pytest.approx(ratio)
    check_operations(document, clifctl)


def test_tables_without_the_peer(clifctl: Run) -> None:
    done = clifctl(*TINY, "--neuron", "alif", "--batch", "1", "--event-frames", "10")
    assert done.code == 0, done.err
    table = done.out
    assert table.startswith("inference, snn5, alif, float32: median of 1")
    assert "samples of event frames 1x8x8, 10 % of them not zero" in table
    assert "no SJ multi: no node of SpikingJelly is set against it" in table
    assert "\nsynaptic operations of a sample, and the time of a batch" in table
    lines = [line for line in table.splitlines() if line.startswith((" T ", " 2 "))]
    assert len(lines) == 1 + len(CONTESTANTS) + 2  # one sample alone, and its operations
    assert max(map(len, lines)) <= 90


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_wrong_kernel_gets_no_times(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    def norm_scan(x: Tensor, *arguments: Any, **options: Any) -> Any:
        return kernels.norm_scan(x + 0.1 if x.dtype == dtype else x, *arguments, **options)

    monkeypatch.setattr("clifctl.models.layers.norm_scan", norm_scan)
    done = clifctl(*TINY)
    assert (done.code, done.out) == (1, "")
    assert "the fused net does not do what norm and neuron" in done.err
    assert str(dtype).removeprefix("torch.") in done.err


def test_a_wrong_connection_gets_no_times(clifctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it adds up is held against a dense product, within rounding."""
    conv2d = torch.nn.functional.conv2d

    def off(x: Tensor, *arguments: Any) -> Tensor:
        found = conv2d(x, *arguments)
        return found * (1 + 1e-5) if x.dtype == torch.float32 and x.shape[1] == 8 else found

    monkeypatch.setattr("clifctl.models.convolution.F.conv2d", off)
    for command in ("eval", "train"):
        done = clifctl("bench", command, *TINY[2:], "--batch", "2")
        assert (done.code, done.out) == (1, "")
        assert "float32, error of a connection in shares of what rounding may make" in done.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--batch", "0"], "must be between 1 and 4096"),
        (["--event-frames", "101"], "--event-frames 101: must be between 0 and 100"),
        (["--rates", "paper"], "the paper has no firing rates for 'clif' in 'snn5'"),
        (["--rates", "nowhere.json"], "cannot read 'nowhere.json'"),
        (["--neuron", "relu"], "has no time steps"),
        (["--timesteps", "1,x"], "--timesteps 1,x: 'x' is not a whole number"),
    ],
)
def test_wrong_input(clifctl: Run, arguments: list[str], part: str) -> None:
    done = clifctl(*TINY, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.splitlines()[-1].startswith("hint: ")
    assert part in done.err
