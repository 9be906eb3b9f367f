"""A dry run's estimate: bounded by counted work, and scaled by it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.experiments.grid import dry_run, step_cost
from clifctl.experiments.grid.step_cost import (
    MOST_MACS_CPU,
    StepCost,
    StepSize,
    shortened,
    size_of,
    smaller,
)
from clifctl.recipe import catalog
from clifctl.recipe.load import load_recipe
from clifctl.training.step import TrainingStep

Run = Callable[..., Any]
# Two samples of one time step of the largest net of the catalog, in multiply-accumulates.
LARGEST_SMALLEST = 5e9


def test_work_is_counted_on_shapes_the_constant_stem_once() -> None:
    recipe = load_recipe("cifar10_resnet18").recipe
    stem, rest, linear = 32 * 32 * 64 * 27, 555_417_600 - 32 * 32 * 64 * 27, 512 * 10
    assert size_of(recipe, 5).macs == 5 * (stem + 6 * (rest + linear))
    assert size_of(recipe, 2, timesteps=1).macs == 2 * (stem + rest + linear)


@pytest.mark.parametrize("name", catalog.names())
def test_the_timed_step_of_every_shipped_recipe_is_small(name: str) -> None:
    recipe = load_recipe(name).recipe
    whole = size_of(recipe, recipe.train.batch_size)
    samples, timesteps = smaller(whole, MOST_MACS_CPU)
    assert 2 <= samples <= whole.samples
    assert 1 <= timesteps <= whole.timesteps
    timed = size_of(recipe, samples, timesteps)
    if (samples, timesteps) == (2, 1):
        assert timed.macs < LARGEST_SMALLEST
    else:
        # A constant stem is counted once, however many time steps: a share of a percent.
        assert timed.macs <= 1.01 * MOST_MACS_CPU
    if name.startswith("digits"):
        assert (samples, timesteps) == (whole.samples, whole.timesteps)


def test_samples_go_first_then_time_steps() -> None:
    whole = StepSize(samples=128, timesteps=6, macs=768.0)
    assert smaller(whole, 1000.0) == (128, 6)
    assert smaller(whole, 60.0) == (10, 6)
    assert smaller(whole, 12.0) == (2, 6)
    assert smaller(whole, 11.0) == (2, 5)
    assert smaller(whole, 0.1) == (2, 1)


def test_a_window_is_not_longer_than_the_time_steps() -> None:
    recipe = load_recipe("digits_snn5", ["neuron.window=3"]).recipe
    assert shortened(recipe, 2).neuron.window == 2
    assert shortened(recipe, 4).neuron.window == 3
    assert shortened(load_recipe("digits_snn5").recipe, 1).neuron.window is None


def test_the_optimizers_step_is_not_scaled() -> None:
    cost = StepCost(
        step_seconds=1.5,
        optimizer_seconds=0.5,
        test_seconds_per_sample=0.1,
        timed=StepSize(2, 1, 10.0),
        whole=StepSize(4, 2, 40.0),
        precision="float32",
        precision_factor=1.0,
    )
    longer = cost.scaled_to(StepSize(4, 6, 120.0))
    assert longer.step_seconds == pytest.approx(0.5 + 3 * 1.0)
    assert longer.test_seconds_per_sample == pytest.approx(0.3)
    more = cost.scaled_to(StepSize(8, 2, 80.0))
    assert more.step_seconds == pytest.approx(0.5 + 2 * 1.0)
    assert more.test_seconds_per_sample == pytest.approx(0.1)


def test_a_dry_run_of_resnet18_on_a_cpu_times_little_and_no_float16(
    clifctl: Run, on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.write_cifar10(tmp_path, batch_samples=40, test_samples=20)
    taken: list[tuple[tuple[int, ...], str]] = []

    def take(self: TrainingStep, epoch: int, step: int, inputs: Tensor, *rest: object) -> None:
        taken.append((tuple(inputs.shape), self.precision.name))

    monkeypatch.setattr(TrainingStep, "__call__", take)
    monkeypatch.setattr(step_cost, "_timed_steps", counted_steps(step_cost._timed_steps))
    recipe = load_recipe("cifar10_resnet18").recipe
    macs = size_of(recipe, 2, timesteps=1).macs
    # 24 times the 2 s of a step without its optimizer.
    monkeypatch.setattr(dry_run, "float16_extra_of_cpu", lambda: 24 * 2 / (3 * macs))
    grid = ["truncate-bptt", "cifar10_resnet18", f"data.root={tmp_path}", "--dry-run"]
    done = clifctl(*grid, "--k", "6", "--seeds", "1", "--json")
    assert done.code == 0, done.err
    assert set(taken) == {((1, 2, 3, 32, 32), "float32")}
    assert len(taken) <= 6
    (trial,) = done.json["trials"]
    assert trial["steps"] == 200 * 2  # 200 images are a batch of 128 and a smaller one
    timed = trial["timed"]
    assert (timed["samples"], timed["timesteps"]) == (2, 1)
    assert timed["precision"] == "float32"
    assert timed["precision_factor"] == pytest.approx(25.0)
    factor = size_of(recipe, 128).macs / macs
    assert timed["work_factor"] == pytest.approx(factor)
    # A step of 3 s, of which the optimizer takes 1.
    assert trial["step_ms"] == pytest.approx(1000 * (1 + 25 * factor * 2))
    shown = clifctl(*grid, "--k", "6", "--seeds", "1").out
    assert "Estimate: about" in shown
    assert "2 samples, T = 1, float32; x" in shown
    assert "in float16 up to 25 times as long still" in shown


def counted_steps(timed: Callable[..., Any]) -> Callable[..., tuple[float, float]]:
    """As `timed`, with times that do not depend on the machine."""

    def steps(*arguments: Any) -> tuple[float, float]:
        timed(*arguments)
        return 3.0, 1.0

    return steps


def test_what_there_is_no_time_for_is_scaled_from_what_was_timed(
    clifctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "SECONDS", 0.0)
    words = ["compare-neurons", "digits_snn5", "--neurons", "lif,clif", "--timesteps", "2,4"]
    done = clifctl(*words, "--seeds", "1", "--target", "reference", "--dry-run", "--json")
    assert done.code == 0, done.err
    first, *others = done.json["trials"]
    assert {trial["timed"]["trial"] for trial in others} == {first["trial"]}
    recipe = load_recipe("digits_snn5").recipe
    whole = size_of(recipe, 32).macs / size_of(recipe, 32, timesteps=2).macs
    factors = [trial["timed"]["work_factor"] for trial in [first, *others]]
    assert factors == pytest.approx([1, 1, whole, whole])
    assert others[0]["step_ms"] == first["step_ms"]
    assert others[1]["step_ms"] > first["step_ms"]


def test_a_step_in_float16_is_timed_in_float32_on_a_cpu_alone() -> None:
    recipe = load_recipe(
        "digits_rows_mlp",
        ["train.precision=float16", "model.hidden=[4]", "timesteps=8", "train.batch_size=4"],
    ).recipe
    recipe = replace(recipe, neuron=replace(recipe.neuron, target="reference"))
    cost = step_cost.step_cost(recipe, size_of(recipe, 4), torch.device("cpu"), lambda: 1.0)
    # A second longer for each of so many is all that there is to see.
    extra = 3 * cost.timed.macs
    assert cost.precision == "float32"
    assert cost.step_seconds == pytest.approx(extra, rel=0.5)
    assert cost.precision_factor > 2
    assert cost.step_seconds > cost.optimizer_seconds > 0
    plain = replace(recipe, train=recipe.train.model_copy(update={"precision": "bfloat16"}))
    asked: list[float] = []

    def ask() -> float:
        asked.append(1.0)
        return 1.0

    cost = step_cost.step_cost(plain, size_of(plain, 4), torch.device("cpu"), ask)
    assert (cost.precision, cost.precision_factor, asked) == ("bfloat16", 1.0, [])


def test_float16_takes_no_less_time() -> None:
    assert 0.0 <= step_cost.float16_extra_of_cpu() < 1.0
