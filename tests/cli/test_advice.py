"""What a hint says to do can be done."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Run = Callable[..., Any]


def own_data(folder: Path, samples: int) -> list[str]:
    """A recipe of `samples` training samples of 3 values."""
    x = np.arange(3 * samples, dtype=np.float32).reshape(samples, 3)
    y = np.arange(samples) % 2
    (folder / "here").mkdir()
    np.savez(folder / "here" / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = ["data.name=npz", "data.root=here", "data.shape=[3]", "data.classes=2"]
    return ["digits_rows_mlp", *data, "model.hidden=[2]", "timesteps=2", "train.epochs=1"]


def hint_of(done: Any) -> str:
    assert (done.code, done.out) == (2, "")
    last: str = done.err.splitlines()[-1]
    assert last.startswith("hint: ")
    return last.removeprefix("hint: ")


@pytest.mark.parametrize(("samples", "batch_size"), [(7, 2), (7, 3), (21, 4), (13, 12)])
def test_the_advised_batch_size_trains(
    clifctl: Run, tmp_path: Path, samples: int, batch_size: int
) -> None:
    recipe = [*own_data(tmp_path, samples), "--dry-run"]
    hint = hint_of(clifctl("train", *recipe, f"train.batch_size={batch_size}"))
    advised = hint.split(" ", 1)[0]
    assert clifctl("train", *recipe, advised).code == 0


def test_of_one_sample_no_batch_size_is_advised(clifctl: Run, tmp_path: Path) -> None:
    recipe = own_data(tmp_path, 1)
    for setting in ("train.batch_size=2", "train.drop_last=true"):
        done = clifctl("train", *recipe, setting)
        assert "1 training sample: batch norm needs two" in done.err
        assert "batch_size=" not in hint_of(done)
    assert hint_of(clifctl("gradients", *recipe, "--samples", "2")).startswith("--input noise")
    noise = ["gradients", *recipe, "--samples", "2", "--input", "noise"]
    assert clifctl(*noise).code == 0


def test_a_run_that_cannot_go_on_so_is_started_anew(
    clifctl: Run, tiny: list[str], tmp_path: Path
) -> None:
    assert clifctl("train", "digits_snn5", *tiny, "--out", "a run", "-q").code == 0
    for change in ("train.epochs=3", "train.lr=0.3"):
        for go_on in (["--resume", "a run"], ["digits_snn5", *tiny, "--out", "a run", "--resume"]):
            auto = ["auto"] if go_on[-1] == "--resume" else []
            hint = hint_of(clifctl("train", *go_on, *auto, change))
            command = hint[hint.index("clifctl train ") :].split(";")[0]
            words = shlex.split(command.replace("KEY=VALUE", change).replace("DIR", "other"))
            assert clifctl(*words[1:], "--dry-run").code == 0
            assert change in words


def test_what_a_checkpoint_takes_instead_of_an_override(clifctl: Run, tmp_path: Path) -> None:
    recipe = own_data(tmp_path, 8)
    assert clifctl("train", *recipe, "--out", "run", "-q").code == 0
    (tmp_path / "here").rename(tmp_path / "moved")
    for command in ("eval", "energy", "gradients"):
        arguments = [command, "run/last.pt"]
        asked = clifctl(*arguments, "data.root=moved")
        assert hint_of(asked) == "a checkpoint takes --root DIR instead"
        assert "KEY=VALUE changes recipes" in hint_of(clifctl(*arguments, "train.lr=1"))
    rooted = clifctl("eval", "run/last.pt", "--root", "moved")
    assert rooted.code == 0, rooted.err
    steps = clifctl("energy", "run/last.pt", "timesteps=3")
    assert hint_of(steps) == "a checkpoint takes --timesteps T instead"


def test_weights_of_other_code_are_no_start(clifctl: Run, tmp_path: Path) -> None:
    torch.save({"net": {"w": torch.zeros(2)}}, tmp_path / "theirs.pt")
    hint = hint_of(clifctl("train", "digits_snn5", "--init", "theirs.pt", "--dry-run"))
    assert hint == "give a last.pt or best.pt that clifctl train wrote"
    assert "--recipe" in hint_of(clifctl("eval", "theirs.pt"))


def test_batch_statistics_of_one_sample_are_left_out(clifctl: Run, tmp_path: Path) -> None:
    recipe = [*own_data(tmp_path, 9), "eval.batch_size=4", "train.batch_size=3"]
    assert clifctl("train", *recipe, "--out", "run", "-q").code == 0
    hint = hint_of(clifctl("eval", "run/last.pt", "--batch-statistics"))
    assert hint.startswith("leave it out")
