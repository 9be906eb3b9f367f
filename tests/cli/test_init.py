"""`clifctl train --init`: another run from the weights of a checkpoint."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clifctl.training.checkpoint import load_checkpoint, save_checkpoint

Run = Callable[..., Any]
# No kernel is compiled, and a run takes a second.
NET = ["model.hidden=[6]", "timesteps=8", "train.batch_size=400", "--target", "reference", "-q"]
RUN = ["train", "digits_rows_mlp", *NET]


def test_a_run_starts_from_the_weights_of_a_conversion(clifctl: Run) -> None:
    clif = [*RUN, "neuron.name=clif", "train.epochs=1"]
    assert clifctl(*clif, "--out", "clif").code == 0
    to_lif = ["convert", "clif/last.pt", "--reset", "hard", "--reset-values", "-0.06"]
    assert clifctl(*to_lif, "-o", "lif.pt", "-q", "--target", "reference").code == 0
    # A learning rate of next to nothing leaves what it started from.
    still = ["neuron.name=lif", "neuron.reset=hard", "neuron.v_reset=-0.06", "train.epochs=1",
             "train.lr=1e-12", "train.weight_decay=0"]  # fmt: skip
    tuned = clifctl(*RUN, *still, "--init", "lif.pt", "--out", "tuned", "--seed", "3")
    assert tuned.code == 0
    begun, kept = load_checkpoint(Path("lif.pt")).model, load_checkpoint(Path("tuned/last.pt"))
    assert kept.recipe["neuron"]["v_reset"] == -0.06
    for name in ("features.0.connection.1.weight", "classifier.weight"):
        assert torch.allclose(begun[name], kept.model[name], atol=1e-7)
    began = json.loads(Path("tuned/manifest.json").read_text())["init"]
    assert began["checkpoint"] == "lif.pt"
    assert len(began["sha256"]) == 64
    assert json.loads(Path("clif/manifest.json").read_text())["init"] is None


def test_folded_norms_are_said_to_be_normalised_anew(clifctl: Run) -> None:
    loud = [word for word in RUN if word != "-q"]
    assert clifctl(*RUN, "neuron.name=lif", "train.epochs=1", "--out", "lif").code == 0
    to_lif = ["convert", "lif/last.pt", "--reset", "soft", "-q", "--target", "reference"]
    assert clifctl(*to_lif, "-o", "whole.pt").code == 0
    assert clifctl(*to_lif, "--fold-norm", "-o", "folded.pt").code == 0
    folded = load_checkpoint(Path("folded.pt"))
    assert folded.folded_norms
    assert load_checkpoint(Path("whole.pt")).folded_norms == ()
    # The file decides; of an earlier version's, which does not say, the values do.
    save_checkpoint(replace(folded, folded_norms=None), Path("earlier.pt"))
    save_checkpoint(replace(folded, folded_norms=()), Path("alike.pt"))
    known = (("folded", True), ("whole", False), ("earlier", True), ("alike", False))
    for start, said in known:
        begun = clifctl(*loud, "neuron.name=lif", "train.epochs=1", "--init", f"{start}.pt")
        assert (begun.code, "convert without --fold-norm" in begun.err) == (0, said)


def test_a_run_goes_on_with_the_start_that_it_had_alone(clifctl: Run) -> None:
    short = [*RUN, "train.epochs=1"]
    assert clifctl(*short, "--out", "one").code == 0
    assert clifctl(*short, "--out", "two", "--seed", "1").code == 0
    own = [*short, "--out", "three", "--resume", "auto"]
    assert clifctl(*own, "--init", "one/last.pt").code == 0
    assert clifctl(*own, "--init", "one/last.pt").code == 0
    other = clifctl(*own, "--init", "two/last.pt")
    assert other.code == 2
    assert "began with the weights of 'one/last.pt'" in other.err
    assert clifctl(*own).code == 0
    Path("three/last.pt").unlink()
    lost = clifctl(*own)
    assert lost.code == 2
    assert "hint: add --init one/last.pt" in lost.err
    without = clifctl(*short, "--out", "one", "--resume", "auto", "--init", "two/last.pt")
    assert (without.code, "began without --init" in without.err) == (2, True)


def test_weights_of_another_net_are_refused_before_anything_is_written(clifctl: Run) -> None:
    assert clifctl(*RUN, "train.epochs=1", "--out", "one").code == 0
    for given, said in (
        (["model.hidden=[7]", "--init", "one/last.pt"], "do not fit the recipe"),
        (["--init", "none.pt"], "does not exist"),
        (["model.hidden=[7]", "--init", "one/last.pt", "--dry-run"], "do not fit the recipe"),
    ):
        refused = clifctl(*RUN, *given, "--out", "new")
        assert (refused.code, said in refused.err) == (2, True), refused.err
        assert "Traceback" not in refused.err
    assert {path.name for path in Path().iterdir()} == {"one"}
