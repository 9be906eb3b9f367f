"""NIR graphs through the command line: `eval`, `energy` and `convert` take them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from clifctl.cli.app import run
from clifctl.convert.nir_nodes import DT_S

Run = Callable[..., Any]
REFERENCE = ["--target", "reference", "-q"]
DATA = ["--recipe", "digits_rows_mlp", "timesteps=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LIF net with a hard reset to 0, `run/last.pt`, and its graph `net.nir`."""
    folder = tmp_path_factory.mktemp("from_nir")
    net = ["neuron.name=lif", "neuron.reset=hard", "model.hidden=[12,8]", "timesteps=8"]
    train = ["train.epochs=2", "train.batch_size=128", "--out", str(folder / "run")]
    assert run(["train", "digits_rows_mlp", *net, *train, *REFERENCE]) == 0
    graph = ["--to", "nir", "-o", str(folder / "net.nir"), "-q"]
    assert run(["convert", str(folder / "run" / "last.pt"), *graph]) == 0
    return folder


def vector_net(path: Path, read_out: Any = None, classes: int = 10) -> Path:
    """A graph of 64 values without a Flatten, whose read-out may be neurons."""
    generator = np.random.default_rng(0)
    seven = np.ones(7)
    nodes = {
        "input": nir.Input(np.array([64])),
        "fc": nir.Affine(weight=generator.normal(size=(7, 64)), bias=seven),
        "if": nir.IF(r=seven / DT_S, v_threshold=2 * seven, v_reset=0 * seven),
        "last": nir.Linear(weight=generator.normal(size=(classes, 7))),
        **({} if read_out is None else {"read_out": read_out}),
        "output": nir.Output(np.array([classes])),
    }
    nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
    return path


def test_an_exported_net_is_evaluated_as_the_net(clifctl: Run, folder: Path) -> None:
    net = clifctl("eval", folder / "run" / "last.pt", "--json", *REFERENCE).json
    done = clifctl("eval", folder / "net.nir", *DATA, "--json", *REFERENCE)
    assert (done.code, done.err) == (0, "")
    graph = done.json
    same = ("accuracy_percent", "accuracy_percent_per_step", "samples", "firing_rate", "timesteps")
    assert {key: graph[key] for key in same} == {key: net[key] for key in same}
    assert graph["loss"] == pytest.approx(net["loss"], rel=1e-5)
    assert [row["firing_rate"] for row in graph["firing_rates"]] == [
        row["firing_rate"] for row in net["firing_rates"]
    ]
    assert (graph["recipe"], graph["data"]) == ("digits_rows_mlp", "digits_rows")
    assert (graph["model"], graph["neuron"], graph["published"]["accuracies"]) == (
        "net.nir", "lif", [],
    )  # fmt: skip
    by_data = ["--data", "digits_rows", "timesteps=8", "eval.batch_size=64"]
    again = clifctl("eval", folder / "net.nir", *by_data, "--json", *REFERENCE).json
    assert again["accuracy_percent"] == net["accuracy_percent"]
    assert (again["recipe"], again["batch_size"]) == ("digits_rows", 64)


def test_it_costs_what_the_net_costs(clifctl: Run, folder: Path) -> None:
    net, graph = (
        clifctl("energy", source, *data, "--json", *REFERENCE).json["rows"]
        for source, data in ((folder / "run" / "last.pt", []), (folder / "net.nir", DATA))
    )
    assert [row["neuron"] for row in graph] == ["relu", "lif"]
    for ours, theirs in zip(graph, net, strict=True):
        assert ours["corrected"] == theirs["corrected"]
        # The published accounting of Table 6 charges batch norm, which the graph has no more.
        memory = ("potential_mj", "parameters_mj", "in_out_mj", "operations_mj", "total_mj")
        assert {key: ours["paper"][key] for key in memory} == {
            key: theirs["paper"][key] for key in memory
        }
        assert ours["parameters"] == theirs["parameters"] - 2 * (12 + 8)


def test_it_becomes_a_graph_again(clifctl: Run, folder: Path) -> None:
    done = clifctl("convert", folder / "net.nir", "--to", "nir", *DATA, "--samples", "2",
                   "-o", "again.nir", "--json", "-q")  # fmt: skip
    assert (done.code, done.json["verified"]) == (0, True)
    first, again = nir.read(folder / "net.nir"), nir.read("again.nir")
    assert set(again.nodes) == set(first.nodes)
    for name, node in first.nodes.items():
        if isinstance(node, nir.Affine):
            np.testing.assert_array_equal(again.nodes[name].weight, node.weight)
    refused = clifctl("convert", folder / "net.nir", *DATA, "-o", "lif.pt")
    assert refused.code == 2
    assert "there is nothing to put on LIF" in refused.err
    assert not Path("lif.pt").exists()


def test_neurons_of_several_kinds_and_a_read_out(clifctl: Run) -> None:
    ten = np.ones(10)
    path = vector_net(Path("a.nir"), nir.LI(tau=4 * DT_S * ten, r=ten, v_leak=0 * ten))
    data = ["--data", "digits", "timesteps=3", "--target", "reference"]
    done = clifctl("eval", path, *data, "--json")
    assert done.code == 0
    assert "'a.nir' takes [64]: samples [1, 8, 8] are flattened, row by row" in done.err
    assert "'a.nir' has neurons of several kinds: if if, read_out nir_li" in done.err
    assert [row["layer"] for row in done.json["firing_rates"]] == ["if"]
    cost = clifctl("energy", path, *data, "--per-layer", "--json", "-q").json["rows"][-1]
    assert cost["paper"]["total_mj"] > 0
    layers = {layer["layer"]: layer["corrected"] for layer in cost["layers"]}
    # An IF adds its input and subtracts its threshold; u (1 - s) + s v_reset are two MACs.
    assert (layers["if"]["acs"], layers["if"]["macs"]) == (2 * 7 * 3, 2 * 7 * 3)
    # The read-out multiplies its potential and its input, and adds them.
    assert layers["read_out"]["macs"] == 2 * 10 * 3
    spikes = 7 * 3 * cost["firing_rates"][0]["firing_rate"]
    assert layers["last"]["acs"] == pytest.approx(10 * spikes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "says nothing of data"),
        (["--data", "digits_rows", "timesteps=8"], "takes samples [64], those of 'digits_rows'"),
        (["--data", "digits", "neuron.tau=3"], "'neuron.tau=3': the net of"),
        (["--data", "digits", "--model", "mlp"], "'model.name=mlp': the net of"),
        (["--model", "mlp"], "need --recipe, or both --model and --data"),
        (["--data", "digits", "--dt", "0"], "--dt 0.0: must be above 0"),
        (["timesteps=3"], "says nothing of data"),
    ],
)
def test_what_is_wrong_is_said(clifctl: Run, arguments: list[str], said: str) -> None:
    refused = clifctl("eval", vector_net(Path("a.nir")), *arguments, *REFERENCE)
    assert refused.code == 2
    assert refused.out == ""
    assert said in refused.err
    assert refused.err.count("\n") <= 2


def test_other_classes_and_checkpoints_are_told_apart(clifctl: Run, folder: Path) -> None:
    refused = clifctl("eval", vector_net(Path("a.nir"), classes=3), "--data", "digits")
    assert "'a.nir' tells 3 classes apart, 'digits' has 10" in refused.err
    net = folder / "run" / "last.pt"
    refused = clifctl("eval", net, "--data", "digits")
    assert (refused.code, "need --recipe, or both" in refused.err) == (2, True)
    refused = clifctl("eval", net, "--dt", "1e-3")
    assert (refused.code, "is no NIR graph" in refused.err) == (2, True)
