"""`train.tf32`: in force in whatever computes, put back afterwards, recorded."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from clifctl.errors import RecipeError
from clifctl.experiments.run.manifest import changed_surroundings
from clifctl.recipe.load import load_recipe
from clifctl.training.device import tf32
from clifctl.training.precision import TF32_DEFAULT, Tf32, resolve_tf32

Run = Callable[..., Any]
# Convolutions, products of matrices.
FLAGS = {"convolutions": (True, False), "all": (True, True), "none": (False, False)}


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("name", FLAGS)
def test_it_is_in_force_within_and_put_back(name: Any) -> None:
    before = flags()
    with tf32(name):
        assert flags() == FLAGS[name]
        conv = getattr(torch.backends.cudnn, "conv", None)
        if conv is not None:  # torch's newer flags agree
            assert (conv.fp32_precision == "tf32") is FLAGS[name][0]
    assert flags() == before == FLAGS[TF32_DEFAULT]


@pytest.fixture
def seen() -> Iterator[set[tuple[bool, bool]]]:
    """The flags under which convolutions have run."""
    found: set[tuple[bool, bool]] = set()

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and not inputs[0].is_meta:
            found.add(flags())

    handle = register_module_forward_pre_hook(look)
    yield found
    handle.remove()


def test_every_command_computes_under_it(
    clifctl: Run, tiny: list[str], seen: set[tuple[bool, bool]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert clifctl("train", "digits_snn5", *tiny, "train.tf32=all", "--out", str(run)).code == 0
    last = str(run / "last.pt")
    for command in (
        ["eval", last],
        ["gradients", last, "--samples", "4"],
        ["convert", last, "--output", str(tmp_path / "lif.pt"), "--recalibrate", "1"],
        ["energy", last],
    ):
        assert seen == {FLAGS["all"]}
        seen.clear()
        done = clifctl(*command)
        assert done.code == 0, done.err
    assert seen == {FLAGS["all"]}
    assert flags() == FLAGS[TF32_DEFAULT]
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["tf32"], manifest["tf32_reason"]) == ("none", "a CPU has none")


def test_without_the_key_it_is_torchs_default(
    clifctl: Run, tiny: list[str], seen: set[tuple[bool, bool]]
) -> None:
    assert clifctl("train", "digits_snn5", *tiny, "train.epochs=1").code == 0
    assert seen == {FLAGS[TF32_DEFAULT]}


@pytest.mark.parametrize(
    ("given", "name"), [("true", "all"), ("false", "none"), ("none", "none"), ("all", "all")]
)
def test_yes_and_no_are_understood(given: str, name: str) -> None:
    assert load_recipe("digits_snn5", [f"train.tf32={given}"]).recipe.train.tf32 == name


def test_another_word_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.tf32"):
        load_recipe("digits_snn5", ["train.tf32=high"])


def test_what_it_comes_to_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert resolve_tf32("all", gpu) == Tf32("none", "compute capability 7.5 is below 8.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert resolve_tf32("convolutions", gpu) == Tf32("convolutions", "train.tf32=convolutions")
    assert resolve_tf32("none", gpu).name == "none"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert resolve_tf32("all", gpu) == Tf32("none", "NVIDIA_TF32_OVERRIDE=0 forbids it")


def test_a_run_that_goes_on_with_another_one_is_told() -> None:
    same = ["device_name", "threads", "target", "connections", "processes", "git_commit"]
    same += ["numerics_version"]
    now = {**dict.fromkeys(same, "x"), "versions": dict.fromkeys(("clifctl", "python", "torch"))}
    before = {**now, "tf32": "none"}
    assert changed_surroundings(before, {**now, "tf32": "all"}) == ["TF32: none, now all"]
    assert changed_surroundings(now, {**now, "tf32": "all"}) == []
    assert changed_surroundings(before, before) == []
