"""NIR graphs of other programs as nets: their spikes are those of the program that wrote them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir as snntorch_graph
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir as spikingjelly_graph
from torch import Tensor, nn

from clifctl.convert.graph import read_net
from clifctl.convert.interpreter import interpret
from clifctl.convert.nir_file import BadGraph, NirFile, NirNode, of_file, read_nir
from clifctl.convert.nir_graph import nir_graph
from clifctl.convert.nir_net import NirNet, checked
from clifctl.convert.nir_nodes import DT_S
from clifctl.convert.readers import MARGIN, Comparison, ReaderOutput, compare
from clifctl.errors import ConversionError
from clifctl.models import NeuronChoice, SpikingNet, firing_modules
from clifctl.neurons import NEURONS

STEPS, SAMPLES = 7, 3
LIF = NEURONS["lif"]


def as_net(path: Path, dtype: torch.dtype = torch.float64, dt: float = DT_S) -> NirNet:
    """The graph of a file as a net."""
    choice = NeuronChoice(LIF, LIF.hyperparameters(), target="reference")
    net = NirNet(checked(read_nir(path), dt), choice, STEPS).to(dtype).eval()
    net.fill()
    return net


@torch.no_grad()
def run(net: NirNet, x: Tensor) -> ReaderOutput:
    spikes: dict[str, Tensor] = {}
    for name, module in firing_modules(net).items():
        module.register_forward_hook(
            lambda module, given, output, name=name: spikes.update({name: output[0]})
        )
    logits, _ = net(x)
    return ReaderOutput(logits, spikes)


def samples(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 2 * torch.randn(STEPS, SAMPLES, *shape, generator=generator).double()


@torch.no_grad()
def of_writer(net: nn.Sequential, x: Tensor, names: dict[str, int]) -> ReaderOutput:
    """What a net of snnTorch gives: it runs step by step and keeps its states."""
    steps: dict[str, list[Tensor]] = {name: [] for name in names}
    outputs = []
    for value in x:
        for index, module in enumerate(net):
            value = module(value)
            for name, at in names.items():
                if at == index:
                    steps[name].append(value)
        outputs.append(value)
    found = {name: torch.stack(values) for name, values in steps.items()}
    return ReaderOutput(torch.stack(outputs), found)


def leaky(beta: Any, *shape: int, **more: Any) -> snn.Leaky:
    """The neurons of snnTorch whose export says what they do: they reset to zero, in full shape."""
    how = {"threshold": torch.ones(shape), "init_hidden": True, "reset_mechanism": "zero"}
    return snn.Leaky(beta * torch.ones(shape), **{**how, **more})


def synaptic(alpha: Any, beta: Any, *shape: int) -> snn.Synaptic:
    """With the delay of its reset a Synaptic also drops its current, which no CubaLIF does."""
    how = {"threshold": torch.ones(shape), "init_hidden": True, "reset_mechanism": "zero"}
    ones = torch.ones(shape)
    return snn.Synaptic(alpha * ones, beta * ones, reset_delay=False, **how)


def linear_net() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers = (
        nn.Linear(7, 6),
        leaky(0.8, 6),
        nn.Linear(6, 5),
        leaky(torch.linspace(0.2, 0.9, 5), 5),
    )
    return nn.Sequential(*layers), (7,)


def convolutional_net() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers = (
        *(nn.Conv2d(2, 4, 3, padding=1), leaky(0.7, 4, 6, 6), nn.AvgPool2d((2, 2), (2, 2))),
        *(nn.Flatten(), nn.Linear(36, 5), leaky(0.9, 5)),
    )
    return nn.Sequential(*layers), (2, 6, 6)


def synaptic_net() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers = (
        *(nn.Linear(7, 6), synaptic(0.6, 0.8, 6), nn.Linear(6, 5)),
        synaptic(torch.linspace(0.3, 0.8, 5), 0.5, 5),
    )
    return nn.Sequential(*layers), (7,)


def compared(path: Path, reference: ReaderOutput, x: Tensor, arithmetic: str) -> Comparison:
    found = run(as_net(path, x.dtype), x)
    rates = [float(spikes.mean()) for spikes in reference.spikes.values()]
    assert all(0 < rate < 1 for rate in rates), rates
    distance = interpret(nir.read(path, type_check=False), x, dt=DT_S).distance
    return compare(reference, found, distance, MARGIN[arithmetic])


@torch.no_grad()
def excited(net: nn.Sequential) -> nn.Sequential:
    """With weights that make every layer fire."""
    for module in net:
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight *= 6
    return net


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("build", [linear_net, convolutional_net, synaptic_net])
def test_the_spikes_are_those_of_snntorch(
    tmp_path: Path,
    build: Callable[[], tuple[nn.Sequential, tuple[int, ...]]],
    dtype: torch.dtype,
) -> None:
    """snnTorch computes in float32, where a potential near the threshold may fall on its other
    side."""
    torch.manual_seed(0)
    net, shape = build()
    excited(net)
    with pytest.warns(DeprecationWarning, match="nirtorch"):
        graph = snntorch_graph(net, torch.zeros(1, *shape), ignore_dims=[0])
    nir.write(tmp_path / "snn.nir", graph)
    for module in net:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    x = samples(*shape).float()
    neurons = {str(n): n for n, module in enumerate(net) if hasattr(module, "reset_mem")}
    found = compared(tmp_path / "snn.nir", of_writer(net, x, neurons), x.to(dtype), "float32")
    assert found.holds


def spikingjelly_net(kind: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    if kind == "convolutional":
        layers: tuple[nn.Module, ...] = (
            *(layer.Conv2d(2, 4, 3, padding=1, bias=False), neuron.LIFNode(2.5, v_reset=-0.1)),
            *(layer.AvgPool2d(2), layer.Flatten(), layer.Linear(36, 5)),
            neuron.LIFNode(2.0, decay_input=False, v_threshold=0.7, v_reset=0.0),
        )
        return nn.Sequential(*layers), (2, 6, 6)
    one = {
        "lif": lambda: neuron.LIFNode(1.7, v_reset=0.0),
        "if": lambda: neuron.IFNode(v_threshold=1.3, v_reset=-0.2),
        "plif": lambda: neuron.ParametricLIFNode(3.0, v_reset=0.0),
        "cuba": lambda: neuron.CUBALIFNode(c_decay=0.4, v_decay=0.6, v_reset=0.0),
    }[kind]
    return nn.Sequential(layer.Linear(7, 6), one(), layer.Linear(6, 5), one()), (7,)


@pytest.mark.parametrize("kind", ["lif", "if", "plif", "cuba", "convolutional"])
def test_the_spikes_are_those_of_spikingjelly(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    net, shape = spikingjelly_net(kind)
    functional.set_step_mode(excited(net).double(), "m")
    x = samples(*shape)
    spikingjelly_graph(net, x, tmp_path / "sj.nir")
    functional.reset_net(net)
    reference: dict[str, Tensor] = {}
    for index, module in enumerate(net):
        if isinstance(module, neuron.BaseNode):
            module.register_forward_hook(
                lambda module, given, output, name=f"_{index}": reference.update({name: output})
            )
    with torch.no_grad():
        outputs = net(x)
    found = compared(tmp_path / "sj.nir", ReaderOutput(outputs, reference), x, "float64")
    assert (found.mismatches, found.output_difference) == (0, 0.0)


@pytest.mark.parametrize(
    ("name", "values", "profile"),
    [
        ("mlp", {"reset": "hard", "v_reset": -0.06, "tau": 1.7}, "portable"),
        ("resnet18", {"reset": "hard", "v_reset": -0.1, "decay_input": True}, "portable"),
        ("mlp", {"reset": "soft", "tau": 1.5, "decay_input": True}, "exact"),
        ("vgg11", {"reset": "soft"}, "exact"),
    ],
)
def test_what_was_exported_is_the_net_again(
    lif_net: Callable[..., tuple[SpikingNet, tuple[int, ...]]],
    tmp_path: Path,
    name: str,
    values: dict[str, Any],
    profile: Any,
) -> None:
    net, shape = lif_net(name, **values)
    path = tmp_path / "own.nir"
    nir.write(path, nir_graph(read_net(net, shape), profile=profile, metadata={}))
    again = as_net(path)
    x = samples(*shape)[:4]
    with torch.no_grad():
        logits, _ = net(x)
    found = run(again, x)
    assert float((found.outputs - logits).abs().max()) < 1e-12 * float(logits.abs().max())
    kept = {dict(module.hyperparameters)["reset"] for module in firing_modules(again).values()}
    assert kept == {values["reset"]}
    # And to NIR once more: the same graph, weights included.
    graph = nir_graph(read_net(again, shape), profile=profile, metadata={})
    first = nir.read(path)
    assert sorted(graph.edges) == sorted(first.edges)
    for node, other in first.nodes.items():
        for key in ("weight", "bias", "tau"):
            if hasattr(other, key):
                np.testing.assert_allclose(getattr(graph.nodes[node], key), getattr(other, key))


def written(path: Path, *between: Any, shape: Any = (2,), out: Any = (2,), **more: Any) -> Path:
    """A graph of nodes in a row, with further `nodes` and `edges`."""
    nodes = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out))}
    row = {f"n{index}": node for index, node in enumerate(between)}
    names = ["input", *row, "output"]
    edges = list(itertools.pairwise(names)) + list(more.get("edges", ()))
    graph = nir.NIRGraph({**nodes, **row, **more.get("nodes", {})}, edges, type_check=False)
    nir.write(path, graph)
    return path


def lif(size: Any = 2, **changed: Any) -> Any:
    values = {"tau": 2 * DT_S, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{key: np.full(size, value) for key, value in {**values, **changed}.items()})


def test_constants_in_time_steps_by_hand(tmp_path: Path) -> None:
    """gain = r dt/tau = 0.5 * 3; thresholds are counted from rest and in gains."""
    node = lif(r=3.0, v_leak=-1.0, v_threshold=2.0, v_reset=-2.5)
    net = as_net(written(tmp_path / "a.nir", node))
    (module,) = firing_modules(net).values()
    assert module.neuron.name == "nir_lif"
    p: Any = module.hyperparameters
    assert (p.decay, p.v_threshold, p.v_reset) == (0.5, 2.0, -1.0)
    at_rest = as_net(written(tmp_path / "b.nir", lif(r=3.0, v_leak=-1.0, v_reset=-1.0)))
    (module,) = firing_modules(at_rest).values()
    p = module.hyperparameters
    assert module.neuron is LIF
    assert (p.tau, p.reset, p.v_reset) == (2.0, "hard", 0.0)
    assert p.v_threshold == pytest.approx(2 / 1.5, abs=1e-15)
    # A time step of half the length: twice the steps.
    (module,) = firing_modules(as_net(tmp_path / "b.nir", dt=DT_S / 2)).values()
    assert module.hyperparameters.tau == pytest.approx(4.0)  # type: ignore[attr-defined]


def test_every_kind_of_neuron_is_what_nir_says(tmp_path: Path) -> None:
    """Against the interpreter, which knows the differential equations alone; and written again."""
    one = np.ones(2)
    nodes = (
        lif(v_leak=0.3, v_reset=-0.4, r=2.0),
        nir.IF(r=np.array([1.0, 2.0]) / DT_S, v_threshold=2 * one, v_reset=one / 4),
        nir.CubaLIF(
            tau_syn=3 * DT_S * one, tau_mem=2 * DT_S * one, r=5 * one, v_leak=one / 8,
            v_threshold=one, v_reset=-one, w_in=2 * one,
        ),
        nir.IF(r=3 * one / DT_S, v_threshold=2 * one, v_reset=-one),
        nir.Threshold(threshold=one / 2),
        nir.LI(tau=3 * DT_S * one, r=np.array([1.0, -2.0]), v_leak=one / 2),
        nir.CubaLI(
            tau_syn=4 * DT_S * one, tau_mem=2 * DT_S * one, r=one, v_leak=one, w_in=3 * one
        ),
    )  # fmt: skip
    for index, node in enumerate(nodes):
        path = written(tmp_path / f"{index}.nir", node, nir.Scale(scale=np.full(2, 1.5)))
        x = samples(2)
        net = as_net(path)
        found = run(net, x).outputs
        expected = interpret(nir.read(path, type_check=False), x, dt=DT_S).outputs
        assert expected.any()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        written(tmp_path / "plain.nir", node)
        net = as_net(tmp_path / "plain.nir")
        graph = nir_graph(read_net(net, (2,)), profile="portable", metadata={})
        assert type(graph.nodes["n0"]) is type(node)
        expected = interpret(nir.read(tmp_path / "plain.nir", type_check=False), x, dt=DT_S).outputs
        again = interpret(graph, x, dt=DT_S).outputs
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-12)


def test_branches_are_summed_and_pools_convolutions_and_scales_are_theirs(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    weight = generator.normal(size=(4, 1, 3, 3))
    nodes = {
        "side": nir.Conv2d(
            (6, 5), generator.normal(size=(4, 2, 1, 1)), 2, 0, 1, 1, generator.normal(size=4)
        ),
        "more": nir.Scale(scale=generator.normal(size=(4, 3, 3))),
    }
    main = nir.Conv2d((6, 5), weight, (2, 2), (2, 2), (2, 2), 2, np.zeros(4))
    edges = [("input", "side"), ("side", "more"), ("more", "n1"), ("side", "n1")]
    row = (
        main,
        lif((4, 3, 3)),
        nir.SumPool2d(np.array([2, 3]), np.array([1, 3]), np.array([0, 0])),
    )
    flatten = nir.Flatten({"input": np.array([4, 2, 1])}, 0, -1)
    read_out = nir.Linear(weight=generator.normal(size=(3, 8)))
    path = written(
        tmp_path / "a.nir", *row, flatten, read_out, shape=(2, 6, 5), out=(3,), nodes=nodes,
        edges=edges,
    )  # fmt: skip
    x = samples(2, 6, 5)
    net = as_net(path)
    torch.testing.assert_close(
        run(net, x).outputs,
        interpret(nir.read(path, type_check=False), x, dt=DT_S).outputs,
        rtol=0,
        atol=1e-12,
    )
    assert net.get_submodule("n0").bias is None  # zeros add nothing
    # A static image is computed once up to the neurons.
    still, _ = net(x[:1], repeat=STEPS)
    shown, _ = net(x[:1].expand(STEPS, *x.shape[1:]))
    torch.testing.assert_close(still, shown, rtol=0, atol=1e-12)


def test_a_convolution_over_time_series(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).normal(size=(3, 2, 3))
    node = nir.Conv1d(8, weight, 2, "valid", 1, 1, np.arange(3.0))
    flatten = nir.Flatten({"input": np.array([3, 3])}, 0, -1)
    path = written(tmp_path / "a.nir", node, flatten, lif(9), shape=(2, 8), out=(9,))
    x = samples(2, 8)
    net = as_net(path)
    bias = torch.arange(3.0).double()
    maps = nn.functional.conv1d(x.flatten(0, 1), torch.as_tensor(weight), bias, stride=2)
    current = maps.view(STEPS, SAMPLES, 9)
    v = torch.zeros(SAMPLES, 9, dtype=torch.float64)
    for step, spikes in zip(current, run(net, x).outputs, strict=True):
        u = v / 2 + step / 2
        assert torch.equal(spikes, (u >= 1).double())
        v = u * (1 - spikes)


def graph_of(*edges: str, **nodes: tuple[str, dict[str, Any]]) -> NirFile:
    """A graph from `i` to `o`, of edges like `ia`."""
    there = {name: (kind, {"shape": np.array([2])}) for name, kind in IN_AND_OUT.items()}
    named = {name: NirNode(name, *node) for name, node in {**there, **nodes}.items()}
    return NirFile(named, tuple((edge[0], edge[1]) for edge in edges))


IN_AND_OUT = {"i": "Input", "o": "Output"}
SCALE = ("Scale", {"scale": np.ones(1)})


def linear(out: int, into: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("Affine" if more else "Linear", {"weight": np.ones((out, into)), **more})


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (
            graph_of("ia", "ab", "ba", "bo", a=SCALE, b=SCALE),
            r"the edge 'b' -> 'a' closes a loop \(a -> b -> a\): recurrence is not read",
        ),
        (graph_of("ia", "aa", "ao", a=SCALE), "the edge 'a' -> 'a' closes"),
        (graph_of("io", a=SCALE), "node 'a' gets nothing"),
        (graph_of("io", "ia", a=SCALE), "node 'a' leads nowhere"),
        (graph_of("io", b=("Input", {"shape": np.array([2])})), "2 nodes of type Input"),
        (graph_of("ia", "ao", a=("Delay", {"delay": np.array([DT_S])})), "node 'a': delays are"),
        (graph_of("ia", "ao", a=linear(2, 3)), r"node 'a', Linear on \[2\]"),
        (graph_of("ia", "ao", a=linear(3, 2)), r"node 'o' declares \[2\], what it gets is \[3\]"),
        (graph_of("ia", "ao", "io", a=linear(3, 2)), "node 'o' gets the sum of"),
        (graph_of("ia", "ao", a=linear(2, 2, bias=np.ones(3))), r"its bias is \[3\]"),
        (graph_of("ia", "ao", a=("Scale", {"scale": np.ones(3)})), "node 'a': scale is"),
        (
            graph_of(
                "ia", "ao", a=("Flatten", {"start_dim": np.array(3), "end_dim": np.array(-1)})
            ),
            "node 'a', Flatten",
        ),
        (
            graph_of("ia", "ao", a=("IF", {"r": np.ones(3), "v_threshold": np.ones(3)})),
            r"node 'a': r is \[3\], what it gets is \[2\]",
        ),
    ],
)
def test_graphs_that_do_not_fit_are_refused_by_node(graph: NirFile, said: str) -> None:
    with pytest.raises(BadGraph, match=said):
        checked(graph, DT_S)


def require_good(path: Path) -> None:
    file = read_nir(path)
    with of_file(path):
        checked(file, DT_S)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tau": 0.0}, "tau = 0, must be above 0"),
        ({"tau": -1e-4}, "tau = -0.0001, must be above 0"),
        ({"tau": DT_S / 2}, "tau = 5e-05 s is shorter than a time step of 0.0001 s"),
        ({"tau": np.inf}, "tau holds NaN or infinity"),
        ({"r": 0.0}, "r = 0, must be above 0"),
        ({"v_threshold": 0.0}, "v_threshold = 0 is not above the resting potential"),
        ({"v_leak": 1.5}, "v_threshold = 1 is not above the resting potential"),
        ({"v_reset": 1.0}, "v_reset is not below v_threshold"),
        ({"r": 1e-308, "tau": 1e3}, "its constants are too large or small"),
    ],
)
def test_constants_without_meaning_are_refused_by_node(
    tmp_path: Path, changed: dict[str, float], said: str
) -> None:
    path = written(tmp_path / "bad.nir", lif(**changed))
    with pytest.raises(ConversionError, match=said) as refused:
        require_good(path)
    assert refused.value.message.startswith(f"'{path}': node 'n0': ")


def test_constants_that_differ_within_a_channel_are_refused(tmp_path: Path) -> None:
    node = lif((2, 2))
    node.tau[1, 0] *= 2
    path = written(tmp_path / "a.nir", node, shape=(2, 2), out=(2, 2))
    with pytest.raises(ConversionError, match="node 'n0': its constants differ within a channel"):
        require_good(path)
