"""The firing rates that a benchmark's net is brought to."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl import paper
from clifctl.errors import EnergyError, UsageError
from clifctl.experiments.bench.firing_rates import at_rates, reached_rates, target_rates
from clifctl.experiments.bench.task import NetBenchOptions, Task, task_of
from clifctl.experiments.run.execution import ON_CPU
from clifctl.models import MODELS

Run = Callable[..., Any]
GIVEN = (0.3, 0.05, 0.2, 0.5, 0.1)


def a_task(**changes: Any) -> Task:
    options = {"channels": (2, 2, 4, 4, 4), "kernel_sizes": (3,) * 5, "strides": (1,) * 5}
    task = Task(
        model="snn5",
        options=MODELS["snn5"].options(**options),
        neuron="clif",
        input_shape=(1, 9, 7),
        classes=3,
        timesteps=3,
        batch_size=8,
        batch_norm="per_step",
        precision="float32",
        execution=ON_CPU.resolve(),
    )
    return replace(task, **changes)


def targets_of(task: Task, tmp_path: Path) -> dict[str, float]:
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"rates": GIVEN}))
    targets = target_rates(str(file), task)
    assert targets is not None
    return targets


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("changes", [{}, {"neuron": "lif", "frames_percent": 20.0}])
def test_layers_are_brought_to_their_rates(
    tmp_path: Path, training: bool, changes: dict[str, Any]
) -> None:
    """As near as so few neurons come: many of them begin to fire at one and the same bias."""
    task = a_task(**changes)
    targets = targets_of(task, tmp_path)
    fresh = at_rates(task, None, training=training)
    assert bool(fresh.norms) != training
    reached = reached_rates(at_rates(task, targets, training=training), targets, training=training)
    assert [row.layer for row in reached] == list(targets)
    for row, rate in zip(reached, GIVEN, strict=True):
        assert row.target_rate == rate
        assert row.firing_rate == pytest.approx(rate, abs=0.02)
    missed = [row.firing_rate for row in reached_rates(fresh, None, training=training)]
    assert missed != pytest.approx(GIVEN, abs=0.05)


def test_in_evaluation_the_running_averages_are_those_of_the_input() -> None:
    task = a_task(neuron="lif")
    first = at_rates(task, None, training=False).norms["features.0.norm.running_var"]
    net = task.net(fuse_norm=True)
    x = net.get_submodule("features.0.connection")(task.input()[0])
    torch.testing.assert_close(first, x.transpose(0, 1).flatten(1).var(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("model", "data"), [("resnet18", "cifar10"), ("vgg11", "cifar10_dvs")])
def test_the_published_rates_in_forward_order(model: str, data: str) -> None:
    task = task_of(NetBenchOptions(model=model), least_batch=2)
    published = paper.firing_rates(data, "clif")
    assert published is not None
    found = target_rates("paper", task)
    assert found is not None
    assert tuple(found.values()) == published.firing_rates
    assert target_rates("fresh", task) is None
    assert {name.split(".")[-1] for name in found} <= {"neuron", "neuron1", "neuron2"}


def test_rates_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no firing rates for 'clif' in 'snn5'"):
        target_rates("paper", a_task())
    with pytest.raises(UsageError, match="did you mean 'fresh'"):
        target_rates("fresch", a_task())
    file = tmp_path / "rates.json"
    file.write_text('{"rates": [0.1]}')
    with pytest.raises(EnergyError, match="too few firing rates: 1 for 5"):
        target_rates(str(file), a_task())


def test_event_frames_differ_from_step_to_step_and_are_as_sparse_as_asked() -> None:
    frames = a_task(frames_percent=10.0, input_shape=(2, 20, 20), timesteps=5).input()
    assert frames.shape == (5, 8, 2, 20, 20)
    active = (frames != 0).double().mean((1, 2, 3, 4))
    assert len(set(active.tolist())) == 5
    torch.testing.assert_close(active, torch.full_like(active, 0.1), rtol=0, atol=0.02)
    values = frames[frames != 0]
    assert values.min() == 1
    assert values.max() > 2
    assert (values == values.round()).all()


def test_bench_train_at_given_rates(clifctl: Run, tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text('{"rates": [0.3, 0.2, 0.2, 0.2, 0.1]}')
    tiny = ["bench", "train", "--model", "snn5", "--batch", "8", "--repeats", "1", "--no-peak"]
    tiny += ["--no-engine", "--threads", "1", "--timesteps", "2", "--rates", str(file)]
    table = clifctl(*tiny).out
    assert f"firing rate over all neurons (as in '{file}'): T = 2: 0.2" in table
    rows = [line.split() for line in table.splitlines() if ".neuron " in line]
    assert [(row[0], float(row[1])) for row in rows] == [
        (f"features.{layer}.neuron", rate) for layer, rate in enumerate((0.3, 0.2, 0.2, 0.2, 0.1))
    ]
    assert all(abs(float(row[2]) - float(row[1])) < 0.01 for row in rows)
