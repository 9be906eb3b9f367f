"""What was probably meant is said, and names are known in any case."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
KEYS = "clifctl recipes keys"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["epochs=5"], "override epochs: unknown key (did you mean 'train.epochs=5'?)", KEYS),
        (["lr=0.1"], "override lr: unknown key (did you mean 'train.lr=0.1'?)", KEYS),
        (["T=4"], "override T: unknown key (did you mean 'timesteps=4'?)", KEYS),
        (
            ["train.tau=3"],
            "override train.tau: unknown key (did you mean 'neuron.tau=3'?)",
            "train.",
        ),
        (["neuron=lif"], "given 'lif' (did you mean 'neuron.name=lif'?)", "neurons ls"),
        (["neuron.taux=3"], "(did you mean 'neuron.tau=3'?)", f"{KEYS} --of clif"),
        (["data.name=digit"], "(did you mean 'digits'?)", "clifctl data ls lists them"),
        (["--epochs", "5"], "no such option: --epochs", "has no dashes: train.epochs=5"),
        (["--lr=0.1"], "no such option: --lr", "has no dashes: train.lr=0.1"),
        (["--batch-size", "8"], "no such option: --batch-size", "train.batch_size=8"),
        (["train.epochs", "=", "5"], "is not an override", "without a space: train.epochs=5"),
        (["train.epochs 5"], "is not an override", "without a space: train.epochs=5"),
        (["LIF"], "'LIF' is not an override", "write neuron.name=lif"),
        (
            ["neuron.exchange={epoch:20,to:lif}"],
            "override neuron.exchange: a space is missing behind the colon of 'epoch:20'",
            "write 'neuron.exchange={epoch: 20,to: lif}'",
        ),
        (["neuron.exchange=to:lif"], "write neuron.exchange.KEY=VALUE, or in quotes", "clif"),
        (["lr=1", "train.epochs=x"], "error: 2 problems\n  override train.epochs", KEYS),
    ],
)
def test_what_was_meant(clifctl: Run, arguments: list[str], error: str, hint: str) -> None:
    done = clifctl("train", "digits_snn5", *arguments)
    assert (done.code, done.out) == (2, "")
    assert error in done.err
    assert "digits_snn5.yaml" not in done.err
    assert hint in done.err.splitlines()[-1]


def test_a_mistake_in_a_file_is_of_the_file(clifctl: Run, tmp_path: Path, root: Path) -> None:
    text = (root / "recipes" / "digits_snn5.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("  epochs:", "  epoch:") + "extra: {a:b}\n")
    err = clifctl("train", "mine.yaml", "train.lr=x").err
    assert err.startswith("error: mine.yaml: 4 problems\n")
    assert "\n  train.epoch: unknown key (did you mean 'train.epochs'?)\n" in err
    assert "\n  override train.lr = 'x': must be a number" in err


def test_names_in_any_case(clifctl: Run, tmp_path: Path) -> None:
    said = ["neuron.name=LIF", "train.optimizer=AdamW", "neuron.surrogate=Triangle"]
    shown = clifctl("recipes", "show", "Digits_SNN5", *said, "--json").json["content"]
    assert (shown["neuron"]["name"], shown["neuron"]["surrogate"]) == ("lif", "triangle")
    assert shown["train"]["optimizer"] == "adamw"
    exchange = "neuron.exchange={epoch: 2, to: CLIF}"
    shown = clifctl("recipes", "show", "digits_snn5", said[0], exchange, "--json").json["content"]
    assert shown["neuron"]["exchange"]["to"] == "clif"
    (tmp_path / "mine.yaml").write_text(clifctl("recipes", "show", "digits_snn5").out)
    text = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("name: digits", "name: Digits"))
    assert (
        clifctl("recipes", "show", "mine.yaml", "--resolved", "--json").json["content"]
        == (clifctl("recipes", "show", "digits_snn5", "--resolved", "--json").json["content"])
    )
    assert clifctl("neurons", "show", "CLIF", "--json").json["neuron"] == "clif"
    assert clifctl("data", "check", "CIFAR10", "--json").json["data"] == "cifar10"


def test_neurons_in_the_place_of_the_recipe(clifctl: Run) -> None:
    for words in (["lif", "CLIF"], ["lif,CLIF"]):
        done = clifctl("compare-neurons", *words)
        assert done.code == 2
        assert "'lif" in done.err.splitlines()[0]
        assert done.err.splitlines()[-1] == "hint: clifctl compare-neurons --neurons lif,CLIF"


def test_a_warm_up_longer_than_the_run_and_a_batch_larger_than_the_data(clifctl: Run) -> None:
    dry = ["train", "digits_snn5", "--dry-run"]
    done = clifctl(*dry, "train.epochs=3", "train.warmup_epochs=4")
    assert done.code == 2
    said = "override train: warmup_epochs = 4 must be at most epochs = 3"
    assert said in done.err
    assert clifctl(*dry, "train.epochs=3", "train.warmup_epochs=3").code == 0
    note = "train.batch_size = 1298 is more than the 1297 training samples"
    assert note in clifctl(*dry, "train.batch_size=1298").err
    assert "training samples" not in clifctl(*dry, "train.batch_size=1297").err


def test_a_run_folder_is_no_recipe(clifctl: Run, tiny: list[str]) -> None:
    assert clifctl("train", "digits_snn5", *tiny, "--out", "a run", "-q").code == 0
    done = clifctl("train", "a run")
    assert done.err == (
        "error: 'a run' is a folder, not a recipe\n"
        "hint: to go on with that run: clifctl train --resume 'a run'\n"
    )
    done = clifctl("eval", "a run/last.pt", "timesteps=3", "--json")
    assert done.json["timesteps"] == 3 == len(done.json["accuracy_percent_per_step"])
    assert done.err == "note: the net runs for T = 3 time steps; it was trained with T = 2\n"
    refused = clifctl("eval", "a run/last.pt", "timesteps=0")
    assert (refused.code, refused.out) == (2, "")
    assert "override timesteps = 0: must be greater than 0" in refused.err
