"""`convert` of nets whose layers have neurons of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import pytest
import torch

from clifctl.convert.nir_nodes import DT_S
from clifctl.training.checkpoint import load_checkpoint

Run = Callable[..., Any]
NET = """
from torch import nn
from spikingjelly.activation_based import layer, neuron as sj
from clifctl.nn import CLIF, Spiking


class Mixed(nn.Module):
    def __init__(self, input_shape, classes, neuron, *, width: int = 9):
        super().__init__()
        self.first = layer.SeqToANNContainer(nn.Flatten(), nn.Linear(64, width))
        self.lif = sj.LIFNode(tau=1.5, v_threshold=0.25, v_reset=None, step_mode="m")
        self.second, self.clif = nn.Linear(width, width), CLIF(tau=3.0, v_threshold=0.5)
        self.third, self.given = nn.Linear(width, width), neuron(width)
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        x = self.clif(self.second(self.lif(self.first(x))))
        out = self.given(self.third(x))
        out += x
        return self.last(out)


class Integrating(Mixed):
    def __init__(self, input_shape, classes, neuron):
        super().__init__(input_shape, classes, neuron)
        self.lif = sj.IFNode(v_threshold=0.25, v_reset=-0.125, step_mode="m")
        self.clif = sj.LIFNode(v_threshold=0.5, v_reset=0.1, step_mode="m")
"""
NAMED = ("--data", "digits", "timesteps=4", "model.nodes=own", "neuron.tau=4")
REFERENCE = ("--target", "reference", "--json", "-q")


@pytest.fixture
def weights(clifctl: Run, tmp_path: Path) -> Path:
    """Weights of either net, as another program writes them; its file is `net.py`."""
    (tmp_path / "net.py").write_text(NET)
    generator = torch.Generator().manual_seed(2)
    state = {}
    for name, (outputs, inputs) in {
        "first.1": (9, 64), "second": (9, 9), "third": (9, 9), "last": (10, 9),
    }.items():  # fmt: skip
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) * 0.5
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.5
    torch.save(state, tmp_path / "weights.pt")
    return Path("weights.pt")


def test_each_node_becomes_lif_with_its_own_constants(clifctl: Run, weights: Path) -> None:
    model = ("--model", "net.py:Mixed", *NAMED)
    hard = ("--reset", "hard", "--reset-values", "-0.125", "-o", "hard.pt")
    done = clifctl("convert", weights, *model, *hard, *REFERENCE)
    assert done.code == 0, done.err
    assert done.json["trained_neuron"] == "lif, clif"
    recipe = load_checkpoint(Path("hard.pt")).recipe
    assert (recipe["model"]["nodes"], recipe["neuron"]["tau"]) == ("lif", 4.0)
    trust = ("--trust", "net.py:Mixed")
    found = clifctl("eval", "hard.pt", *trust, *REFERENCE)
    assert found.json["accuracy_percent"] == done.json["accuracy_percent_test"]
    graph = clifctl("convert", "hard.pt", "--to", "nir", *trust, "-o", "net.nir", "--json", "-q")
    assert (graph.code, graph.json["verified"]) == (0, True), graph.err
    assert [row["mismatches"] for row in graph.json["readers"]] == [0, 0, 0]
    assert (graph.json["v_threshold"], graph.json["v_reset"]) == (None, -0.125)
    nodes = nir.read("net.nir").nodes
    # SpikingJelly's node divides its input by tau, so its threshold is not.
    expected = {"lif": (1.5, 0.375), "clif": (3.0, 0.625 / 3), "given": (4.0, 1.125 / 4)}
    for name, (tau, threshold) in expected.items():
        node = nodes[f"net_{name}_neurons"]
        assert node.tau.tolist() == pytest.approx([tau * DT_S] * 9)
        assert node.v_threshold.tolist() == pytest.approx([threshold] * 9)
    again = clifctl("convert", "hard.pt", *trust, "--reset", "soft", "-o", "soft.pt", *REFERENCE)
    assert again.json["trained_neuron"] == "lif, clif"
    own = clifctl("convert", "soft.pt", "--to", "nir", *trust, "-o", "soft.nir")
    assert own.code == 2
    assert "its layer 'net.lif.neurons' is of 'lif' that resets softly" in own.err


def test_if_and_hard_lif_are_written_as_they_are(clifctl: Run, weights: Path) -> None:
    model = ("--model", "net.py:Integrating", *NAMED, "neuron.reset=hard")
    done = clifctl("convert", weights, "--to", "nir", *model, "-o", "net.nir", "--json", "-q")
    assert (done.code, done.json["verified"]) == (0, True), done.err
    rows = done.json["readers"]
    assert [row["verdict"] for row in rows] == ["same", "same", "not run"]
    assert rows[2]["note"] == "it reads an IF as a leaky neuron (beta = 0.9), and none of r = 1/dt"
    assert rows[0]["spikes"] > 0
    assert done.json["v_reset"] is None
    node = nir.read("net.nir").nodes["net_lif_neurons"]
    assert type(node) is nir.IF
    assert set(node.v_threshold) == {0.375}
    refused = clifctl("convert", weights, *model, "-o", "lif.pt")
    assert refused.code == 2
    assert "its layer 'net.lif.neurons' is of 'if', which has no tau for LIF" in refused.err
    assert "hint: NIR and chips have it as it is: --to nir" in refused.err
    assert not Path("lif.pt").exists()
    wrong = clifctl("eval", weights, *model, "model.nodes=lif", "neuron.reset=soft")
    assert "the node 'lif' is 'if', whose constants are not those of a LIF" in wrong.err
    wrong = clifctl("eval", weights, "--model", "net.py:Mixed", "--data", "digits", "timesteps=2",
                    "model.nodes=lif", "neuron.name=clif")  # fmt: skip
    assert "with the reset of the recipe's neuron, which is 'clif'" in wrong.err
