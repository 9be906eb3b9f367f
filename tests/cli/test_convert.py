"""`clifctl convert` through the command line."""

import csv
import io
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nir
import pytest
import torch
import typer

from clifctl.cli import convert
from clifctl.cli.app import run
from clifctl.cli.exports import EXPORTS
from clifctl.cli.exports.export import Export
from clifctl.errors import ConversionError
from clifctl.report.render import Column, Report, Table
from clifctl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

Run = Callable[..., Any]
# No kernel is compiled for a reset then.
REFERENCE = ["--target", "reference"]
TINY = ["model.hidden=[12,8]", "timesteps=8", "train.batch_size=128", "train.epochs=2"]


def train(folder: Path, *arguments: str) -> Path:
    code = run(["train", *arguments, "--out", str(folder), "-q", *REFERENCE])
    assert code == 0
    return folder / "last.pt"


@pytest.fixture(scope="module")
def clif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIF net, trained on the rows of the digits."""
    folder = tmp_path_factory.mktemp("convert") / "clif"
    return train(folder, "digits_rows_mlp", "neuron.name=clif", *TINY)


@pytest.fixture(scope="module")
def hard(clif: Path) -> Path:
    """That net on LIF neurons with a hard reset."""
    path = clif.parent / "hard.pt"
    arguments = ["--reset", "hard", "--reset-values", "-0.06", "-o", str(path), "-q"]
    assert run(["convert", str(clif), *arguments, *REFERENCE]) == 0
    return path


def test_the_best_reset_becomes_a_checkpoint_that_every_command_takes(
    clifctl: Run, clif: Path
) -> None:
    values = "0,-0.04,-0.1"
    done = clifctl("convert", clif, "--reset-values", values, "-o", "lif.pt", "--json", *REFERENCE)
    assert done.code == 0
    assert "in-sample" in done.err
    result = done.json
    assert result["schema"] == "clifctl.convert.lif/1"
    assert [row["v_reset"] for row in result["settings"]] == [None, 0.0, -0.04, -0.1]
    assert result["chosen_on"] == "train"
    assert (result["samples_choice"], result["samples_test"]) == (1297, 500)
    order = [(row["accuracy_percent_choice"], -row["cross_entropy_choice"]) for row in
             result["settings"]]  # fmt: skip
    best = result["settings"][order.index(max(order))]
    assert result["chosen"] == best
    assert [row["chosen"] for row in result["settings"]].count(True) == 1
    assert result["published"] is None
    own = clifctl("eval", clif, "--json", *REFERENCE).json
    assert result["accuracy_percent_test_given"] == own["accuracy_percent"]
    evaluated = clifctl("eval", "lif.pt", "--json", *REFERENCE)
    assert (evaluated.code, evaluated.err) == (0, "")
    assert evaluated.json["neuron"] == "lif"
    assert evaluated.json["epoch"] == 2
    assert evaluated.json["accuracy_percent"] == best["accuracy_percent_test"]
    assert evaluated.json["firing_rate"] == best["firing_rate"]
    cost = clifctl("energy", "lif.pt", "--json", "-q", *REFERENCE)
    assert [row["neuron"] for row in cost.json["rows"]] == ["relu", "lif"]
    before, after = load_checkpoint(clif), load_checkpoint(Path("lif.pt"))
    assert after.training is None
    assert after.recipe["neuron"]["v_reset"] == (best["v_reset"] or 0.0)
    assert {**after.recipe, "neuron": None} == {**before.recipe, "neuron": None}
    assert all(torch.equal(after.model[name], tensor) for name, tensor in before.model.items())


def test_the_table_is_the_papers(clifctl: Run, clif: Path) -> None:
    done = clifctl("convert", clif, "--recalibrate", "3", *REFERENCE)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "digits_rows, mlp, T = 8: LIF by its reset"
    assert lines[2].split("as trained")[1].split() == [
        "soft", "0", "-0.02", "-0.04", "-0.06", "-0.08", "-0.1",
    ]  # fmt: skip
    assert [line.split("  ")[0].strip() for line in lines[4:8]] == [
        "this net", "this net", "norm re-estimated", "norm re-estimated",
    ]  # fmt: skip
    assert Path(f"{clif.parent.name}-last-lif.pt").is_file()
    again = clifctl("convert", clif, "--recalibrate", "3", "--format", "csv", "-o", "x.pt", "-q",
                    *REFERENCE)  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(again.out)))
    assert len(rows) == 14
    assert again.err == ""
    shown = [row["accuracy_percent_test"] for row in rows[:7]]
    assert lines[5].split()[-7:] == [f"{float(cell):.2f}" for cell in shown]
    # What was estimated anew is what was chosen and written, if that is the better one.
    chosen = next(row for row in rows if row["chosen"] == "true")
    old, new = load_checkpoint(clif).model, load_checkpoint(Path("x.pt")).model
    key = "features.1.norm.running_mean"
    assert torch.equal(old[key], new[key]) is (chosen["recalibrated"] == "false")


def test_a_choice_on_test_data_is_labelled(clifctl: Run, clif: Path) -> None:
    done = clifctl("convert", clif, "--choose-on", "test", "--reset-values", "0", *REFERENCE)
    assert done.code == 0
    assert "in-sample" not in done.err
    assert "Chosen on the test set, as the paper does: its accuracy there is biased." in done.out
    assert done.out.count("this net") == 1


def test_a_choice_on_what_was_held_out(clifctl: Run, data_root: Path, tmp_path: Path) -> None:
    data = ["data.name=npz", f"data.root={data_root}", "data.shape=[3,8,8]", "data.classes=4"]
    given = ["data.validation_share=0.25", "timesteps=3", "train.batch_size=6", "train.epochs=1"]
    net = train(tmp_path / "npz", "digits_rows_mlp", "model.hidden=[6]", *data, *given)
    done = clifctl("convert", net, "--reset-values", "0", "--recalibrate", "2", "--fold-norm",
                   "-o", "lif.pt", "--json", *REFERENCE)  # fmt: skip
    assert (done.code, done.json["chosen_on"]) == (0, "validation")
    assert (done.json["samples_choice"], done.json["samples_test"]) == (8, 8)
    assert "in-sample" not in done.err
    assert (done.json["norms_folded"], done.json["norms_kept"]) == (["features.0.norm"], [])
    written = load_checkpoint(Path("lif.pt"))
    assert written.folded_norms == ("features.0.norm",)
    assert torch.equal(written.model["features.0.norm.weight"], torch.ones(6))
    evaluated = clifctl("eval", "lif.pt", "--json", *REFERENCE).json
    assert evaluated["accuracy_percent"] == done.json["accuracy_percent_test"]


def test_a_graph_is_read_back_before_it_is_kept(clifctl: Run, hard: Path) -> None:
    done = clifctl("convert", hard, "--to", "nir", "-o", "net.nir", "--samples", "3", "--json")
    assert done.code == 0
    result = done.json
    assert (result["schema"], result["verified"]) == ("clifctl.convert.nir/1", True)
    assert (result["profile"], result["v_reset"], result["written"]) == ("portable", -0.06, True)
    assert result["positions"] == 3 * 8 * 20
    for row in result["readers"]:
        assert (row["mismatches"], row["verdict"]) == (0, "same"), row
        assert row["spikes"] == result["readers"][0]["spikes"] > 0
    graph = nir.read("net.nir")
    assert result["bytes"] == Path("net.nir").stat().st_size
    assert set(graph.nodes["features_1_neuron"].v_threshold) == {1.06 / 2}
    assert result["nodes"] == {"Input": 1, "Affine": 3, "LIF": 2, "Output": 1}


def test_the_exact_profile_needs_no_hard_reset(clifctl: Run, clif: Path) -> None:
    soft = clifctl("convert", clif, "--reset", "soft", "-o", "soft.pt", "-q", *REFERENCE)
    assert soft.code == 0
    refused = clifctl("convert", "soft.pt", "--to", "nir")
    assert refused.code == 2
    assert "resets softly" in refused.err
    assert "--profile exact" in refused.err
    assert not Path("soft.nir").exists()
    done = clifctl("convert", "soft.pt", "--to", "nir", "--profile", "exact")
    assert done.code == 0
    assert Path("soft.nir").is_file()
    assert "SpikingJelly: it has no Delay and no LI and no Scale and no Threshold" in done.out
    verdicts = [line.split()[-1] for line in done.out.splitlines()[4:7]]
    assert verdicts == ["same", "run", "run"]


def test_an_exact_graph_that_reads_as_another_one_is_not_kept(
    clifctl: Run, clif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(*arguments: Any) -> None:
        raise ConversionError("reads another graph")

    assert clifctl("convert", clif, "--reset", "soft", "-o", "soft.pt", *REFERENCE).code == 0
    monkeypatch.setattr("clifctl.experiments.exports.nir.compare", another)
    done = clifctl("convert", "soft.pt", "--to", "nir", "--profile", "exact", "--json")
    assert (done.code, done.json["verified"]) == (1, False)
    assert done.json["readers"][0]["note"] == "reads another graph"
    assert not Path("soft.nir").exists()


def test_a_reader_that_finds_other_spikes_ends_it_without_a_file(
    clifctl: Run, hard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.convert import nir_graph

    lif = nir_graph._NODES["neuron"]

    def wrong(layer: Any, given: Any) -> Any:
        node = lif(layer, given)
        node.v_threshold = node.v_threshold * 1.5
        return node

    monkeypatch.setitem(nir_graph._NODES, "neuron", wrong)
    done = clifctl("convert", hard, "--to", "nir", "-o", "net.nir", "--json")
    assert done.code == 1
    assert (done.json["verified"], done.json["written"]) == (False, False)
    assert [row["verdict"] for row in done.json["readers"]] == ["differs"] * 3
    assert "'net.nir' was not written" in done.err
    assert not Path("net.nir").exists()
    kept = clifctl("convert", hard, "--to", "nir", "-o", "net.nir", "--no-verify")
    assert kept.code == 0
    assert Path("net.nir").is_file()


def test_a_reader_that_is_not_there_is_named(
    clifctl: Run, hard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clifctl.convert import readers

    monkeypatch.setattr(
        readers, "find_spec", lambda name: None if name == "snntorch" else find_spec(name)
    )
    done = clifctl("convert", hard, "--to", "nir", "--samples", "1")
    assert done.code == 0
    assert "snnTorch: the package snntorch is not installed" in done.out
    assert "not run" in done.out


def test_a_wrong_read_out_ends_it_too(
    clifctl: Run, hard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No spike tells of the last layer."""
    from clifctl.convert import nir_graph

    linear = nir_graph._NODES["linear"]

    def wrong(layer: Any, given: Any) -> Any:
        node = linear(layer, given)
        if layer.name == "classifier":
            node.bias = node.bias[::-1].copy()
        return node

    monkeypatch.setitem(nir_graph._NODES, "linear", wrong)
    done = clifctl("convert", hard, "--to", "nir", "-o", "net.nir", "--samples", "2")
    assert done.code == 1
    assert "The spikes are the same, the logits are not" in done.out
    assert not Path("net.nir").exists()


def test_layers_that_never_fire_are_named(clifctl: Run, hard: Path) -> None:
    """A verification to which nothing spikes proves little, and says so."""
    checkpoint = load_checkpoint(hard)
    checkpoint.model["features.1.norm.bias"].fill_(-100.0)
    save_checkpoint(checkpoint, Path("silent.pt"))
    done = clifctl("convert", "silent.pt", "--to", "nir", "--samples", "2", "--json")
    assert (done.code, done.json["layers_silent"]) == (0, ["features_1_neuron"])
    shown = clifctl("convert", "silent.pt", "--to", "nir", "--samples", "2", "--overwrite")
    assert "No neuron of features_1_neuron fires on these samples" in shown.out
    checkpoint.model["features.1.norm.bias"].fill_(float("nan"))
    save_checkpoint(checkpoint, Path("nan.pt"))
    for more in ([], ["--no-verify"]):
        refused = clifctl("convert", "nan.pt", "--to", "nir", *more)
        assert refused.code == 1
        assert "features.1.norm.bias is not finite" in refused.err
        assert not Path("nan.nir").exists()


@pytest.mark.parametrize(
    ("name", "net", "norms"),
    [
        ("resnet18", ["data={{name: npz, root: {root}, shape: [3, 8, 8], classes: 4, "
                      "validation_share: 0.25}}", "timesteps=3", "train.batch_size=6"], (9, 8)),
        pytest.param(
            "vgg11", ["data={{name: cifar10, root: {root}}}", "timesteps=1", "neuron.tau=1.6",
                      "neuron.v_threshold=0.7"], (8, 0), marks=pytest.mark.exhaustive,
        ),
    ],
)  # fmt: skip
def test_a_folded_net_goes_all_the_way(
    clifctl: Run, data_root: Path, tmp_path: Path, name: str, net: list[str], norms: tuple[int, int]
) -> None:
    """Convolutions, pools and skip connections, held-out data, T = 1 and other constants: CLIF ->
    LIF, folded -> eval, energy, train --init -> NIR."""
    recipe = ["cifar10_snn5", f"model={{name: {name}, width: 2}}", "train.epochs=1"]
    recipe += [item.format(root=data_root) for item in net]
    trained = train(tmp_path / name, *recipe, "neuron.name=clif")
    how = ["--reset", "hard", "--reset-values", "-0.06", "--recalibrate", "1", "--fold-norm"]
    done = clifctl("convert", trained, *how, "-o", "lif.pt", "--json", *REFERENCE)
    assert done.code == 0, done.err
    assert (len(done.json["norms_folded"]), len(done.json["norms_kept"])) == norms
    own = clifctl("eval", "lif.pt", "--json", *REFERENCE)
    assert own.json["accuracy_percent"] == done.json["accuracy_percent_test"]
    assert clifctl("energy", "lif.pt", "-q", *REFERENCE).code == 0
    lif = ["neuron.name=lif", "neuron.reset=hard", "neuron.v_reset=-0.06"]
    begun = clifctl("train", *recipe, *lif, "--init", "lif.pt", "--out", "on", "-q", *REFERENCE)
    assert begun.code == 0, begun.err
    graph = clifctl("convert", "lif.pt", "--to", "nir", "--samples", "2", "--json")
    assert graph.code == 0, graph.err
    assert [row["mismatches"] for row in graph.json["readers"]] == [0, 0, 0]
    assert graph.json["readers"][0]["spikes"] > 0
    # At T = 1 no spike has a consequence: CLIF is LIF.
    if name == "vgg11":
        soft = clifctl("convert", trained, "--reset", "soft", "-o", "s.pt", "--json", *REFERENCE)
        assert soft.json["accuracy_percent_test"] == soft.json["accuracy_percent_test_given"]
        assert soft.json["firing_rate_given"] == soft.json["chosen"]["firing_rate"]


def test_attention_and_maximum_pools_have_no_graph(
    clifctl: Run, data_root: Path, tmp_path: Path
) -> None:
    data = f"data={{name: npz, root: {data_root}, shape: [3, 8, 8], classes: 4}}"
    net = "model={name: spike_driven_transformer, width: 2, depth: 1, mlp_ratio: 2, pools: 1}"
    arguments = [data, net, "timesteps=2", "train.epochs=1", "train.batch_size=12"]
    trained = train(tmp_path / "sdt", "digits_snn5", *arguments)
    for more, said, hint in (
        (["--fold-norm"], "--fold-norm: module 'embedding.pools.3.pool': max_pool2d", "leave"),
        (["--reset-values", "0.6"], "reset value 0.6: must lie below 0.5", "--reset-values"),
    ):
        refused = clifctl("convert", trained, *more, *REFERENCE)
        assert (refused.code, said in refused.err) == (2, True), refused.err
        assert hint in refused.err.split("hint: ")[1]
    done = clifctl("convert", trained, "--reset", "hard", "-o", "hard.pt", *REFERENCE)
    assert done.code == 0, done.err
    refused = clifctl("convert", "hard.pt", "--to", "nir")
    assert refused.code == 2
    assert "module 'embedding.pools.3.pool': max_pool2d cannot be converted" in refused.err
    assert "average pools" in refused.err.split("hint: ")[1]
    assert {path.name for path in tmp_path.glob("*.*")} == {"hard.pt"}


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reset-values", "0,x"], "'x' is not a number"),
        (["--reset-values", "1.5"], "must lie between -1 and 1"),
        (["--reset", "soft", "--reset-values", "0"], "contradict"),
        (["--recalibrate", "0"], "--recalibrate 0: must be 1 or more"),
        (["-o", "table.json"], "-o is the converted net"),
        (["-o", "-"], "not text"),
        (["-o", "lif.nir"], "--to lif writes no .nir file"),
        (["--to", "nir", "-o", "net.pt"], "--to nir writes no .pt file"),
        (["-o", "."], "'.' is a folder"),
        (["--reset-values", "nan"], "'nan' is not a number"),
        (["--recalibrate", "x"], "--recalibrate"),
        (["--choose-on", "validation"], "'validation' is not one of"),
        (["-o", "missing/lif.pt"], "no folder 'missing'"),
        (["--samples", "4"], "--samples belongs to --to nir"),
        (["--to", "nir", "--recalibrate", "0"], "--recalibrate belongs to --to lif"),
        (["--to", "nir"], "which NIR cannot express"),
        (["--to", "onnx"], "'onnx'"),
        (["timesteps=3"], "is evaluated as it was trained"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_written(
    clifctl: Run, clif: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    before = written(tmp_path)
    done = clifctl("convert", clif, *arguments)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert "hint: " in done.err
    assert written(tmp_path) == before


def test_an_existing_file_stays(clifctl: Run, clif: Path, hard: Path) -> None:
    Path("there.pt").write_text("mine")
    done = clifctl("convert", clif, "-o", "there.pt", *REFERENCE)
    assert (done.code, "exists already" in done.err) == (2, True)
    assert Path("there.pt").read_text() == "mine"
    assert clifctl("convert", clif, "-o", clif, "--overwrite").code == 2
    for more, said in (
        (["--samples", "0"], "--samples 0"),
        (["--samples", "1", "--no-verify"], "contradict each other"),
        (["--target", "numba"], "'numba' was given"),
    ):
        done = clifctl("convert", hard, "--to", "nir", *more)
        assert (done.code, said in done.err) == (2, True), done.err
    for more in (["--to", "nir", "--samples", "1"], ["--reset", "hard", "--reset-values", "0"]):
        done = clifctl("convert", hard, *more, "-o", "/proc/net", "-q")  # a folder that takes none
        assert done.code == 2
        assert "hint: " in done.err
    assert {path.name for path in Path().iterdir()} == {"there.pt"}


def test_an_ann_is_sent_to_another_method(clifctl: Run, tmp_path: Path) -> None:
    ann = train(tmp_path / "ann", "digits_snn5", "neuron.name=relu", "timesteps=1",
                "train.epochs=1", "model.channels=[2,2,2,2,4]", "train.batch_size=512")  # fmt: skip
    for to in ("lif", "nir"):
        done = clifctl("convert", ann, "--to", to)
        assert done.code == 2
        assert "an ANN" in done.err
        assert "spikingjelly.activation_based.ann2snn" in done.err


def test_the_shape_of_the_papers_table(clifctl: Run, tmp_path: Path) -> None:
    """A CLIF net loses with the soft reset and wins most of it back with a hard one a little below
    zero; a LIF net loses with every step down. Four epochs show it, by far more than a seed's
    spread: 5 points and more, 12 and more in three seeds each."""
    accuracy: dict[str, dict[float | None, float]] = {}
    trained = {}
    for neuron in ("clif", "lif"):
        how = [f"neuron.name={neuron}", "timesteps=6", "train.epochs=4"]
        folder = tmp_path / neuron
        assert clifctl("train", "digits_snn5", *how, "--out", folder, "-q").code == 0
        done = clifctl("convert", folder / "last.pt", "--reset-values", "0,-0.1", "--choose-on",
                       "test", "-o", f"{neuron}.pt", "--json", "-q", *REFERENCE)  # fmt: skip
        rows = done.json["settings"]
        accuracy[neuron] = {row["v_reset"]: row["accuracy_percent_test"] for row in rows}
        trained[neuron] = done.json["accuracy_percent_test_given"]
    clif, lif = accuracy["clif"], accuracy["lif"]
    assert trained["clif"] + 1 > clif[-0.1] > clif[None] + 2
    assert trained["lif"] == lif[None] > lif[0.0] > lif[-0.1] + 5


def test_a_net_that_changed_its_neuron_and_other_codes_weights(
    clifctl: Run, tmp_path: Path
) -> None:
    changed = ["neuron.name=lif", "neuron.exchange={epoch: 1, to: clif}", *TINY]
    net = train(tmp_path / "run", "digits_rows_mlp", *changed)
    how = ["--reset-values", "-0.06", "--reset", "hard", "--json", "-q", *REFERENCE]
    done = clifctl("convert", net, *how, "-o", "lif.pt")
    assert (done.code, done.json["trained_neuron"]) == (0, "clif")
    assert load_checkpoint(Path("lif.pt")).recipe["neuron"]["exchange"] is None
    torch.save({"net": load_checkpoint(net).model}, "theirs.pth")
    overrides = ["--recipe", "digits_rows_mlp", "neuron.name=clif", *TINY]
    theirs = clifctl("convert", "theirs.pth", *overrides, *how, "-o", "two.pt")
    assert (theirs.code, theirs.err) == (0, "")
    assert theirs.json["settings"] == done.json["settings"]
    graph = clifctl("convert", "two.pt", "--to", "nir", "--samples", "1", "-q")
    assert (graph.code, Path("two.nir").is_file()) == (0, True)


def test_the_papers_row_stands_beside_its_recipe(
    clifctl: Run, on_disk: Any, tmp_path: Path
) -> None:
    """CIFAR-10's ResNet-18 at full size, with the weights that it starts with and two images."""
    from clifctl.experiments.build import build_net
    from clifctl.recipe.load import load_recipe

    on_disk.write_cifar10(tmp_path / "data", batch_samples=2, test_samples=2)
    recipe = load_recipe("cifar10_resnet18", [f"data.root={tmp_path / 'data'}"]).recipe
    torch.manual_seed(0)
    weights = build_net(recipe).state_dict()
    save_checkpoint(
        Checkpoint("cifar10_resnet18", recipe.document, 1, None, weights), Path("net.pt")
    )
    how = ["--choose-on", "test", "-q", *REFERENCE]
    done = clifctl("convert", "net.pt", "--reset", "soft", "-o", "soft.pt", *how)
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if "the paper's, Table 8" in line)
    assert line.split()[-3:] == ["test", "95.41", "92.95"]
    assert "The paper's row: Table 8, cifar10 / CLIF." in done.out
    # The paper's nets of LIF were trained with it: no row and no accuracy stands beside this one.
    how = ["--reset", "hard", "--reset-values", "0", "-o", "two.pt", "--json", *how]
    again = clifctl("convert", "soft.pt", *how)
    assert (again.json["trained_neuron"], again.json["converted_before"]) == ("clif", True)
    assert again.json["published"] is None
    assert load_checkpoint(Path("two.pt")).trained_neuron == "clif"
    own = clifctl("eval", "soft.pt", "--json", *REFERENCE).json
    assert own["published"]["accuracies"] == []


def test_the_papers_row_may_lack_columns(clifctl: Run, clif: Path) -> None:
    from dataclasses import replace

    from clifctl.experiments.published import published_deployment
    from clifctl.recipe.load import load_recipe
    from clifctl.report.convert import deploy_report
    from clifctl.report.render import render
    from clifctl.results.convert import DeployedRow, DeployResult, PublishedRow

    recipe = load_recipe("cifar100_resnet18", ["neuron.name=clif"]).recipe
    found = published_deployment(recipe)
    assert found is not None
    assert found.accuracy_percent[-0.1] == 76.54
    for change in ("neuron.tau=1.5", "timesteps=4", "model.width=32", "neuron.name=plif"):
        other = load_recipe("cifar100_resnet18", ["neuron.name=clif", change]).recipe
        assert published_deployment(other) is None, change
    done = clifctl("convert", clif, "--reset-values", "0,-0.3", "--json", "-q", *REFERENCE)
    document = done.json
    document.pop("schema")
    rows = tuple(DeployedRow(**row) for row in document["settings"])
    result = DeployResult(
        **{**document, "settings": rows, "chosen": DeployedRow(**document["chosen"])}
    )
    paper = PublishedRow(table=8, row="cifar100 / CLIF", accuracy_percent_trained=78.36,
                         accuracy_percent=(68.72, 73.04, None), note="so")  # fmt: skip
    stream = io.StringIO()
    render(deploy_report(replace(result, published=paper)), "table", stream)
    line = next(line for line in stream.getvalue().splitlines() if "the paper's" in line)
    assert line.split()[-5:] == ["test", "78.36", "68.72", "73.04", "-"]
    assert json.loads(done.out)["published"] is None


def test_a_target_is_a_file_and_a_line_of_the_table(
    clifctl: Run, clif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file of a target holds, here a list of the weights by name."""

    def options(*, longest: int = 9) -> None:
        """Never called."""

    def write(checkpoint: Path, common: Any, *, longest: int) -> dict[str, Any]:
        from clifctl.files import write_text

        weights = load_checkpoint(checkpoint).model
        common.opened(checkpoint)
        names = [name for name in weights if len(name) <= longest]
        write_text(common.out, "\n".join(names))
        return {"output": str(common.out), "names": len(names)}

    def report(result: dict[str, Any]) -> Report:
        columns = (Column("output", "written"), Column("names", "names", 0))
        return Report(
            {"schema": "clifctl.convert.names/1", **result}, (Table("", columns, (result,)),)
        )

    def like(*, longest: int) -> dict[str, Any]:
        return {"output": "x", "names": 1}

    export = Export("--to names lists it.", "-names.lst", (".lst",), options, write, report, like)
    monkeypatch.setitem(EXPORTS, "names", export)
    app = typer.Typer()
    convert.register(app)
    app.command("other")(lambda: None)  # a command alone would have no name
    monkeypatch.setattr("clifctl.cli.app.app", app)

    by_length = sorted(load_checkpoint(clif).model, key=len)
    longest = len(by_length[0])
    wanted = [name for name in by_length if len(name) == longest]
    assert len(wanted) < len(by_length)
    done = clifctl("convert", clif, "--to", "names", "--longest", str(longest), "--json")
    assert done.code == 0, done.err
    assert done.json == {
        "schema": "clifctl.convert.names/1",
        "output": "clif-last-names.lst",
        "names": len(wanted),
    }
    assert Path("clif-last-names.lst").read_text().split() == wanted
    refused = clifctl("convert", clif, "--to", "names", "--reset", "hard")
    assert (refused.code, "--reset belongs to --to lif, not to --to names" in refused.err) == (
        2,
        True,
    )
    refused = clifctl("convert", clif, "--to", "lif", "--longest", "3")
    assert "--longest belongs to --to names, not to --to lif" in refused.err
    refused = clifctl("convert", clif, "--to", "nir", "-o", "net.lst")
    assert "--to nir writes no .lst file" in refused.err
    help = clifctl("convert", "--help").out
    assert "--longest" in help
    assert "--to names lists it." in help
