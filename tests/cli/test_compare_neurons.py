"""`compare-neurons`: identical conditions, the table, and a command that can be killed."""

import csv
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.data import shuffled_batches
from clifctl.experiments.build import build_net, load_data
from clifctl.neurons import NEURONS
from clifctl.recipe.load import open_recipe
from clifctl.training.checkpoint import load_checkpoint
from clifctl.training.device import seed_everything
from clifctl.training.lock import OWNER

Run = Callable[..., Any]

# A trial takes a few tenths of a second; the reference compiles no kernel.
TINY = [
    "digits_rows_mlp",
    "model.hidden=[8]",
    "train.epochs=2",
    "train.batch_size=256",
    "--target",
    "reference",
]
ROOT = Path(__file__).resolve().parent.parent.parent
COMPARE = ["compare-neurons", *TINY, "--workers", "1", "--out", "results"]


def cell(row: dict[str, Any], name: str) -> Any:
    return row["summary"][name]


def test_every_neuron_starts_from_the_same_weights_data_order_and_augmentation() -> None:
    source = open_recipe("digits_snn5", ["timesteps=3"])
    starts = {}
    for name in NEURONS:
        steps = ["timesteps=1"] if name == "relu" else []
        recipe = source.variant([f"neuron.name={name}", *steps]).recipe
        generator = seed_everything(7)
        weights = build_net(recipe).state_dict()
        drawn = torch.rand(3)  # what dropout would draw
        data = load_data(recipe)
        batches = shuffled_batches(data.train, 32, generator, data.augment)
        starts[name] = (weights, drawn, [next(batches) for _ in range(3)])
    weights, drawn, lif_batches = starts["lif"]
    assert len(starts) >= 10
    for name, (other, other_drawn, other_batches) in starts.items():
        extra = {key.rpartition(".")[2] for key in other.keys() - weights.keys()}
        assert extra == {learnable.name for learnable in NEURONS[name].learnables}, name
        for key, tensor in weights.items():
            assert torch.equal(tensor, other[key]), f"{name}: {key}"
        assert torch.equal(drawn, other_drawn), name
        for (inputs, targets), (theirs, labels) in zip(lif_batches, other_batches, strict=True):
            assert torch.equal(inputs[0], theirs[0]), name
            assert torch.equal(targets, labels), name


def test_what_a_neuron_draws_depends_on_seed_and_layer() -> None:
    def gates(seed: int) -> list[float]:
        recipe = open_recipe("digits_snn5").variant(["neuron.name=glif"]).recipe
        torch.manual_seed(seed)
        state = build_net(recipe).state_dict()
        return [float(value) for key, value in state.items() if key.endswith((".alpha", ".beta"))]

    first = gates(1)
    assert len(set(first)) == len(first) == 10
    assert all(-0.1 <= gate <= 0.1 for gate in first)
    assert gates(1) == first
    assert not set(gates(2)) & set(first)


def test_the_table_compares_pair_by_pair(clifctl: Run, tmp_path: Path) -> None:
    done = clifctl(*COMPARE, "--neurons", "lif,clif", "--seeds", "3", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["schema"] == "clifctl.compare-neurons/1"
    assert (result["baseline"], result["seeds_asked"]) == ("lif", 3)
    lif, clif = result["rows"]
    assert (lif["neuron"], lif["is_baseline"], lif["differences"]) == ("lif", True, None)
    assert cell(lif, "seeds") == [0, 1, 2]
    records = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")]
    by_title = {record["title"]: record["measured"] for record in records if "title" in record}
    assert sorted(by_title) == [f"{n}, seed {s}" for n in ("clif", "lif") for s in range(3)]
    for quantity in ("accuracy_percent_last", "test_loss", "train_loss_train_mode"):
        differences = [
            by_title[f"clif, seed {s}"][quantity] - by_title[f"lif, seed {s}"][quantity]
            for s in range(3)
        ]
        found = clif["differences"][quantity]
        assert found["mean"] == pytest.approx(sum(differences) / 3)
        assert found["n"] == 3
        assert found["wins"] == sum(one > 0 for one in differences)
        mean = sum(by_title[f"clif, seed {s}"][quantity] for s in range(3)) / 3
        assert cell(clif, quantity)["mean"] == pytest.approx(mean)
    # A train run of the same recipe and seed gives the same numbers.
    train = clifctl("train", *TINY, "neuron.name=clif", "--seed", "2", "--json").json
    assert train["test_loss"] == by_title["clif, seed 2"]["test_loss"]
    assert train["parameters"] == by_title["clif, seed 2"]["parameters"]
    assert by_title["clif, seed 2"]["steps_timed"] == 10  # 6 steps an epoch, the first left out
    assert len(clif["test_loss_curve"]["mean"]) == 2
    assert any("no difference can be concluded for clif" in line for line in result["conclusions"])
    # Started again: nothing is run, and every format says the same.
    again = clifctl(*COMPARE, "--neurons", "lif,clif", "--seeds", "3", "--format", "csv")
    assert "6 finished before" in again.err
    rows = list(csv.DictReader(io.StringIO(again.out)))
    assert float(rows[1]["test_loss"]) == cell(clif, "test_loss")["mean"]
    p = clif["differences"]["test_loss"]["p_value_holm"]
    assert float(rows[1]["test_loss_difference_p_value_holm"]) == p
    shown = clifctl(*COMPARE, "--neurons", "lif,clif", "--seeds", "3")
    mean, error = cell(clif, "test_loss")["mean"], cell(clif, "test_loss")["standard_error"]
    assert f"{mean:.3f} ± {error:.3f}" in shown.out
    assert "Holm's method" in shown.out
    more = clifctl(*COMPARE, "--neurons", "lif,clif,plif", "--seeds", "3", "--dry-run", "--json")
    plan = more.json
    assert (plan["schema"], plan["finished"]) == ("clifctl.trials.plan/1", 6)
    assert sorted(trial["title"] for trial in plan["trials"] if trial["state"] == "missing") == [
        f"plif, seed {seed}" for seed in range(3)
    ]
    assert all(trial["step_ms"] > 0 for trial in plan["trials"] if trial["state"] == "missing")
    assert plan["estimate_seconds"] > 0


def test_one_seed_has_no_error_bar(clifctl: Run) -> None:
    done = clifctl(*COMPARE, "--neurons", "lif,clif", "--seeds", "1", "--json")
    assert done.code == 0
    row = done.json["rows"][1]
    assert cell(row, "accuracy_percent_last")["standard_error"] is None
    assert row["differences"]["test_loss"]["p_value"] is None
    (sentence,) = done.json["conclusions"]
    assert "nothing can be concluded" in sentence
    shown = clifctl(*COMPARE, "--neurons", "lif,clif", "--seeds", "1").out
    assert " ± " not in shown.split("paired differences")[0].replace("mean ± standard", "")


def test_settings_baseline_ann_and_a_neuron_of_ones_own(
    clifctl: Run, root: Path, tmp_path: Path
) -> None:
    text = (root / "clifctl" / "neurons" / "lif.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    arguments = ["digits_snn5", "train.epochs=1", "train.batch_size=256", "timesteps=1"]
    arguments += ["model.channels=[2,2,2,2,2]", "--target", "reference", "--seeds", "2"]
    arguments += ["--workers", "1"]
    arguments += ["--neurons", "relu,lif,clif,mine.py:NEURON", "--batch-norm", "per_step,folded"]
    done = clifctl("compare-neurons", *arguments, "--out", "r", "--plot", "p.svg", "--json")
    assert done.code == 0, done.err
    rows = {(row["neuron"], row["batch_norm"]): row for row in done.json["rows"]}
    assert len(rows) == 8
    for norm in ("per_step", "folded"):
        # T = 1: CLIF is LIF, and so is a copy of LIF.
        for name in ("clif", "mine.py:NEURON"):
            found = rows[name, norm]["differences"]["test_loss"]
            assert (found["mean"], found["ties"], found["p_value"]) == (0.0, 2, None)
        assert rows["relu", norm]["differences"]["firing_rate"] is None
        assert cell(rows["relu", norm], "firing_rate") is None
    assert any("the same in every seed for clif" in line for line in done.json["conclusions"])
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").count("<path") > 20
    steps = ["timesteps=2", "--timesteps", "1,2", "--neurons", "relu,lif", "--baseline", "relu"]
    plan = clifctl("compare-neurons", *arguments, *steps, "--out", "r", "--dry-run", "--json").json
    titles = {trial["title"] for trial in plan["trials"] if trial["seed"] == 0}
    assert titles == {
        f"{what}, {norm}, seed 0"
        for what in ("relu, T = 1", "lif, T = 1", "lif, T = 2")
        for norm in ("per_step", "folded")
    }


@pytest.mark.parametrize("timesteps", ["1,3", pytest.param("3,1,2", marks=pytest.mark.exhaustive)])
def test_the_ann_is_one_row_whatever_t_is(clifctl: Run, timesteps: str) -> None:
    net = ["digits_snn5", "model.channels=[1,1,1,1,1]", "train.epochs=1", "train.batch_size=1297"]
    grid = ["--neurons", "lif,relu", "--timesteps", timesteps, "--seeds", "2", "--workers", "1"]
    arguments = ("compare-neurons", *net, *grid, "--target", "reference", "-q")
    done = clifctl(*arguments, "--json")
    assert done.code == 0, done.err
    rows = [row for row in done.json["rows"] if row["neuron"] == "relu"]
    assert [(row["timesteps"], row["paired_timesteps"]) for row in rows] == [(1, 3)]
    table = clifctl(*arguments).out
    # Once for each quantity.
    assert table.count("relu (T = 1 against T = 3)   test loss") == 1
    assert "relu (T = 1)" not in table


def test_a_trial_that_fails_is_told_and_stops_no_other(clifctl: Run, tmp_path: Path) -> None:
    arguments = [*COMPARE, "train.lr=1e38", "--neurons", "lif,clif", "--seeds", "1"]
    done = clifctl(*arguments, "--json")
    assert done.code == 1
    assert "2 of 2 trials failed: lif, seed 0: the training loss became" in done.err
    assert [trial["state"] for trial in done.json["trials"]] == ["failed", "failed"]
    fast = clifctl(*arguments[:-1], "2", "--fail-fast", "--json")
    assert [trial["state"] for trial in fast.json["trials"]] == [
        "failed",
        "failed",
        "missing",
        "missing",
    ]
    assert fast.err.count("failed lif") == 1


def test_shards_add_up(clifctl: Run) -> None:
    arguments = [*COMPARE, "--neurons", "lif,clif", "--seeds", "1"]
    first = clifctl(*arguments, "--shard", "1/2", "--json")
    assert first.code == 0
    assert [trial["state"] for trial in first.json["trials"]] == ["finished", "missing"]
    assert "1 of 2 trials are not finished" in clifctl(*arguments, "--shard", "1/2").out
    second = clifctl(*arguments, "--shard", "2/2", "--json")
    assert [trial["state"] for trial in second.json["trials"]] == ["finished", "finished"]
    assert "began lif" not in second.err


def test_the_exchange_of_a_neuron_is_marked(clifctl: Run, tmp_path: Path) -> None:
    arguments = ["neuron.exchange={epoch: 1, to: clif}", "--neurons", "lif", "--seeds", "1"]
    done = clifctl(*COMPARE, *arguments, "--json", "--plot", "p.svg")
    assert done.code == 0, done.err
    assert done.json["exchange_after_epoch"] == 1
    assert done.json["conclusions"] == ["One neuron: there is nothing to compare it with."]
    assert "exchanged for clif after epoch 1" in clifctl(*COMPARE, *arguments).out


@contextmanager
def killed_worker(results: Path) -> Iterator[list[int]]:
    """Kill the first worker process that has finished an epoch of a trial."""
    killed: list[int] = []

    def watch() -> None:
        deadline = time.monotonic() + 600
        while not killed and time.monotonic() < deadline:
            time.sleep(0.01)
            for metrics in results.glob("*/metrics.jsonl"):
                with suppress(OSError, ValueError):  # of a trial that has just ended
                    worker = json.loads((metrics.parent / OWNER).read_text())["pid"]
                    if not killed and worker in {c.pid for c in multiprocessing.active_children()}:
                        os.kill(worker, signal.SIGKILL)
                        killed.append(worker)

    thread = threading.Thread(target=watch)
    thread.start()
    yield killed
    thread.join()


def test_a_worker_that_the_system_kills_is_replaced(clifctl: Run, tmp_path: Path) -> None:
    long = [*COMPARE, "train.epochs=12", "--neurons", "lif", "--seeds", "2"]
    long[long.index("--workers") + 1] = "2"
    with killed_worker(tmp_path / "results") as killed:
        done = clifctl(*long, "--json")
    assert len(killed) == 1
    assert done.code == 0, done.err
    assert "ended by SIGKILL; it is tried once more" in done.err
    assert sorted(trial["attempts"] for trial in done.json["trials"]) == [1, 2]
    assert cell(done.json["rows"][0], "seeds") == [0, 1]
    assert cell(done.json["rows"][0], "beside_most") == 2


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    for row in document["rows"]:
        for name in ("step_ms", "train_seconds", "peak_memory_bytes"):
            del row["summary"][name]
    del document["results_folder"]
    return document


def test_a_command_that_is_killed_goes_on_and_gives_the_same_table(
    clifctl: Run, tmp_path: Path
) -> None:
    arguments = [*COMPARE, "train.epochs=4", "--neurons", "lif,clif", "--seeds", "2"]
    arguments += ["--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "clifctl", *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    results = tmp_path / "results"
    deadline = time.monotonic() + 600
    # Two trials are finished, the third has begun.
    while len(list(results.glob("*/metrics.jsonl"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    records = [path for path in results.glob("*.json") if path.name != "grid.json"]
    finished = {path: path.stat().st_mtime_ns for path in records}
    assert 2 <= len(finished) <= 3
    done = clifctl(*arguments)
    assert done.code == 0, done.err
    assert f"{len(finished)} finished before" in done.err
    for path, written in finished.items():
        assert path.stat().st_mtime_ns == written
    arguments[arguments.index("results")] = "whole"
    assert without_times(done.json) == without_times(clifctl(*arguments).json)


def test_a_dask_cluster_runs_the_trials(clifctl: Run, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    arguments = ["compare-neurons", *TINY, "--out", "results"]
    arguments += ["--neurons", "lif,clif", "--seeds", "1", "--json"]
    settings = {"processes": False, "dashboard_address": None, "protocol": "tcp://"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **settings) as cluster:
        refused = clifctl(*arguments, "--scheduler", cluster.scheduler_address)
        assert refused.code == 2
        assert "a process of its own" in refused.err
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **settings) as cluster:
        done = clifctl(*arguments, "--scheduler", cluster.scheduler_address)
        assert done.code == 0, done.err
    assert [trial["state"] for trial in done.json["trials"]] == ["finished", "finished"]
    runs = list((tmp_path / "results").glob("*/last.pt"))
    assert len(runs) == 2
    assert all(load_checkpoint(run).epoch == 2 for run in runs)
    arguments[arguments.index("results")] = "here"
    here = clifctl(*arguments, "--workers", "1")
    assert without_times(here.json) == without_times(done.json)


def test_a_neuron_has_hyperparameters_of_its_own(clifctl: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from clifctl.neurons.lif import NEURON as MINE\n")
    listed = "lif,lif(tau=4),mine.py:MINE( tau = 4 , reset=hard),lif(tau=4.0)"
    done = clifctl(*COMPARE, "--neurons", listed, "--seeds", "1", "train.epochs=1", "--json")
    assert done.code == 0, done.err
    labels = ["lif", "lif(tau=4)", "mine.py:MINE(tau=4, reset=hard)"]
    assert [row["neuron"] for row in done.json["rows"]] == labels
    assert [row["is_baseline"] for row in done.json["rows"]] == [True, False, False]
    titles = [trial["title"] for trial in done.json["trials"]]
    assert titles == [f"{label}, seed 0" for label in labels]
    losses = [cell(row, "test_loss")["mean"] for row in done.json["rows"]]
    assert len(set(losses)) == 3
    # It is what the same key gives every neuron by an override, and is never run twice.
    other = ["--neurons", "lif,clif(tau=3)", "--baseline", "clif( tau=3 )", "neuron.tau=4"]
    again = clifctl(*COMPARE, *other, "--seeds", "1", "train.epochs=1", "--dry-run", "--json")
    assert again.code == 0, again.err
    assert [trial["state"] for trial in again.json["trials"]] == ["finished", "missing"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--neurons", "lif,cliff"], "did you mean 'clif'"),
        (["--neurons", ","], "the list is empty"),
        (["--neurons", "lif,none.py:Foo"], "no file 'none.py'"),
        (["--neurons", "lif,relu"], "relu: it runs for 1 time step, and data set 'digits_rows' is"),
        (["--neurons", "lif,relu"], "hint: leave relu out"),
        (["--neurons", "lif(taus=4)"], "lif(taus=4): "),
        (["--neurons", "lif(taus=4)"], "(did you mean 'neuron.tau=4'?)"),
        (["--neurons", "lif(tau=0.5)"], "neuron.tau = 0.5: must be greater than 1"),
        (["--neurons", "lif(tau)"], "--neurons lif(tau): 'tau' is not KEY=VALUE"),
        (["--neurons", "lif(name=clif)"], "'name=clif' is not KEY=VALUE"),
        (["--neurons", "cliff(tau=4)"], "did you mean 'clif'"),
        (["--seeds", "0"], "--seeds 0"),
        (["--timesteps", "4"], "has 8 time steps"),
        (["--timesteps", "x"], "'x' is not a whole number"),
        (["--batch-norm", "fold"], "did you mean 'folded'"),
        (["--baseline", "alif"], "--baseline"),
        (["--workers", "0"], "--workers 0"),
        (["--workers", "500"], "are free"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--out", "letter.txt"], "is a file"),
        (["--out", "."], "left alone"),
        (["--plot", "x.gif"], "unknown ending"),
        (["--plot", "none/x.png"], "no folder"),
        (["-o", "x.png", "--plot", "x.png", "--format", "md"], "would overwrite"),
        (["train.lr=-1"], "must be greater than 0"),
        (["neuron.exchange={epoch: 1, to: plif}", "--neurons", "lif"], "learnable parameters"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_written(
    clifctl: Run, tmp_path: Path, arguments: list[str], part: str
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    out = [] if "--out" in arguments else ["--out", "results"]
    done = clifctl("compare-neurons", *TINY, *out, *arguments)
    assert done.code == 2, done
    assert part in done.err
    assert done.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_column_is_added_in_one_place(tmp_path: Path) -> None:
    """A quantity of a run that is declared in `Quantities` is in records, csv and tables."""
    for folder in ("clifctl", "recipes"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    trials = tmp_path / "clifctl" / "results" / "trials.py"
    rate = "    firing_rate: Annotated[Value | None, FIRING_RATE]\n"
    speed = 'Quantity("training speed", "samples/s", 0, compared=True)'
    added = f"    samples_per_second: Annotated[Value | None, {speed}] = None\n"
    text = trials.read_text()
    assert rate in text
    text = text.replace(rate, rate + added).replace(
        "    FIRING_RATE,", "    FIRING_RATE, Quantity,"
    )
    trials.write_text(text)

    words = [*COMPARE, "train.epochs=1", "--neurons", "lif,clif", "--seeds", "2", "-q"]
    program = f"""from clifctl.cli.app import run
if __name__ == "__main__":
    assert run({[*words, "-o", "r.csv"]}) == run({[*words, "-o", "r.md"]}) == 0"""
    (tmp_path / "both.py").write_text(program)
    subprocess.run([sys.executable, "both.py"], cwd=tmp_path, check=True)
    with (tmp_path / "r.csv").open(encoding="utf-8") as stream:
        lif, clif = csv.DictReader(stream)
    speeds: dict[str, list[float]] = {"lif": [], "clif": []}
    for path in (tmp_path / "results").glob("*[0-9a-f].json"):
        record = json.loads(path.read_text())
        if "measured" in record:
            measured = record["measured"]["samples_per_second"]
            speeds[record["title"].partition(",")[0]].append(measured)
    means = {name: sum(values) / 2 for name, values in speeds.items()}
    assert float(lif["samples_per_second"]) == pytest.approx(means["lif"])
    assert float(clif["samples_per_second"]) == pytest.approx(means["clif"])
    difference = float(clif["samples_per_second_difference_mean"])
    assert difference == pytest.approx(means["clif"] - means["lif"])
    table = (tmp_path / "r.md").read_text()
    assert "| training speed [samples/s] |" in table
    assert f"| {difference:+.0f} ± " in table
