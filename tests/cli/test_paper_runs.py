"""Runs of the paper's recipes: without data, on tiny data in the real formats, beside the paper."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Run = Callable[..., Any]
# A net and batches that two epochs take seconds for; its width is not the paper's.
SMALL = ["model.width=2", "train.batch_size=100", "train.epochs=2", "train.precision=float32"]
RECIPES = sorted(
    path.stem
    for path in (Path(__file__).resolve().parent.parent.parent / "recipes").glob("*.yaml")
    if "# Reproduces no table of the paper" not in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_without_data_plans_and_reports_the_files(clifctl: Run, name: str) -> None:
    done = clifctl("train", name, "--dry-run", "--json")
    assert done.code == 2
    plan = json.loads(done.out)
    assert plan["schema"] == "clifctl.train.plan/1"
    assert plan["train_samples"] is None
    assert plan["data_bytes"] is None
    assert plan["parameters"] > 1_000_000
    assert plan["memory_bytes"] == plan["weights_bytes"] + plan["activations_bytes"]
    error, hint = done.err.splitlines()[-2:]
    assert error.startswith("error: data set '")
    assert "missing" in error
    assert "clifctl data check" in hint


def test_the_recipe_of_the_mission_needs_its_data(clifctl: Run, data_root: Path) -> None:
    missing = clifctl("train", "cifar100_resnet18")
    assert missing.code == 2
    assert missing.out == ""
    lines = missing.err.splitlines()
    assert len(lines) == 2
    assert "'data/cifar-100-python/train' and 1 more are missing" in lines[0]
    assert "clifctl data check cifar100" in lines[1]
    root = f"data.root={data_root}"
    done = clifctl("train", "cifar100_resnet18", *SMALL, root, "--out", "run", "--json")
    assert done.code == 0, done.err
    assert done.json["best_chosen_on"] == "test"
    assert done.json["published"] == {"accuracies": [], "note": None}  # another width
    moved = clifctl("eval", "run/last.pt", "--root", "elsewhere")
    assert moved.code == 2
    assert "'elsewhere/cifar-100-python/test'" in moved.err or "elsewhere" in moved.err
    again = clifctl("eval", "run/last.pt", "--root", str(data_root), "--json").json
    assert again["accuracy_percent"] == done.json["accuracy_percent_last"]


def test_held_out_data_choose_the_best_epoch(clifctl: Run, data_root: Path) -> None:
    arguments = [
        f"data.root={data_root}",
        "data.validation_share=0.3",
        "model.channels=[2,2,2,2,2]",
    ]
    fast = ["train.batch_size=50", "train.epochs=4", "train.precision=float32", "timesteps=2"]
    done = clifctl("train", "cifar10_snn5", *arguments, *fast, "--out", "run", "--json")
    assert done.code == 0, done.err
    assert done.json["best_chosen_on"] == "validation"
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    held_out = [record["validation_accuracy_percent"] for record in records]
    best = held_out.index(max(held_out)) + 1
    assert done.json["epoch_best"] == best
    assert done.json["accuracy_percent_best"] == records[best - 1]["test_accuracy_percent"]
    assert done.json["published"]["note"].startswith("The paper's Figure 2")


def test_the_papers_number_stands_beside_the_measured_one(
    clifctl: Run, on_disk: ModuleType, tmp_path: Path
) -> None:
    # The published net in its full width: few images, and the ANN, the cheapest row.
    on_disk.write_cifar10(tmp_path, batch_samples=4, test_samples=4)
    few = ["train.batch_size=20", "train.epochs=1", "timesteps=1", "train.precision=float32"]
    few += ["neuron.name=relu", "eval.batch_size=4"]
    done = clifctl("train", "cifar10_resnet18", f"data.root={tmp_path}", *few)
    assert done.code == 0, done.err
    table = done.out[done.out.index("beside the paper") :]
    row = next(line for line in table.splitlines() if "95.62" in line)
    assert "Table 1" in row
    assert "the paper's [%]" in table
    assert "best epoch on the test set" in table


def test_a_last_batch_may_be_left_out(clifctl: Run, data_root: Path) -> None:
    root = [f"data.root={data_root}", "model.channels=[2,2,2,2,2]", "timesteps=1"]
    too_large = clifctl(
        "train", "cifar10_snn5", *root, "train.batch_size=201", "train.drop_last=true"
    )
    assert too_large.code == 2
    assert "200 training samples are not one batch" in too_large.err
