"""NIR graphs: written, read back by other programs, and compared spike by spike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor

from clifctl.convert.graph import read_net
from clifctl.convert.interpreter import interpret
from clifctl.convert.nir_graph import Profile, nir_graph, node_name
from clifctl.convert.nir_nodes import DT_S
from clifctl.convert.readers import INTERPRETER, MARGIN, READERS, ReaderOutput, compare, read_with
from clifctl.errors import ConversionError
from clifctl.models import SpikingNet, firing_modules

Build = Callable[..., tuple[SpikingNet, tuple[int, ...]]]


@torch.no_grad()
def run(net: SpikingNet, x: Tensor) -> ReaderOutput:
    """The net itself, in float64."""
    spikes: dict[str, Tensor] = {}
    for name, module in firing_modules(net).items():
        node = node_name(name)
        module.register_forward_hook(
            lambda module, given, output, node=node: spikes.update({node: output[0]})
        )
    logits, _ = net(x)
    return ReaderOutput(logits, spikes)


def written(net: SpikingNet, shape: tuple[int, ...], path: Path, profile: Profile) -> Path:
    nir.write(path, nir_graph(read_net(net, shape), profile=profile, metadata={"dt_s": DT_S}))
    return path


def inputs(shape: tuple[int, ...], steps: int = 4, samples: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(steps, samples, *shape, generator=generator).double()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mlp", {"v_reset": -0.06}),
        ("mlp", {"v_reset": -0.1, "tau": 1.7, "v_threshold": 0.8, "decay_input": True}),
        ("vgg11", {"v_reset": 0.0}),
        ("resnet18", {"v_reset": -0.06, "tau": 1.6}),
        ("sew_resnet18", {"v_threshold": 0.9}),
        ("spiking_resnet18", {}),
    ],
    ids=["mlp", "mlp-decay_input", "vgg11", "resnet18", "sew_resnet18", "spiking_resnet18"],
)
def test_every_reader_finds_the_nets_spikes(
    lif_net: Build, tmp_path: Path, name: str, values: dict[str, Any]
) -> None:
    net, shape = lif_net(name, reset="hard", **values)
    path = written(net, shape, tmp_path / "net.nir", "portable")
    x = inputs(shape, samples=3 if name == "mlp" else 1)
    reference = run(net, x)
    assert all(spikes.sum() > 0 for spikes in reference.spikes.values())
    nodes = list(reference.spikes)
    distance = read_with(INTERPRETER, path, x, nodes).distance
    assert [reader.name for reader in READERS] == [
        "clifctl's interpreter", "SpikingJelly", "snnTorch",
    ]  # fmt: skip
    for reader in READERS:
        reading = read_with(reader, path, x, nodes)
        found = compare(reference, reading, distance, MARGIN[reader.arithmetic])
        assert found.mismatches == 0, reader.name
        limit = 1e-12 if reader.arithmetic == "float64" else 1e-5
        assert found.output_difference < limit * float(reference.outputs.abs().max())
        assert reader.version is None or reader.version[0].isdigit()


@pytest.mark.parametrize(
    ("name", "decay_input"), [("mlp", False), ("mlp", True), ("resnet18", False)]
)
def test_the_exact_profile_is_a_soft_reset(
    lif_net: Build, tmp_path: Path, name: str, decay_input: bool
) -> None:
    net, shape = lif_net(name, reset="soft", decay_input=decay_input, tau=1.5)
    path = written(net, shape, tmp_path / "net.nir", "exact")
    x = inputs(shape)
    reference = run(net, x)
    nodes = list(reference.spikes)
    reading = read_with(INTERPRETER, path, x, nodes)
    found = compare(reference, reading, reading.distance, MARGIN["float64"])
    assert found.mismatches == 0
    assert found.output_difference < 1e-12
    # A soft reset that is taken for a hard one does not go unnoticed.
    hard, _ = lif_net(name, reset="hard", decay_input=decay_input, tau=1.5)
    assert not compare(run(hard, x), reading, reading.distance, MARGIN["float64"]).holds
    for reader in READERS[1:]:
        with pytest.raises(ConversionError, match="cannot read it: Unknown node type"):
            read_with(reader, path, x, nodes)


def test_the_portable_constants(lif_net: Build) -> None:
    """`-0.06` is a zero reset with a threshold of 1.06 / tau, in full shape."""
    net, shape = lif_net("mlp", reset="hard", v_reset=-0.06)
    graph = nir_graph(read_net(net, shape), profile="portable", metadata={})
    node = graph.nodes["features_0_neuron"]
    assert node.v_threshold.shape == (7,)
    assert node.v_threshold.dtype == np.float64
    assert set(node.v_threshold) == {1.06 / 2}
    assert set(node.tau) == {2 * DT_S}
    assert set(node.r) == {1.0}
    assert set(node.v_reset) == set(node.v_leak) == {0.0}


def test_skip_connections_are_edges(lif_net: Build) -> None:
    net, shape = lif_net("resnet18", reset="hard")
    graph = nir_graph(read_net(net, shape), profile="portable", metadata={})
    into = [source for source, target in graph.edges if target == "blocks_1_norm1"]
    assert sorted(into) == ["blocks_0_conv2", "blocks_0_neuron1"]
    into = [source for source, target in graph.edges if target == "blocks_3_norm1"]
    assert sorted(into) == ["blocks_2_conv2", "blocks_2_shortcut"]
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds.count("LIF") == 17
    assert kinds.count("AvgPool2d") == 1


def test_neurons_that_nir_lacks_are_refused(lif_net: Build) -> None:
    net, shape = lif_net("mlp", reset="soft")
    with pytest.raises(ConversionError, match=r"layer 'features\.0\.neuron': a soft reset"):
        nir_graph(read_net(net, shape), profile="portable", metadata={})


def scaled(node: str, key: str, by: float) -> Callable[[Any], None]:
    """What changes one array of a graph."""

    def change(graph: Any) -> None:
        setattr(graph.nodes[node], key, getattr(graph.nodes[node], key) * by)

    return change


def without_edge(source: str, target: str) -> Callable[[Any], None]:
    return lambda graph: graph.edges.remove((source, target))


def swap_classes(graph: Any) -> None:
    node = graph.nodes["classifier"]
    node.weight, node.bias = node.weight[::-1].copy(), node.bias[::-1].copy()


@pytest.mark.parametrize(
    ("name", "change", "in_spikes"),
    [
        ("mlp", scaled("features_1_neuron", "v_threshold", 1.5), True),
        ("mlp", scaled("features_0_neuron", "tau", 2.0), True),
        ("mlp", scaled("features_1_connection_1", "weight", -1.0), True),
        ("mlp", scaled("features_0_connection_1", "bias", 0.5), True),
        ("mlp", swap_classes, False),
        ("mlp", scaled("classifier", "weight", 1.001), False),
        ("resnet18", without_edge("blocks_0_neuron1", "blocks_1_norm1"), True),
        ("resnet18", scaled("blocks_2_shortcut", "weight", 0.9), True),
    ],
    ids=["threshold", "tau", "weight", "bias", "classes", "read-out", "skip", "shortcut"],
)
def test_a_file_that_was_changed_is_noticed_by_every_reader(
    lif_net: Build, tmp_path: Path, name: str, change: Callable[[Any], None], in_spikes: bool
) -> None:
    net, shape = lif_net(name, reset="hard")
    x = inputs(shape)
    reference = run(net, x)
    graph = nir.read(written(net, shape, tmp_path / "net.nir", "portable"))
    change(graph)
    nir.write(tmp_path / "changed.nir", graph)
    nodes = list(reference.spikes)
    distance = read_with(INTERPRETER, tmp_path / "changed.nir", x, nodes).distance
    for reader in READERS:
        reading = read_with(reader, tmp_path / "changed.nir", x, nodes)
        found = compare(reference, reading, distance, MARGIN[reader.arithmetic])
        assert (found.mismatches > 0) is in_spikes, reader.name
        assert found.samples_differing > 0
        assert found.samples_excused == 0
        assert not found.holds


def test_a_mismatch_at_the_threshold_excuses_what_follows_in_its_sample() -> None:
    spikes = {"a": torch.zeros(3, 2, 4), "b": torch.zeros(3, 2, 4)}
    other = {name: tensor.clone() for name, tensor in spikes.items()}
    distance = {name: torch.full((3, 2, 4), 0.5) for name in spikes}
    reference = ReaderOutput(torch.ones(3, 2, 5), spikes)
    other["a"][1, 0, 2] = 1.0
    other["b"][2, 0, :] = 1.0
    outputs = torch.ones(3, 2, 5)
    outputs[:, 0] = 1.25  # a consequence, in the same sample
    reading = ReaderOutput(outputs, other)
    found = compare(reference, reading, distance, 1e-5)
    assert (found.mismatches, found.samples_differing, found.samples_excused) == (5, 1, 0)
    assert found.output_difference == 0.25
    distance["a"][1, 0, 2] = -1e-6
    found = compare(reference, reading, distance, 1e-5)
    assert found.holds
    assert found.samples_excused == 1
    other["b"][0, 1, 3] = 1.0  # in the other sample, far from the threshold
    assert not compare(reference, reading, distance, 1e-5).holds


def test_logits_count_where_spikes_are_the_same() -> None:
    spikes = {"a": torch.zeros(3, 2, 4)}
    logits = torch.zeros(3, 2, 5).index_fill(2, torch.tensor([1]), -8.0)
    for off, holds in ((0.5e-5, True), (2e-5, False), (float("nan"), False)):
        outputs = logits.clone()
        outputs[2, 1, 0] += 8.0 * off
        found = compare(ReaderOutput(logits, spikes), ReaderOutput(outputs, spikes), spikes, 1e-5)
        assert found.mismatches == 0
        assert (found.holds, found.samples_differing) == (holds, int(not holds))


def test_an_output_of_another_shape_is_refused() -> None:
    spikes = {"a": torch.zeros(3, 2, 4)}
    reference = ReaderOutput(torch.zeros(3, 2, 5), spikes)
    for outputs, given, said in (
        (torch.zeros(3, 2, 1), spikes, r"the logits are \[3, 2, 1\], not \[3, 2, 5\]"),
        (reference.outputs, {"a": torch.zeros(3, 1, 2, 4)}, "the spikes of 'a' are"),
    ):
        with pytest.raises(ConversionError, match=said):
            compare(reference, ReaderOutput(outputs, given), spikes, 1e-5)


def lone(node: Any, **more: Any) -> Any:
    nodes = {"input": nir.Input(np.array([1])), "node": node, "output": nir.Output(np.array([1]))}
    edges = [("input", "node"), ("node", "output")]
    return nir.NIRGraph({**nodes, **more}, edges, type_check=False)


def test_the_interpreter_by_hand() -> None:
    """v += 1/2 (v_leak - v + r I): 0.75, then 0.375 + 0.75; the second exceeds 1, and resets."""
    one = np.ones(1)
    node = nir.LIF(tau=2 * DT_S * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=-one / 4)
    x = torch.full((4, 1, 1), 1.5)
    activity = interpret(lone(node), x, dt=DT_S)
    assert activity.outputs.flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
    # After the reset to -0.25: -0.125 + 0.75, then 0.3125 + 0.75.
    assert activity.distance["node"].flatten().tolist() == [-0.25, 0.125, -0.375, 0.0625]
    leak = nir.LI(tau=4 * DT_S * one, r=2 * one, v_leak=one)
    # From rest, which is v_leak: 1 + 1/4 (1 - 1 + 2 * 1.5), then 1.75 + 1/4 (1 - 1.75 + 3).
    assert interpret(lone(leak), x[:2], dt=DT_S).outputs.flatten().tolist() == [1.75, 2.3125]
    # A spike needs more than the threshold.
    at = nir.Threshold(threshold=1.5 * one)
    assert interpret(lone(at), x[:1], dt=DT_S).outputs.flatten().tolist() == [0.0]
    late = nir.Delay(delay=2 * DT_S * one)
    scale = nir.Scale(scale=3 * one)
    graph = lone(late, scale=scale)
    graph.edges = [("input", "scale"), ("scale", "node"), ("input", "output"), ("node", "output")]
    steps = torch.arange(1.0, 5.0).view(4, 1, 1)
    assert interpret(graph, steps, dt=DT_S).outputs.flatten().tolist() == [1.0, 2.0, 6.0, 10.0]


def test_what_the_interpreter_does_not_know_is_refused() -> None:
    one = np.ones(1)
    x = torch.ones(1, 1, 1)
    with pytest.raises(ConversionError, match="node 'node': the interpreter knows no I"):
        interpret(lone(nir.I(one)), x, dt=DT_S)
    graph = lone(nir.Scale(scale=one))
    graph.edges.append(("node", "node"))
    with pytest.raises(ConversionError, match="loop without a delay: node -> node"):
        interpret(graph, x, dt=DT_S)
    for delay in (0.5 * DT_S * one, 0 * one, np.array([DT_S, 2 * DT_S])):
        with pytest.raises(ConversionError, match="the same whole number of time steps"):
            interpret(lone(nir.Delay(delay=delay)), x, dt=DT_S)
