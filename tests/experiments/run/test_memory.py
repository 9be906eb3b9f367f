"""What cannot fit into memory is refused before it is built."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.errors import RecipeError
from clifctl.experiments import build
from clifctl.experiments.build import build_net, run_on, step_activations_bytes
from clifctl.experiments.run.memory import require_memory
from clifctl.kernels import resolve_kernels
from clifctl.recipe.load import load_recipe
from clifctl.training.checkpoint import load_checkpoint, save_checkpoint
from clifctl.training.memory import largest_output

CPU = torch.device("cpu")


def test_a_net_beyond_memory_is_not_built() -> None:
    huge = load_recipe("digits_rows_mlp", ["model.hidden=[60000,60000,60000,60000]"]).recipe
    with pytest.raises(RecipeError, match=r"the net needs about .* GiB of memory, 'cpu' has"):
        build_net(huge)
    with torch.device("meta"):
        assert build_net(huge) is not None
    with pytest.raises(RecipeError, match=r"the run needs about 524,288\.0 GiB"):
        require_memory(CPU, 2**49)


def test_many_steps_are_counted_from_few(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_recipe("digits_snn5", ["model.channels=[2,2,2,2,4]", "train.batch_size=4"])
    recipe = run_on(loaded.recipe, resolve_kernels("reference"))

    def kept(steps: int) -> int:
        return step_activations_bytes(replace(recipe, timesteps=steps), None)

    counted = kept(24)
    monkeypatch.setattr(build, "_MANY_STEPS", 8)
    monkeypatch.setattr(build, "_FEW_STEPS", 4)
    assert kept(24) == counted > kept(8)


def test_the_largest_output_by_hand() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 50), torch.nn.ReLU(), torch.nn.Linear(50, 7))
    net.forward = lambda x, repeat: torch.nn.Sequential.forward(net, x)  # type: ignore[assignment, misc]
    assert largest_output(net, torch.zeros(2, 5, 3), repeat=1) == 2 * 5 * 50 * 4


def test_eval_refuses_what_memory_cannot_hold(
    clifctl: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["model.hidden=[6]", "train.epochs=1", "train.batch_size=512"]
    train = ["train", "digits_rows_mlp", *small, "--target", "reference", "--out", "run", "-q"]
    assert clifctl(*train).code == 0
    last = load_checkpoint(tmp_path / "run/last.pt")
    last.recipe["model"]["hidden"] = [60000, 60000, 60000, 60000]
    save_checkpoint(last, tmp_path / "claims.pt")
    for command in (["eval"], ["convert", "--to", "lif", "-o", "out.pt"]):
        done = clifctl(command[0], "claims.pt", *command[1:])
        assert (done.code, done.out) == (2, ""), done.err
        assert "error: the net needs about " in done.err
    # Data and a batch count too.
    monkeypatch.setattr("clifctl.experiments.run.memory.memory_bytes", lambda device: 200_000)
    done = clifctl("eval", "run/last.pt", "--target", "reference")
    assert done.code == 2
    assert "error: the evaluation needs about " in done.err
    assert "'cpu' has 195.3 KiB" in done.err


def test_of_many_problems_the_first_are_told() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(3000))
    with pytest.raises(RecipeError) as refused:
        load_recipe("digits_snn5", [f"train={{epochs: 1, {keys}}}"])
    lines = refused.value.message.splitlines()
    assert lines[0].endswith("3,000 problems")
    assert lines[-1] == "  and 2,960 more unknown keys or wrong values"
    assert len(lines) == 42
