"""`models ls|show|cp|check`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clifctl.models import MODELS

Run = Callable[..., Any]
FEW = ("timesteps=2", "model.width=4")
ODD = """
import torch
from torch import nn
from clifctl.nn import FoldTime


class Odd(nn.Module):
    def __init__(self, input_shape, classes, timesteps, neuron, *, width: int = 5):
        super().__init__()
        self.first = FoldTime(nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width))
        self.spikes = neuron(width)
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        spikes = self.spikes(self.first(x))
        return self.last(spikes * torch.special.i0e(spikes)).mean(0)
"""


def test_every_net_is_listed_with_its_keys(clifctl: Run) -> None:
    rows = clifctl("models", "ls", "--json").json["models"]
    assert [row["model"] for row in rows] == list(MODELS)
    assert all(row["options"] == list(MODELS[row["model"]].options.model_fields) for row in rows)


def test_a_net_of_the_table_is_shown_for_the_shape_of_a_data_set(clifctl: Run) -> None:
    shown = clifctl("models", "show", "snn5", "--data", "cifar10", "timesteps=3", "--json").json
    assert shown["parameters"] == 1_644_586
    assert (shown["input_shape"], shown["classes"], shown["timesteps"]) == ([3, 32, 32], 10, 3)
    assert shown["logits"] == "each step"
    outputs = [row["output"] for row in shown["layers"] if row["kind"] == "lif"]
    assert outputs[0] == [16, 32, 32]
    assert {row["name"]: row["default"] for row in shown["options"]}["dropout"] == "0.0"


def test_the_template_passes_check_and_trains(clifctl: Run, tmp_path: Path) -> None:
    done = clifctl("models", "cp", "--template", "mine.py")
    assert (done.code, done.out) == (0, "")
    assert "check it with: clifctl models check mine.py:MyNet" in done.err
    assert clifctl("models", "cp", "--template", "mine.py").code == 2  # it is there
    assert "needs --template" in clifctl("models", "cp", "other.py").err
    checked = clifctl("models", "check", "mine.py:MyNet", *FEW, "--json")
    assert checked.code == 0, checked.err
    found = checked.json
    shown = found["shown"]
    # Three convolutions with norms, and a linear layer of 4 maps 4x4.
    assert shown["parameters"] == 9 * (4 + 2 * 16) + 3 * 8 + (64 + 1) * 10
    assert shown["neurons"] == 3 * 4 * 64
    assert [row["name"] for row in shown["options"]] == ["nodes", "width", "dropout"]
    assert all(row["possible"] for row in found["uses"])
    ways = {row["layer"]: row["forward_reason"] for row in found["connections"]}
    assert list(ways) == ["net.stem.0", "net.first.0", "net.second.0", "net.read_out"]
    assert ways["net.stem.0"] == "its input is not spikes"
    keys = ("model.name=mine.py:MyNet", "model.dropout=0.1", "--target", "reference", "--json")
    few = ("train.epochs=1", "train.batch_size=256")
    trained = clifctl("train", "digits_snn5", *FEW, *few, *keys)
    assert trained.code == 0, trained.err
    assert trained.json["firing_rate"] > 0
    assert trained.json["run_folder"] == str(Path("runs") / "digits_MyNet-1")


def test_check_says_what_a_net_cannot_be_used_for(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    done = clifctl(
        "models", "check", "odd.py:Odd", "neuron.name=glif_channel", "timesteps=3", "--json"
    )
    assert done.code == 0, done.err
    uses = {row["command"]: row for row in done.json["uses"]}
    assert done.json["shown"]["logits"] == "whole sequence"
    assert "no accuracy after each step" in uses["eval"]["note"]
    assert not uses["convert --to nir"]["possible"]
    assert "module 'net': special_i0e cannot be converted" in uses["convert --to nir"]["note"]
    assert uses["energy"]["possible"]
    assert "in no total, without one: special_i0e in 'net'" in uses["energy"]["note"]
    assert "learned parameters" in uses["convert --to lif"]["note"]
    assert done.json["shown"]["layers"][2]["kind"] == "BatchNorm1d"
    keys = clifctl("recipes", "keys", "--of", "odd.py:Odd", "--json").json["keys"]
    width = next(key for key in keys if key["key"] == "model.width")
    assert (width["type"], width["default"]) == ("whole number", "5")


def test_a_name_that_is_no_net_is_told(clifctl: Run) -> None:
    done = clifctl("models", "show", "snn6")
    assert done.code == 2
    assert "unknown model 'snn6' (did you mean 'snn5'?)" in done.err
    assert "clifctl models ls" in done.err
