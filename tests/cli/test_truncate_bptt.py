"""`truncate-bptt`: the grid, its trials, and the paper's half beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.experiments.published import published_truncation
from clifctl.recipe.load import load_recipe

Run = Callable[..., Any]

GRID = [
    "truncate-bptt",
    "digits_rows_mlp",
    "model.hidden=[8]",
    "neuron.name=lif",
    "train.epochs=2",
    "train.batch_size=256",
    "--target",
    "reference",
    "--out",
    "results",
]


def test_the_grid_and_its_steps(clifctl: Run, tmp_path: Path) -> None:
    arguments = [*GRID, "--k", "8,1", "--tau", "2.0,1.5", "--seeds", "2", "--workers", "1"]
    done = clifctl(*arguments, "--json", "--plot", "grid.png")
    assert done.code == 0, done.err
    result = done.json
    assert result["schema"] == "clifctl.truncate-bptt/1"
    cells = [(row["tau"], row["window"], row["full"]) for row in result["rows"]]
    assert cells == [(1.5, 1, False), (1.5, 8, True), (2.0, 1, False), (2.0, 8, True)]
    places = [(step["tau"], step["window_from"], step["window_to"]) for step in result["steps"]]
    assert places == [(1.5, 1, 8), (2.0, 1, 8)]
    by_place = {(row["tau"], row["window"]): row["summary"] for row in result["rows"]}
    for step in result["steps"]:
        longer = by_place[step["tau"], step["window_to"]]["train_loss_train_mode"]["mean"]
        shorter = by_place[step["tau"], step["window_from"]]["train_loss_train_mode"]["mean"]
        found = step["differences"]["train_loss_train_mode"]
        assert found["mean"] == pytest.approx(longer - shorter)
        assert found["n"] == 2
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    documents = [
        json.loads(path.read_text()) for path in (tmp_path / "results").glob("*/result.json")
    ]
    windows = [one["window"] for one in documents]
    assert sorted(windows, key=str) == [1, 1, 1, 1, None, None, None, None]
    # Full BPTT is the same trial under any reading, and the recipe's tau the same as none given.
    plan = clifctl(*GRID, "--k", "8", "--window", "chunked", "--seeds", "2", "--dry-run", "--json")
    assert plan.json["finished"] == 2
    shown = clifctl(*arguments)
    assert "8 (full)" in shown.out
    assert "k = 1 to 8" in shown.out
    rows = clifctl(*arguments, "--format", "jsonl").out.splitlines()
    assert [json.loads(row)["window"] for row in rows] == [1, 8, 1, 8]


def test_one_window_and_one_seed_say_what_they_cannot(clifctl: Run) -> None:
    one = clifctl(*GRID, "--k", "1", "--seeds", "1", "--json").json
    assert one["conclusions"] == ["One window: there is nothing to compare it with."]
    two = clifctl(*GRID, "--k", "1,2", "--seeds", "1", "--json").json
    assert "nothing can be concluded" in two["conclusions"][0]


def test_the_published_grid_stands_for_the_papers_recipe_alone() -> None:
    recipe = load_recipe("cifar10_resnet18", ["neuron.name=lif"]).recipe
    paper = published_truncation(recipe)
    assert paper is not None
    assert paper.accuracy_percent[2.0, 1] == 80.71
    assert paper.accuracy_percent[1.5, 6] == 94.94
    for override in (
        "neuron.name=clif",
        "timesteps=4",
        "neuron.v_threshold=0.5",
        "neuron.window_reading=prefix",
        "model.width=32",
    ):
        try:
            other = load_recipe("cifar10_resnet18", ["neuron.name=lif", override]).recipe
        except Exception:
            assert override.startswith("model.")  # an option that this net does not have
            continue
        assert published_truncation(other) is None, override
    assert published_truncation(load_recipe("cifar10_snn5", ["neuron.name=lif"]).recipe) is None


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--k", "0,1"], "--k 0: must be between 1 and T = 8"),
        (["--k", "9"], "--k 9: must be between 1 and T = 8"),
        (["--k", ""], "the list is empty"),
        (["--k", "1.5"], "'1.5' is not a whole number"),
        (["--tau", "1.0"], "--tau 1: must be greater than 1"),
        (["--tau", "0.5,2"], "--tau 0.5"),
        (["--tau", "nan"], "--tau nan: 'nan' is not a number"),
        (["--tau", "2,inf"], "'inf' is not a number"),
        (["--tau", ","], "the list is empty"),
        (["neuron.name=glif", "--tau", "2"], "'glif' has no tau"),
        (["neuron.name=glif"], "'glif' has no tau"),
        (["neuron.name=liff"], "did you mean 'lif'"),
        (["--window", "slide"], "did you mean 'sliding'"),
        (["--seeds", "0"], "--seeds 0"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_written(
    clifctl: Run, tmp_path: Path, arguments: list[str], part: str
) -> None:
    done = clifctl(*GRID, *arguments)
    assert done.code == 2, done
    assert part in done.err
    assert list(tmp_path.iterdir()) == []
