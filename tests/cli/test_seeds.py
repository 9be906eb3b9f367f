"""Seeds are from 0 to 2^32 - 1: torch's generator would take larger ones for smaller ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clifctl.training.checkpoint import load_checkpoint, save_checkpoint

Run = Callable[..., Any]

LARGE = 2**32 + 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "digits_snn5", "--seed", f"{LARGE}"],
        ["train", "digits_snn5", f"train.seed={2**32}", "--dry-run"],
        ["recipes", "check", "digits_snn5", f"train.seed={LARGE}"],
        ["data", "show", "digits_events", f"seed={LARGE}"],
        ["recipes", "check", "cifar10_resnet18", f"data.split_seed={LARGE}"],
        ["compare-neurons", "digits_snn5", f"train.seed={2**32 - 2}", "--seeds", "3"],
        ["truncate-bptt", "digits_snn5", f"train.seed={2**32 - 1}", "--seeds", "2"],
        ["gradients", "digits_snn5", "--seed", f"{LARGE}", "--input", "noise"],
        ["dynamics", "--seed", f"{2**32 - 1}", "--seeds", "2"],
        ["dynamics", "--seed", f"{2**64}", "--input", "constant"],
    ],
)
def test_larger_seeds_are_refused(clifctl: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = clifctl(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "less than 4294967296 (2^32)" in done.err or "from 0 to 4294967295" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_largest_seed_is_a_seed(clifctl: Run) -> None:
    last = ["--seed", f"{2**32 - 1}", "--seeds", "1", "--timesteps", "4", "--json"]
    assert clifctl("dynamics", *last).json["seed"] == 2**32 - 1
    assert clifctl("recipes", "check", "digits_snn5", f"train.seed={2**32 - 1}").code == 0


def test_a_run_of_an_earlier_version_with_a_larger_seed(
    clifctl: Run, tmp_path: Path, tiny: list[str]
) -> None:
    events = ["digits_events_snn5", *tiny, "train.epochs=1", "train.seed=5", "data.seed=5"]
    assert clifctl("train", *events, "--out", "run", "-q").code == 0
    now = clifctl("eval", "run/last.pt", "--json").json
    _with_large_seeds(tmp_path / "run")
    old = clifctl("eval", "run/last.pt", "--json").json
    assert (now["seed"], old["seed"]) == (5, LARGE)
    assert old["accuracy_percent"] == now["accuracy_percent"]
    assert old["firing_rates"] == now["firing_rates"]
    assert clifctl("runs", "ls", ".", "--json").json["runs"][0]["seed"] == LARGE
    assert clifctl("runs", "show", "run").code == 0
    energy = ["energy", "run/last.pt", "--timesteps", "3"]
    gradients = ["gradients", "run/last.pt", "--input", "noise", "--samples", "2"]
    convert = ["convert", "run/last.pt", "--to", "lif", "-o", "lif.pt"]
    for look in (energy, gradients, convert, ["eval", "lif.pt"]):
        done = clifctl(*look)
        assert done.code == 0, done.err
    done = clifctl("train", "--resume", "run")
    assert done.code == 2
    assert f"train.seed = {LARGE}: must be less than 4294967296 (2^32)" in done.err
    assert f"beyond, seeds come again, {LARGE} is 5" in done.err


def _with_large_seeds(folder: Path) -> None:
    """Make the run one of a version that took larger seeds."""
    for name in ("last.pt", "best.pt"):
        checkpoint = load_checkpoint(folder / name)
        recipe = dict(checkpoint.recipe)
        for section in ("train", "data"):
            recipe[section] = {**recipe[section], "seed": LARGE}
        save_checkpoint(replace(checkpoint, recipe=recipe), folder / name)
    file = folder / "recipe.yaml"
    text = file.read_text()
    assert text.count("seed: 5\n") == 2
    file.write_text(text.replace("seed: 5\n", f"seed: {LARGE}\n"))
