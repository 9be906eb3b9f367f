"""`runs ls|show|compare`, and the exchange of a neuron that Figure 3a is about."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.experiments.build import build_net, exchange_neurons, optimizer_of
from clifctl.experiments.runs import differing_keys
from clifctl.models import SpikingLayer
from clifctl.recipe.load import load_recipe
from clifctl.training.checkpoint import load_checkpoint
from clifctl.training.seal import sealed

Run = Callable[..., Any]
TINY = ["digits_rows_mlp", "model.hidden=[8]", "train.batch_size=256", "--target", "reference"]
EXCHANGE = "neuron.exchange={epoch: 2, to: clif}"


@pytest.fixture
def runs(clifctl: Run) -> Run:
    """Three runs: LIF, LIF that becomes CLIF after epoch 2, and CLIF."""
    for out, *overrides in (
        ("runs/a", "neuron.name=lif"),
        ("runs/b", "neuron.name=lif", EXCHANGE),
        ("runs/grid/c", "neuron.name=clif", "train.epochs=2"),
    ):
        done = clifctl("train", *TINY, "train.epochs=4", *overrides, "--out", out, "-q")
        assert done.code == 0, done.err
    return clifctl


def test_runs_are_listed_shown_and_compared(runs: Run, tmp_path: Path) -> None:
    listed = runs("runs", "ls", "--json").json
    assert listed["schema"] == "clifctl.runs/1"
    assert [row["run"] for row in listed["runs"]] == ["runs/a", "runs/b", "runs/grid/c"]
    assert [(row["epochs_done"], row["epochs"]) for row in listed["runs"]] == [
        (4, 4),
        (4, 4),
        (2, 2),
    ]
    exchange = ["neuron.exchange.epoch", "neuron.exchange.to"]
    assert listed["keys"] == ["neuron.name", *exchange, "train.epochs"]
    assert [(row["state"], list(row["hyperparameters"].values())) for row in listed["runs"]] == [
        ("done", ["lif", None, None, 4]),
        ("done", ["lif", 2, "clif", 4]),
        ("done", ["clif", None, None, 2]),
    ]
    lines = (tmp_path / "runs/a/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert listed["runs"][0]["accuracy_percent_last"] == records[-1]["test_accuracy_percent"]
    shown = runs("runs", "show", "runs/b", "--json").json
    assert shown["curves"]["exchange_after_epoch"] == 2
    assert len(shown["curves"]["epochs"]["test_loss"]) == 4
    assert shown["resolved_recipe"]["neuron"]["exchange"] == {"epoch": 2, "to": "clif"}
    assert "exchanged after epoch 2" in runs("runs", "show", "runs/b").out
    arguments = ["runs", "compare", "runs/a", "runs/b", "runs/grid/c"]
    compared = runs(*arguments, "--json", "--plot", "curves.svg").json
    differing = {one["key"]: one["values"] for one in compared["differences"]}
    assert differing["neuron.name"] == ["lif", "lif", "clif"]
    assert differing["train.epochs"] == [4, 4, 2]
    assert differing["neuron.exchange.to"] == [None, "clif", None]
    assert "model.name" not in differing
    assert compared["same_data"] is True
    assert ">exchange<" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
    text = runs(*arguments).out
    assert text.index("recipe differences") < text.index("accuracy, last")
    assert "the recipes are equal" in runs("runs", "compare", "runs/a", "runs/a").out
    (tmp_path / "runs/a/recipe.yaml").write_text("timesteps: 3\n")
    broken = runs("runs", "ls", "--json").json
    assert (len(broken["runs"]), broken["skipped"]) == (2, ["runs/a"])


def test_what_one_neuron_alone_has_is_no_difference_of_its_own() -> None:
    lif = {"neuron.name": "lif", "neuron.tau": 2.0, "title": "a", "neuron.exchange": None}
    mine = {"neuron.name": "mine", "neuron.tau_a": 8.0, "title": "b", "neuron.exchange": None}
    assert differing_keys([lif, mine]) == ["neuron.name"]
    assert differing_keys([lif, mine, {**mine, "neuron.tau_a": 4.0}]) == [
        *("neuron.name", "neuron.tau_a")
    ]
    assert differing_keys([lif, {"neuron.name": "lif", "neuron.exchange": None}]) == ["neuron.tau"]
    assert differing_keys([{"eval.x": 1, "train.lr": 1}, {"eval.x": 2, "train.lr": 2}]) == [
        *("train.lr", "eval.x")
    ]


def test_runs_are_listed_with_the_keys_that_are_asked_for(clifctl: Run, tmp_path: Path) -> None:
    for name, *overrides in (("r0.1", "neuron.tau=1.5"), ("r0.09",), ("p", "neuron.name=plif")):
        train = ("train", *TINY, "train.epochs=1", *overrides, "--out", f"runs/{name}", "--json")
        trained = clifctl(*train).json
        assert trained["state"] == "done"
        assert trained["resolved_recipe"]["train"]["batch_size"] == 256
        if name == "r0.1":
            assert trained["resolved_recipe"]["neuron"]["tau"] == 1.5
    # Whose result an older version wrote.
    result = tmp_path / "runs" / "r0.09" / "result.json"
    older = json.loads(result.read_text())
    del older["resolved_recipe"], older["state"]
    result.write_text(json.dumps(older))
    shown = clifctl("train", "--resume", "runs/r0.09", "--target", "reference", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(shown.out))
    assert (row["neuron"], row["neuron.tau"], row["train.lr"], row["state"]) == (
        *("clif", "2.0", "0.1"),
        "done",
    )
    listed = clifctl("runs", "ls", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(listed)))
    assert [(row["run"], row["neuron.name"], row["neuron.tau"]) for row in rows] == [
        ("runs/p", "plif", "2.0"),
        ("runs/r0.09", "clif", "2.0"),
        ("runs/r0.1", "clif", "1.5"),
    ]
    table = clifctl("runs", "ls")
    assert "3 runs below 'runs': all digits_rows, mlp, T = 8" in table.out
    assert "window" not in table.out
    asked = clifctl("runs", "ls", "--keys", "train.lr,neuron.exchange", "--json").json
    assert asked["runs"][0]["hyperparameters"] == {"train.lr": 0.1, "neuron.exchange": None}
    for wrong, hint in (("tau", "did you mean neuron.tau?"), ("qqqq", "runs show RUN --json")):
        refused = clifctl("runs", "ls", "--keys", wrong)
        assert (refused.code, refused.out) == (2, "")
        assert f"--keys {wrong}: no run here has this key" in refused.err
        assert hint in refused.err


def test_a_damaged_run_is_listed_as_damaged_and_the_others_are_shown(
    clifctl: Run, root: Path, tmp_path: Path
) -> None:
    kept = root / "tests" / "data" / "kept" / "numerics-3" / "finished"

    def damage(name: str, file: str, change: Callable[[bytes], bytes]) -> None:
        shutil.copytree(kept, tmp_path / "runs" / name)
        path = tmp_path / "runs" / name / file
        path.write_bytes(change(path.read_bytes()))

    bad = {
        "not-text": ("recipe.yaml", lambda b: b"\xff\xfe" + b),
        "list": ("recipe.yaml", lambda b: b"- 1\n"),
        "other-type": ("recipe.yaml", lambda b: b.replace(b"data:\n", b"data: [1]\nx:\n")),
        "no-name": ("recipe.yaml", lambda b: b.replace(b"name: clif", b"name: 5")),
        "exchanged": ("recipe.yaml", lambda b: b.replace(b"exchange: null", b"exchange: x")),
        "no-key": ("metrics.jsonl", lambda b: b.replace(b'"test_loss"', b'"test_los"')),
        "no-number": (
            "metrics.jsonl",
            lambda b: b.replace(b'"test_loss": ', b'"test_loss": [], "x":'),
        ),
    }
    for name, (file, change) in bad.items():
        damage(name, file, change)
    good = {
        "whole": ("metrics.jsonl", lambda b: b),
        "torn": ("metrics.jsonl", lambda b: b[:-30]),
        "bytes": ("metrics.jsonl", lambda b: b"\xff\n" + b),
        "lost": ("manifest.json", lambda b: b"\xff"),
        "deep": ("manifest.json", lambda b: b"[" * 100_000),
        "not-finite": (
            "metrics.jsonl",
            lambda b: re.sub(rb'"test_loss": [\d.]+', b'"test_loss": null', b),
        ),
    }
    for name, (file, change) in good.items():
        damage(name, file, change)
    listed = clifctl("runs", "ls", "--json")
    assert listed.code == 0, listed.err
    assert {row["run"] for row in listed.json["runs"]} == {f"runs/{name}" for name in good}
    problems = {one["run"]: one["problem"] for one in listed.json["damaged"]}
    assert set(problems) == {f"runs/{name}" for name in bad} == set(listed.json["skipped"])
    assert "line 3: test_loss is no number" in problems["runs/no-key"]
    done = {row["run"]: row["epochs_done"] for row in listed.json["runs"]}
    assert (done["runs/whole"], done["runs/torn"]) == (4, 3)
    table = clifctl("runs", "ls")
    assert table.code == 0
    assert "damaged: 'runs/not-text'" in table.out
    for name in bad:
        for command in (["show", f"runs/{name}"], ["compare", f"runs/{name}", "runs/whole"]):
            assert clifctl("runs", *command).code == 2
    assert clifctl("runs", "show", "runs/not-finite", "--plot", "x.png").code == 0


@pytest.mark.parametrize("file", ["manifest.json", "metrics.jsonl", "recipe.yaml"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(
    file: str, clifctl: Run, root: Path, tmp_path: Path
) -> None:
    kept = root / "tests" / "data" / "kept" / "numerics-3" / "finished"
    shutil.copytree(kept, tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / file).unlink()
    os.mkfifo(tmp_path / "runs" / "one" / file)
    listed = clifctl("runs", "ls", "--json")
    assert listed.code == 0
    assert len(listed.json["runs"]) == (file == "manifest.json")


def test_runs_are_listed_without_torch(root: Path) -> None:
    program = (
        "import sys; from clifctl.cli.app import run; code = run(['runs', 'ls', sys.argv[1]]); "
        "assert not {'torch', 'numba', 'pandas'} & set(sys.modules); sys.exit(code)"
    )
    kept = root / "tests" / "data" / "kept"
    done = subprocess.run(
        [sys.executable, "-c", program, str(kept)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "6 runs below" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["ls", "nowhere"], "no folder 'nowhere'"),
        (["show", "."], "'.' is not a run folder"),
        (["compare", "."], "needs two run folders"),
        (["compare", ".", ".."], "is not a run folder"),
        (["show", ".", "--plot", "x.gif"], "unknown ending"),
    ],
)
def test_what_is_no_run_is_refused(clifctl: Run, arguments: list[str], part: str) -> None:
    done = clifctl("runs", *arguments)
    assert done.code == 2
    assert part in done.err


def test_until_the_exchange_nothing_differs_and_after_it_the_neuron_does(
    runs: Run, tmp_path: Path
) -> None:
    def losses(run: str) -> list[float]:
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [one["train_loss_train_mode"] for one in records if one["record"] == "epoch"]

    plain, exchanged = losses("runs/a"), losses("runs/b")
    assert plain[:2] == exchanged[:2]
    assert plain[2] != exchanged[2]
    last = tmp_path / "runs/b/last.pt"
    evaluated = runs("eval", str(last), "--target", "reference", "--json").json
    assert evaluated["neuron"] == "clif"
    records = (tmp_path / "runs/b/metrics.jsonl").read_text().splitlines()
    assert evaluated["loss"] == json.loads(records[-1])["test_loss"]
    assert (
        load_checkpoint(last).model.keys()
        == load_checkpoint(tmp_path / "runs/a/last.pt").model.keys()
    )


def test_an_exchange_touches_neither_weights_nor_momentum() -> None:
    recipe = load_recipe(TINY[0], ["neuron.name=lif", "neuron.tau=1.5", EXCHANGE]).recipe
    net = build_net(recipe)
    optimizer, _ = optimizer_of(recipe, net)
    net(torch.rand(8, 4, 8))[0].sum().backward()
    optimizer.step()
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    momenta = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    for epoch, name in ((1, "lif"), (2, "lif"), (3, "clif"), (4, "clif")):
        exchange_neurons(recipe, net, epoch)
        layers = [layer for layer in net.modules() if isinstance(layer, SpikingLayer)]
        assert [layer.neuron.name for layer in layers] == [name] * 2
        assert {dict(layer.hyperparameters)["tau"] for layer in layers} == {1.5}
    assert net.state_dict().keys() == weights.keys()
    for key, value in net.state_dict().items():
        assert torch.equal(value, weights[key]), key
    kept = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(torch.equal(one, other) for one, other in zip(momenta, kept, strict=True))


@pytest.mark.parametrize(
    ("exchange", "part"),
    [
        ("{epoch: 25, to: clif}", "must be less than train.epochs = 25"),
        ("{epoch: 0, to: clif}", "must be greater than 0"),
        ("{epoch: 2, to: cliff}", "did you mean 'clif'"),
        ("{epoch: 2, to: plif}", "'plif' has learnable parameters"),
        ("{epoch: 2, to: relu}", "allows 1 time step"),
        ("{epoch: 2}", "neuron.exchange.to: missing"),
        ("{epoch: 2, too: clif}", "did you mean 'neuron.exchange.to"),
        ("clif", "must be a mapping"),
    ],
)
def test_an_exchange_that_cannot_be_is_refused(clifctl: Run, exchange: str, part: str) -> None:
    done = clifctl("train", TINY[0], "neuron.name=lif", f"neuron.exchange={exchange}", "--dry-run")
    assert done.code == 2
    assert part in done.err


def test_a_checkpoint_does_not_run_the_file_of_an_exchange_unasked(
    runs: Run, tmp_path: Path
) -> None:
    path = tmp_path / "runs/b/last.pt"
    document = torch.load(path, weights_only=True)
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n")
    document["recipe"]["neuron"]["exchange"]["to"] = "evil.py:NEURON"
    buffer = io.BytesIO()
    torch.save(document, buffer)
    path.write_bytes(b"".join(sealed(buffer.getvalue())))
    done = runs("eval", str(path))
    assert done.code == 2
    assert "which is not run unasked" in done.err
    assert not (tmp_path / "ran").exists()
