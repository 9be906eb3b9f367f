"""`sweep`: points, their table and front, and what is refused."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.cli.lists import swept
from clifctl.errors import UsageError
from clifctl.experiments.grid.points import Axes
from clifctl.experiments.sweep import QUANTITIES, SHORT, _pareto
from clifctl.results.statistics import Estimate
from clifctl.results.summary import Summary
from clifctl.results.sweep import SweptPoint

Run = Callable[..., Any]

TINY = ["digits_rows_mlp", "model.hidden=[8]", "train.epochs=1", "train.batch_size=256"]
HOW = ["--target", "reference", "--workers", "1", "--out", "results"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1", ["0.1"]),
        ("a,'b,c',[1,2]", ["a", "'b,c'", "[1,2]"]),
        ("1..4", ["1", "2", "3", "4"]),
        ("-1..1", ["-1", "0", "1"]),
        ("8,1..2", ["8", "1", "2"]),
        ("1..7:3", ["1", "4", "7"]),
        ("0..1:5", ["0.0", "0.25", "0.5", "0.75", "1.0"]),
        ("1e-3..1e-1:3:log", ["0.001", "0.01", "0.1"]),
        ("1..1000:4:log", ["1", "10", "100", "1000"]),
        ("../x..y", ["../x..y"]),
    ],
)
def test_values_of_a_key(text: str, values: list[str]) -> None:
    assert swept("k", text) == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no value"),
        (" , ", "there is no value"),
        ("4..1", "the range is empty, 4 is more than 1"),
        ("0..1:5:log", "begins above zero"),
        ("-1..1:5:log", "begins above zero"),
        ("0.1..0.2", "how many values?"),
        ("1..4:log", "how many values?"),
        ("1..4:1", "two values or more"),
        ("1..4:0", "two values or more"),
        ("1..999999999", "these are 999,999,999 values"),
        ("[1,2", "] is missing"),
    ],
)
def test_ranges_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=r"^k") as refused:
        swept("k", text)
    assert problem in refused.value.message


def test_points_of_a_product_a_zip_and_a_sample() -> None:
    values = {"a": ["1", "2", "3"], "b": ["x", "y", "z"]}
    axes = Axes(values)
    texts = [point.texts for point in axes.points()]
    assert (axes.count, texts[:4]) == (9, [("1", "x"), ("1", "y"), ("1", "z"), ("2", "x")])
    zipped = Axes(values, zipped=True)
    assert [point.texts for point in zipped.points()] == [("1", "x"), ("2", "y"), ("3", "z")]
    drawn = axes.sample(5, seed=3)
    assert len(set(drawn)) == 5
    assert axes.sample(3, seed=3) == drawn[:3]
    assert axes.sample(5, seed=4) != drawn
    # Far more points than can be listed.
    large = Axes({name: [str(value) for value in range(100)] for name in "abcdefghij"})
    some = large.sample(20, seed=0)
    assert len(set(some)) == 20
    assert large.sample(10, seed=0) == some[:10]
    with pytest.raises(UsageError, match="--sample N"):
        large.points()


def test_short_names_of_quantities_are_quantities() -> None:
    assert set(SHORT.values()) <= set(QUANTITIES)


def point(accuracy: float, energy: float) -> SweptPoint:
    def of(value: float) -> Estimate:
        return Estimate(mean=value, standard_error=None, n=1)

    numbers: dict[str, Any] = dict.fromkeys(QUANTITIES)
    numbers |= {"accuracy_percent_last": of(accuracy), "sop_energy_nj": of(energy)}
    summary = Summary(**numbers, seeds=(0,), beside_most=1)
    return SweptPoint(title="", values={}, is_baseline=False, summary=summary, differences=None)


def test_the_front_has_what_no_other_point_beats() -> None:
    rows = [point(90, 5), point(80, 2), point(85, 6), point(80, 3), point(95, 9), point(90, 5)]
    found = [
        (one.quantity.mean, one.against.mean, one.on_front)
        for one in _pareto(rows, "accuracy_percent_last", "sop_energy_nj")
    ]
    assert found == [
        (80, 2, True),
        (80, 3, False),
        (90, 5, True),
        (90, 5, True),
        (85, 6, False),
        (95, 9, True),
    ]


def test_a_sweep_from_its_trials_to_its_front(clifctl: Run, tmp_path: Path) -> None:
    keys = ["neuron.name=lif,clif", "train.lr=0.05,0.1"]
    asked = ["sweep", *TINY, *keys, "--seeds", "2", *HOW, "--baseline", "neuron.name=lif"]
    done = clifctl(*asked, "--against", "energy", "--json", "--plot", "front.png")
    assert done.code == 0, done.err
    result = done.json
    assert (result["schema"], result["keys"]) == ("clifctl.sweep/1", ["neuron.name", "train.lr"])
    assert (tmp_path / "front.png").stat().st_size > 1000
    values = [tuple(row["values"].values()) for row in result["rows"]]
    assert values == [("lif", 0.05), ("lif", 0.1), ("clif", 0.05), ("clif", 0.1)]
    assert [row["is_baseline"] for row in result["rows"]] == [True, True, False, False]
    records = map(json.loads, (path.read_text() for path in (tmp_path / "results").glob("*.json")))
    loss = {r["title"]: r["measured"]["test_loss"] for r in records if "title" in r}
    assert len(loss) == 8
    for row, lr in zip(result["rows"][2:], ("0.05", "0.1"), strict=True):
        differences = [
            loss[f"neuron = clif, lr = {lr}, seed {s}"] - loss[f"neuron = lif, lr = {lr}, seed {s}"]
            for s in (0, 1)
        ]
        assert row["differences"]["test_loss"]["mean"] == pytest.approx(sum(differences) / 2)
        assert row["summary"]["sop_energy_nj"]["mean"] > 0
        assert row["differences"]["sop_energy_nj"]["n"] == 2
    assert result["best"]["said"] == "best on test"
    best = max(row["summary"]["accuracy_percent_last"]["mean"] for row in result["rows"])
    assert result["best"]["accuracy_percent_last"]["mean"] == best
    assert len(result["pareto"]) == 4
    # Again: nothing is trained or measured, and other columns are asked for.
    again = clifctl(*asked, "--quantity", "energy,parameters", "--format", "csv")
    assert "8 finished before" in again.err
    assert "measuring" not in again.err
    rows = list(csv.DictReader(io.StringIO(again.out)))
    mean = result["rows"][2]["summary"]["sop_energy_nj"]["mean"]
    assert (rows[2]["neuron.name"], float(rows[2]["sop_energy_nj"])) == ("clif", mean)
    assert "best on test" in clifctl(*asked, "--table", "best").out
    # Another key in the same folder: its trials are other ones, and those that are there are taken.
    more = clifctl(
        *("sweep", *TINY, "neuron.name=lif", "train.lr=0.05", "timesteps=8", "neuron.tau=2.0,3.0"),
        *("--seeds", "1", *HOW, "--dry-run", "--json"),
    )
    assert more.code == 0, more.err
    assert (len(more.json["trials"]), more.json["finished"]) == (2, 1)
    other = clifctl("sweep", TINY[0], TINY[1], "train.epochs=2", "train.lr=0.05,0.1", *HOW)
    assert other.code == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["train.lrr=1,2"], "train.lrr: unknown key"),
        (["train.lr=a,b"], "must be a number"),
        (["train.lr=0.1,0.2", "train.lr=0.3"], "train.lr was given twice"),
        (["train.seed=1,2"], "train.seed cannot be swept"),
        (["train.log_every=1,2"], "changes no result"),
        (["--zip", "train.lr=0.1,0.2", "timesteps=8,4,2"], "train.lr has 2, timesteps has 3"),
        (["train.lr=0.1,0.2", "--sample", "3"], "--sample 3: must be between 1 and 2"),
        (["train.lr=0.1,0.2", "--baseline", "train.lr=0.3"], "the sweep has no such value"),
        (["train.lr=0.1,0.2", "--baseline", "train.lrr=0.1"], "did you mean 'train.lr'"),
        (["train.lr=0.1,0.2", "--against", "energi"], "did you mean 'energy'"),
        (["train.lr=0.1..0.2:30", "neuron.tau=1.5..2:30"], "3,600 trials are more than 1,000"),
        (["lif"], "'lif' is not KEY=VALUE"),
    ],
)
def test_what_cannot_be_swept_is_refused(
    clifctl: Run, tmp_path: Path, words: list[str], problem: str
) -> None:
    done = clifctl("sweep", "digits_rows_mlp", *words, *HOW)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert not list(tmp_path.iterdir())
