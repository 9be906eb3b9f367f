"""`clifctl gradients` through the command line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
NET = ["digits_rows_mlp", "model.hidden=[9,5]"]
# No kernel is compiled.
QUICK = ["--target", "reference", "--samples", "12"]


def test_a_recipe_with_fresh_weights(clifctl: Run) -> None:
    done = clifctl("gradients", *NET, *QUICK, "--float64", "--json")
    assert (done.code, done.err) == (0, "")
    result = done.json
    assert result["schema"] == "clifctl.gradients/1"
    assert (result["trained"], result["dtype"], result["timesteps"]) == (False, "float64", 8)
    assert [row["window"] for row in result["windows"]] == list(range(1, 9))
    assert result["windows"][-1]["cosine"] == pytest.approx(1.0, abs=1e-12)
    shares = [layer["temporal_share"] for layer in result["layers"]]
    assert result["temporal_share"] == pytest.approx(sum(shares) / 2)
    for layer, neurons in zip(result["layers"], (9, 5), strict=True):
        assert layer["neurons"] == neurons
        assert layer["reach"][0] == 1.0
        assert layer["split"]["error_max"] < 1e-12
        assert [lag["lag"] for lag in layer["lags"]] == list(range(8))
        assert sum(lag["share"] for lag in layer["lags"]) == pytest.approx(1.0)
        assert layer["lags"][1]["complementary_norm"] > 0
    quick = [*NET, *QUICK, "--float64", "--no-windows", "--json"]
    assert clifctl("gradients", *quick).json["layers"] == result["layers"]
    assert clifctl("gradients", *quick, "--seed", "1").json["layers"] != result["layers"]


def test_what_the_paper_prints_has_an_error(clifctl: Run) -> None:
    arguments = [*NET, *QUICK, "--float64", "--no-windows", "--json"]
    paper = clifctl("gradients", *arguments, "--formula", "paper").json
    xi = clifctl("gradients", *arguments, "--formula", "exact-xi").json
    assert paper["windows"] == []
    for printed, exact in zip(paper["layers"], xi["layers"], strict=True):
        assert printed["split"]["error_relative"] > 1e-3
        assert exact["split"]["error_relative"] < 1e-12
        assert printed["lags"] == exact["lags"]
    lif = clifctl("gradients", *arguments, "--formula", "paper", "neuron.name=lif").json
    for layer in lif["layers"]:
        assert layer["split"]["error_max"] < 1e-12
        vanished = [lag["vanished_share"] for lag in layer["lags"][1:]]
        assert vanished == sorted(vanished)
        assert 0.05 < vanished[0] < vanished[-1] < 1.0


def test_any_neuron_has_lags_and_a_picture(clifctl: Run) -> None:
    arguments = [*NET, *QUICK, "neuron.name=alif", "--layers", "features.1", "--plot", "g.png"]
    done = clifctl("gradients", *arguments, "--format", "csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["lag"] for row in rows] == [str(lag) for lag in range(8)]
    assert {row["layer"] for row in rows} == {"features.1.neuron"}
    assert {row["vanished_share"] for row in rows} == {""}
    assert Path("g.png").read_bytes().startswith(b"\x89PNG")
    table = clifctl("gradients", *arguments[:-2], "--input", "noise").out
    assert "part II" not in table
    assert "normal noise with random labels" in table


def test_a_checkpoint_and_the_comparison(clifctl: Run) -> None:
    """The column of compare-neurons is what `gradients` says of the trial's checkpoint."""
    short = ["model.hidden=[5]", "train.epochs=1", "train.batch_size=256", "--workers", "1"]
    arguments = ["digits_rows_mlp", *short, "--neurons", "lif,clif", "--seeds", "2", "--out", "c"]
    quick = ["--target", "reference", "-q", "--json"]
    plain = clifctl("compare-neurons", *arguments, *quick).json
    assert all(row["summary"]["temporal_share_percent"] is None for row in plain["rows"])
    done = clifctl("compare-neurons", *arguments, *quick, "--gradients")
    assert done.code == 0, done.err
    lif, clif = done.json["rows"]
    assert lif["summary"]["temporal_share_percent"]["n"] == 2
    difference = clif["differences"]["temporal_share_percent"]
    means = [row["summary"]["temporal_share_percent"]["mean"] for row in (clif, lif)]
    assert difference["mean"] == pytest.approx(means[0] - means[1])
    shares = []
    for trial in done.json["trials"]:
        if trial["title"].startswith("clif"):
            path = f"c/{trial['trial']}/last.pt"
            of_trial = clifctl("gradients", path, "--no-windows", *quick).json
            assert of_trial["trained"]
            shares.append(100 * of_trial["temporal_share"])
    assert sum(shares) / 2 == pytest.approx(means[0], rel=1e-4)
    table = clifctl("compare-neurons", *arguments, *quick[:-1], "--gradients").out
    assert "temporal share [%]" in table
    assert "Temporal share of the gradient against lif" in table
    refused = clifctl("gradients", path, "neuron.tau=3")
    assert (refused.code, refused.out) == (2, "")
    assert "is taken as it was trained" in refused.err


def test_notes_say_what_was_looked_at(clifctl: Run) -> None:
    """A truncated recipe, a neuron without a known split, one step, a net without gradient."""
    quick = [*NET, *QUICK, "--no-windows"]
    window = ["neuron.window=2", "neuron.window_reading=chunked"]
    truncated = clifctl("gradients", *quick, *window, "--json").json
    plain = clifctl("gradients", *quick, "--json").json
    assert truncated["layers"] == plain["layers"]
    assert any("window 2 (chunked)" in note for note in truncated["notes"])
    assert not any("window 2" in note for note in plain["notes"])
    alif = clifctl("gradients", *quick, "neuron.name=alif").out
    assert "known for lif and clif alone; for 'alif'" in alif
    one = ["digits_snn5", "model.channels=[2,2,2,2,3]", "timesteps=1", *QUICK]
    done = clifctl("gradients", *one, "--plot", "one.png")
    assert done.code == 0, done.err
    assert "Eq. 14" not in done.out
    silent = clifctl("gradients", *quick, "neuron.v_threshold=1e6", "--plot", "none.png")
    assert silent.code == 0, silent.err
    assert "temporal share -" in silent.out
    assert "No gradient passes features.0.neuron, features.1.neuron" in silent.out


WRONG = [
    (["digits_rows_mlp", "--samples", "1"], "must be 2 or more"),
    (["digits_rows_mlp", "--samples", "99999"], "training samples"),
    (["digits_rows_mlp", "--layers", "features.7"], "unknown layer 'features.7'"),
    (["digits_rows_mlp", "--layers", ","], "the list is empty"),
    (["digits_rows_mlp", "neuron.name=alif", "--formula", "paper"], "known for lif and clif"),
    (["digits_snn5", "neuron.name=relu", "timesteps=1"], "does not spike"),
    (["digits_rows_mlp", "model.recurrent=true", *QUICK], "has recurrent layers"),
    (["nothing.pt"], "nothing.pt"),
    (["digits_rows_mlp", "--plot", "picture.bmp"], "unknown ending"),
    (["cifar100_resnet18"], "--input noise looks at the net without data"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_input(clifctl: Run, arguments: list[str], said: str) -> None:
    done = clifctl("gradients", *arguments, "--target", "reference")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "hint: " in done.err
    assert not list(Path().iterdir())
