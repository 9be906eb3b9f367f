"""`bench train`: the gate, the contestants, the numbers' form. No test looks at a time."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl import kernels
from clifctl.experiments.bench.engine import write_noise
from clifctl.experiments.bench.engine_cost import _undisturbed
from clifctl.experiments.bench.net_contestants import CONTESTANTS, Learner, learner
from clifctl.experiments.bench.net_gate import gate, peer_differs
from clifctl.experiments.bench.peak_memory import peak_bytes
from clifctl.experiments.bench.plain_nets import plain_net
from clifctl.experiments.bench.task import Task
from clifctl.experiments.bench_train import _costs
from clifctl.experiments.build import load_data
from clifctl.experiments.run.execution import ExecutionOptions
from clifctl.kernels.cpu import connections
from clifctl.models import MODELS, TemporalBatchNorm
from clifctl.recipe.load import load_recipe
from clifctl.results.bench_train import TrainBenchRow

Run = Callable[..., Any]
TINY = ["bench", "train", "--model", "snn5", "--timesteps", "2", "--batch", "2", "--repeats", "1"]
TINY += ["--no-peak", "--no-engine", "--threads", "1"]
pytestmark = pytest.mark.usefixtures("few_spikes")


def a_task(model: str, **changes: Any) -> Task:
    options: dict[str, Any] = {"resnet18": {"width": 2}, "vgg11": {"width": 2}}.get(
        model, {"channels": (2, 2, 2, 2, 4), "kernel_sizes": (3,) * 5, "strides": (1, 2, 1, 1, 2)}
    )
    task = Task(
        model=model,
        options=MODELS[model].options(**options),
        neuron="clif",
        input_shape=(3, 32, 32) if model == "vgg11" else (1, 8, 8),
        classes=3,
        timesteps=3,
        batch_size=2,
        batch_norm="per_step",
        precision="float32",
        execution=ExecutionOptions("cpu", threads=1).resolve(),
    )
    return replace(task, **changes)


def the_learner(who: str, task: Task, **options: Any) -> Learner:
    made = learner(who, task, CONTESTANTS[who][-1], **options)
    assert isinstance(made, Learner)
    return made


def test_the_engine_around_the_step(clifctl: Run) -> None:
    """Of the digits on their own data, of the others on noise in CIFAR-10's format."""
    common = ["bench", "train", "--timesteps", "1", "--repeats", "1", "--no-peak"]
    done = clifctl(*common, "--model", "snn5", "--batch", "200", "--threads", "1", "--json")
    assert done.code == 0, done.err
    engine = done.json["engine"]
    assert (engine["recipe"], engine["batch_size"], engine["timesteps"]) == ("digits_snn5", 200, 1)
    assert 0 < engine["steps"] <= 5 * (1297 // 200) - 3  # but for the warm-up and what was held up
    ratio = engine["engine_step_seconds"] / engine["bare_step_seconds"]
    assert engine["overhead_percent"] == pytest.approx(100 * (ratio - 1))
    assert engine["samples_per_second"] == pytest.approx(200 / engine["engine_step_seconds"])
    assert "epoch 5/5" in done.err


def test_groups_that_were_held_up_are_left_out_and_what_comes_seldom_is_not() -> None:
    bare, engine = [1.0] * 16, [1.0] * 15 + [5.0]  # the engine has more to do at every 16th step
    held_up = [1.0] * 15 + [20.0]
    groups = _undisturbed(
        [*bare, *bare, *held_up, *bare, 9.0], [*engine, *held_up, *engine * 2, 9.0]
    )
    assert groups == [(1.0, 1.25), (1.0, 1.25)]
    assert _undisturbed([1.0, 3.0], [2.0, 4.0]) == [(2.0, 3.0)]


def test_noise_is_read_as_cifar10(tmp_path: Path) -> None:
    write_noise(tmp_path, 23)
    data = load_data(load_recipe("cifar10_resnet18", [f"data.root={tmp_path}"]).recipe)
    assert (len(data.train), len(data.test)) == (23, 10)
    assert data.train.held.float().mean().item() == pytest.approx(127.5, abs=2)


def test_numbers(clifctl: Run) -> None:
    threads = torch.get_num_threads()
    done = clifctl(*TINY, "--json")
    assert (done.code, done.err) == (0, "")
    assert torch.get_num_threads() == threads
    document = done.json
    assert document["schema"] == "clifctl.bench.train/1"
    assert document["input_shape"] == [1, 8, 8]
    assert (document["timesteps"], document["threads"]) == ([2], 1)
    assert document["peak_missing"] == "--no-peak"
    assert document["costs"] == []
    (check,) = document["checks"]
    assert check["float64_loss_error"] <= check["float64_gradient_error"] < check["float64_allowed"]
    rows = {row["contestant"]: row for row in document["rows"]}
    assert list(rows) == list(CONTESTANTS)
    assert rows["relu"]["relu_ratio"] == rows["ours"]["ours_ratio"] == 1.0
    assert rows["relu"]["held_relu_ratio"] == 1.0
    for name, row in rows.items():
        assert row["missing"] is None
        assert row["memory_format"] in CONTESTANTS[name]
        assert row["peak_bytes"] is None
        images = 4 if name == "relu" else 2
        assert row["images_per_s"] == pytest.approx(1000 * images / row["step_ms"])
        # One round: the median is its only value.
        assert row["step_lower_quartile_ms"] == row["step_ms"] == row["step_upper_quartile_ms"]
        assert row["relu_ratio"] == pytest.approx(row["step_ms"] / rows["relu"]["step_ms"])
        assert row["ours_ratio"] == pytest.approx(row["step_ms"] / rows["ours"]["step_ms"])
        assert row["held_relu_ratio"] == row["held_bytes"] / rows["relu"]["held_bytes"]
    held = {name: row["held_bytes"] for name, row in rows.items()}
    assert held["ours_dense"] < held["ours_plain"] < held["relu"] < held["sj_multi_step"]
    assert held["ours_dense"] < held["ours"] < held["ours_plain"]  # open windows are kept as bits


def test_several_timesteps_and_every_format(clifctl: Run) -> None:
    done = clifctl(*TINY, "--timesteps", "3,1,2,2", "--format", "csv")
    lines = [line.split(",") for line in done.out.splitlines()]
    assert lines[0][:4] == ["timesteps", "label", "step_ms", "relu_ratio"]
    assert [line[0] for line in lines[1:]] == ["1"] * 6 + ["2"] * 6 + ["3"] * 6
    table = clifctl(*TINY, "--timesteps", "1,2,3", "--precision", "bfloat16").out
    assert table.startswith("training step, snn5, clif, batch 2, bfloat16: median of 1")
    assert table.count("linear in T: ") == 6
    grid = [line for line in table.splitlines() if line.startswith((" T ", " 1 ", " 2 ", " 3 "))]
    assert len(grid) == 38
    assert max(map(len, grid)) <= 80


def test_without_the_peer(clifctl: Run) -> None:
    done = clifctl(*TINY, "--neuron", "alif")
    assert done.code == 0
    assert "no SJ multi: no node of SpikingJelly is set against it" in done.out
    row = clifctl(*TINY, "--neuron", "alif", "--json").json["rows"][-1]
    assert row["missing"] == "no node of SpikingJelly is set against it"
    assert row["step_ms"] is row["held_bytes"] is row["memory_format"] is None


def test_a_line_through_the_times() -> None:
    rows = [
        TrainBenchRow(timesteps=t, contestant=who, step_ms=ms)
        for who, times in {"ours": (5.0, 7.0, 13.0), "relu": (1.0, 4.0, 36.0)}.items()
        for t, ms in zip((1, 2, 5), times, strict=True)
    ]
    line, curve = _costs(rows)
    assert (line.contestant, curve.contestant) == ("ours", "relu")
    assert line.fixed_ms == pytest.approx(3.0)
    assert line.per_timestep_ms == pytest.approx(2.0)
    assert line.farthest_percent == pytest.approx(0.0, abs=1e-9)
    assert curve.farthest_percent > 10
    assert _costs(rows[:2]) == ()


@pytest.mark.parametrize("model", ["resnet18", "vgg11", "snn5"])
def test_the_plain_net_is_ours_with_relu_in_place_of_neurons(model: str) -> None:
    """With ReLU for neurons, and norms over all steps, both are the same function."""
    net = a_task(model).net(fuse_norm=False, batch_norm="folded").double()
    images = torch.randn(6, *a_task(model).input_shape, dtype=torch.float64)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "SpikingLayer":
                setattr(module, name, _Rectified())
    ours = net.train()(images.unflatten(0, (3, 2)))[0].flatten(0, 1)
    source = a_task(model).net(fuse_norm=False)
    plain = plain_net(source, lambda layer, channels: nn.ReLU(inplace=True)).double()
    torch.testing.assert_close(plain(images), ours, rtol=1e-12, atol=1e-12)


class _Rectified(nn.Module):
    def forward(
        self, x: Tensor, state: Any, norm: TemporalBatchNorm, repeat: int = 1
    ) -> tuple[Tensor, Any]:
        return torch.relu(norm(x, repeat)), ()


@pytest.mark.parametrize("model", ["resnet18", "vgg11", "snn5"])
def test_every_contestant_has_the_same_parameters_and_the_peers_the_same_loss(model: str) -> None:
    task = a_task(model)
    sizes = {
        who: sum(p.numel() for p in the_learner(who, task).net.parameters()) for who in CONTESTANTS
    }
    assert len(set(sizes.values())) == 1
    for who, norm in {"sj_multi_step": "folded", "sj_step_by_step": "per_step"}.items():
        assert peer_differs(who, task) is None
        given = the_learner(who, task, dtype=torch.float64).loss()
        ours = the_learner("ours_plain", task, dtype=torch.float64, batch_norm=norm).loss()
        torch.testing.assert_close(given, ours, rtol=1e-12, atol=0)


def test_learnables_of_neurons_are_not_compared_and_a_missing_mode_is_named() -> None:
    task = a_task("snn5", neuron="glif_channel")
    assert isinstance(learner("sj_multi_step", task, "contiguous"), Learner)
    assert learner("sj_step_by_step", task, "contiguous") == (
        "SpikingJelly's node has no single-step mode"
    )
    assert isinstance(learner("relu", task, "contiguous"), Learner)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_gate_passes_what_is_right(precision: Any) -> None:
    check = gate(a_task("snn5", precision=precision, batch_norm="folded"))
    assert check.float64_loss_error <= 1e-12
    assert check.layer_differing_share < 1e-3


@pytest.mark.parametrize(
    ("dtype", "by", "part"),
    [
        (torch.float64, 1 + 1e-7, "float64, relative error of a gradient"),
        (torch.float64, math.nan, "float64, relative error of a gradient nan"),
        (torch.float32, 1.2, "float32, relative error of a layer's gradient"),
    ],
)
def test_a_wrong_kernel_gets_no_times(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, by: float, part: str
) -> None:
    def norm_scan(x: Tensor, *arguments: Any, **options: Any) -> Any:
        if x.dtype == dtype and x.requires_grad:
            x = x.clone()
            x.register_hook(lambda gradient: gradient * by)
        return kernels.norm_scan(x, *arguments, **options)

    monkeypatch.setattr("clifctl.models.layers.norm_scan", norm_scan)
    done = clifctl(*TINY)
    assert (done.code, done.out) == (1, "")
    assert "snn5, T = 2: the fused net does not do what norm and neuron" in done.err
    assert part in done.err


@pytest.mark.parametrize(
    ("direction", "part"),
    [
        ("forward", "error of a connection in shares of what rounding may make"),
        ("weight_gradient", "error of a connection in shares of what rounding may make"),
        ("input_gradient", "relative error of a layer's gradient"),
    ],
)
def test_a_wrong_event_driven_kernel_gets_no_times(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch, direction: str, part: str
) -> None:
    right = getattr(connections, direction)
    by = 1.2 if direction == "input_gradient" else 1 + 1e-4

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return found * by if isinstance(found, Tensor) else (found[0] * by, *found[1:])

    monkeypatch.setattr(connections, direction, wrong)
    done = clifctl(*TINY)
    assert (done.code, done.out) == (1, "")
    assert f"float32, {part}" in done.err


def test_memory_of_a_process_of_its_own() -> None:
    task = a_task("snn5", batch_size=128, input_shape=(1, 32, 32), timesteps=8)
    # The first convolution's output, and its gradient as large.
    map_bytes = 128 * 8 * 2 * 32 * 32 * 4
    nothing = peak_bytes(task, None, "contiguous")
    assert nothing > 2**26
    assert 2 * map_bytes < peak_bytes(task, "relu", "contiguous") - nothing < 40 * map_bytes


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "resnet19"], "resnet19"),
        (["--neuron", "cliff"], "did you mean 'clif'"),
        (["--neuron", "relu"], "has no time steps"),
        (["--timesteps", "1,x"], "--timesteps 1,x: 'x' is not a whole number"),
        (["--timesteps", "0"], "must be between 1 and 256"),
        (["--batch", "1"], "must be between 2 and"),
        (["--repeats", "0"], "must be between 1 and 1000"),
        (["--threads", "0"], "must be between 1 and"),
        (["--precision", "float16"], "float16"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_wrong_input(clifctl: Run, arguments: list[str], part: str) -> None:
    done = clifctl(*TINY, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.splitlines()[-1].startswith("hint: ")
    assert part in done.err
