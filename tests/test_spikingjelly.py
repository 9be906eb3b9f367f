import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import base, functional, layer
from spikingjelly.activation_based import neuron as theirs
from spikingjelly.activation_based.model import parametric_lif_net, spiking_vgg
from spikingjelly.activation_based.surrogate import Rect
from torch import Tensor, nn

from clifctl.errors import NeuronError, TargetError
from clifctl.neurons import NEURONS
from clifctl.spikingjelly import CLIFNode, GLIFNode, KLIFNode, LIFNode, NeuronNode, PLIFNode

T = 4
NODES: dict[str, Callable[..., NeuronNode]] = {
    "lif": LIFNode,
    "plif": PLIFNode,
    "klif": KLIFNode,
    "glif": lambda **options: GLIFNode(T, **options),
    "glif_channel": lambda **options: GLIFNode(T, 3, **options),
    "clif": CLIFNode,
    # Any other neuron of the table, through the base class.
    "tclif": lambda **options: NeuronNode(NEURONS["tclif"], **options),
}
each_node = pytest.mark.parametrize("name", NODES)


def current(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.6 + torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def node_of(name: str, **options: Any) -> NeuronNode:
    """A node in float64, with learnables of one time step that differ from each other."""
    torch.manual_seed(0)
    node = NODES[name](target="reference", **options).double()
    with torch.no_grad():
        for parameter in node.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return node


def run(node: NeuronNode, x: Tensor) -> Tensor:
    """Spikes `[T, N, *]` in either step mode."""
    return node(x) if node.step_mode == "m" else torch.stack([node(step) for step in x])


@each_node
def test_single_steps_are_the_multi_step_call(name: str) -> None:
    results = []
    for mode in ("s", "m"):
        node = node_of(name, step_mode=mode)
        x = current(T, 2, 3, 5).requires_grad_()
        spikes = run(node, x)
        (spikes * current(T, 2, 3, 5, seed=1)).sum().backward()
        states = [getattr(node, state.name) for state in node.neuron.states]
        results.append([spikes, *states, x.grad, *(p.grad for p in node.parameters())])
    assert 0 < results[0][0].mean() < 1
    for single, multi in zip(*results, strict=True):
        assert multi.abs().sum() > 0
        torch.testing.assert_close(single, multi, rtol=1e-13, atol=1e-13)


@each_node
@pytest.mark.parametrize("mode", ["s", "m"])
def test_states_carry_over_until_reset(name: str, mode: str) -> None:
    node = node_of(name, step_mode=mode)
    x = current(T - 1, 2, 3, 5)
    first = run(node, x)
    assert not torch.equal(run(node, x), first)
    functional.reset_net(node)
    assert torch.equal(run(node, x), first)


@each_node
def test_gradient_passes_from_call_to_call(name: str) -> None:
    node = node_of(name, step_mode="m")
    x = current(2, 2, 3, 5).requires_grad_()
    node(x)
    node(current(2, 2, 3, 5, seed=1)).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any())


@pytest.mark.parametrize("target", ["reference", "numba"])
def test_detach_net_cuts_the_gradient_between_calls(target: str) -> None:
    node = CLIFNode(step_mode="m", target=target)
    x = current(2, 2, 3).requires_grad_()
    node(x)
    kept = node.m.clone()
    functional.detach_net(node)
    y = current(2, 2, 3, seed=1).requires_grad_()
    node(y).sum().backward()
    assert x.grad is None
    assert y.grad is not None
    assert kept.abs().sum() > 0


def test_states_are_attributes_that_start_at_the_reset() -> None:
    node = LIFNode(v_reset=-0.06)
    assert node.v == -0.06
    node(torch.tensor([[0.5, 3.0]]))
    torch.testing.assert_close(node.v, torch.tensor([[0.44, -0.06]]))
    node.reset()
    assert node.v == -0.06
    node.v = 0.8
    assert node(torch.tensor([[0.6, 0.7]])).tolist() == [[0.0, 1.0]]


def test_clif_has_its_complementary_potential() -> None:
    node = CLIFNode()
    node(torch.tensor([[1.2, 0.2]]))
    torch.testing.assert_close(node.m, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(node.v, torch.tensor([[1.2 - 1 - 1 / (1 + torch.e**-1), 0.2]]))
    assert dict(node.named_memories()).keys() == {"v", "m"}


def test_spikingjelly_takes_the_nodes_for_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(*(node() for node in NODES.values()))
    functional.set_step_mode(net, "m")
    functional.reset_net(net)
    functional.detach_net(net)
    assert {node.step_mode for node in net} == {"m"}
    assert all(isinstance(node, base.MemoryModule) for node in net)
    # It warns of modules that are not its own, and only there.
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError, match="step_mode"):
        functional.set_step_mode(net, "x")


def test_explicit_state_forward_is_the_call() -> None:
    node = node_of("glif", step_mode="m")
    forward = base.to_functional_forward(node)
    x = current(T, 2, 3)
    (first,), states = forward((x[:2],), tuple(base.extract_memories(node)))
    (rest,), _ = forward((x[2:],), states)
    assert torch.equal(torch.cat([first, rest]), node(x))


def test_equal_arguments_are_spikingjellys_node() -> None:
    """The options in its words; its numbers are in kernels/test_oracle.py."""
    pairs: list[tuple[Any, Any]] = []
    eager = {"target": "reference"}
    for options in (
        {"v_reset": None, "tau": 3.0, "decay_input": False},
        {"v_reset": 0.0, "decay_input": True, "v_threshold": 0.7},
        {"v_reset": -0.06, "decay_input": False, "detach_reset": True},
    ):
        pairs += [
            (LIFNode(**eager, **options), theirs.LIFNode(**options)),
            (
                KLIFNode(scale_reset=True, **eager, **options),
                theirs.KLIFNode(scale_reset=True, **options),
            ),
        ]
        renamed = {"init_tau": options.get("tau", 2.0), **options}
        renamed.pop("tau", None)
        pairs.append((PLIFNode(**eager, **options), theirs.ParametricLIFNode(**renamed)))
    pairs.append(
        (KLIFNode(scale_reset=True, **eager), theirs.KLIFNode(True, 2.0, False, 1.0, None))
    )
    pairs.append((CLIFNode(tau=3.0, **eager), theirs.ComplementaryLIFNode(tau=3.0)))
    for ours, peer in pairs:
        peer.surrogate_function = Rect(alpha=1.0)
        gradients = []
        for node in (ours, peer):
            node.double().step_mode = "m"
            x = current(T, 5, 7).requires_grad_()
            (node(x) * current(T, 5, 7, seed=1)).sum().backward()
            gradients.append([x.grad, *(p.grad for p in node.parameters())])
        assert torch.equal(ours(current(T, 5, 7)), peer(current(T, 5, 7)))
        for mine, other in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["plif", "klif", "clif"])
def test_its_vgg_trains(name: str) -> None:
    torch.manual_seed(0)
    options = {"surrogate": "sigmoid", "step_mode": "m", "target": "reference"}
    net = spiking_vgg.SpikingVGG(
        cfg=[4, "M", 6],
        batch_norm=True,
        init_weights=False,
        spiking_neuron=NODES[name],
        **options,
    )
    # Its head is made for 224 x 224 pixels; a norm makes it fire from the first step on.
    net.avgpool = layer.AdaptiveAvgPool2d((2, 2))
    net.classifier = nn.Sequential(
        layer.SeqToANNContainer(nn.Linear(24, 16), nn.BatchNorm1d(16)),
        NODES[name](**options),
        layer.Linear(16, 5),
    )
    functional.set_step_mode(net, "m")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    x, y = current(T, 10, 3, 8, 8, dtype=torch.float32), torch.arange(10) % 5
    losses = []
    for _ in range(10):
        functional.reset_net(net)
        loss = nn.functional.cross_entropy(net(x).mean(0), y)
        optimizer.zero_grad()
        loss.backward()
        for where, parameter in net.named_parameters():
            assert parameter.grad is not None, where
            assert bool(parameter.grad.isfinite().all()), where
            assert bool((parameter.grad != 0).any()), where
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ["lif", "glif"])
def test_its_plif_net_gives_the_same_in_both_step_modes(name: str) -> None:
    torch.manual_seed(0)
    net = parametric_lif_net.MNISTNet(2, spiking_neuron=NODES[name], target="reference").double()
    net.eval()
    x = 3 * current(2, 2, 1, 28, 28)
    single = torch.stack([net(step) for step in x])
    functional.reset_net(net)
    functional.set_step_mode(net, "m")
    assert torch.equal(net(x), single)
    spikes = net.conv_fc[2].s if name == "glif" else net.conv_fc[2].v
    assert spikes.shape == (2, 2, 28, 28)


@each_node
def test_a_copy_and_a_loaded_state_dict_are_the_same_node(name: str) -> None:
    node = node_of(name, step_mode="m")
    other = NODES[name](target="reference", step_mode="m").double()
    assert set(node.state_dict()) == {learnable.name for learnable in node.neuron.learnables}
    other.load_state_dict(node.state_dict())
    copied = copy.deepcopy(node)
    x = current(T, 2, 3, 5)
    spikes = node(x)
    assert torch.equal(other(x), spikes)
    assert torch.equal(copied(x), spikes)
    copied.reset()  # the state of a copy is its own
    assert not torch.equal(node(x), copied(x))


@each_node
def test_the_dtype_follows_the_module(name: str) -> None:
    node = NODES[name](target="reference", step_mode="m")
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        node.to(dtype)  # states move along: there is no reset in between
        x = current(2, 2, 3, 5, dtype=dtype)
        assert node(x).dtype == dtype


def test_window_truncates_within_a_call() -> None:
    def gradient(steps: int, **options: Any) -> Tensor:
        x = current(steps, 5, 7).requires_grad_()
        node = LIFNode(step_mode="m", target="reference", surrogate="sigmoid", **options)
        node(x)[-1].sum().backward()
        assert x.grad is not None
        return x.grad

    assert bool((gradient(T)[:2] != 0).any())
    assert bool((gradient(T, window=2)[:2] == 0).all())
    assert torch.equal(gradient(T, window=2)[2:], gradient(T)[2:])
    assert torch.equal(gradient(T, window=T + 1), gradient(T))
    # A prefix of two steps has no path from step 2 to the last one.
    prefix = gradient(T, window=2, window_mode="prefix")
    assert bool((prefix[:-1] == 0).all())
    with pytest.raises(NeuronError, match="window mode"):
        gradient(T, window=2, window_mode="back")


def test_fused_and_eager_nodes_agree() -> None:
    x = current(T, 3, 5, 3)
    fused, eager = (CLIFNode(step_mode="m", target=target) for target in ("numba", "reference"))
    for _ in range(2):  # the second call starts from the state of the first
        assert torch.equal(fused(x), eager(x))
        torch.testing.assert_close(fused.v, eager.v)


def test_what_cannot_be_run_is_said() -> None:
    node = LIFNode()
    node(torch.zeros(4, 3))
    with pytest.raises(NeuronError, match=r"state 'v' \[4, 3\].*\[2, 3\]") as refused:
        node(torch.zeros(2, 3))
    assert "reset" in str(refused.value.hint)
    with pytest.raises(NeuronError, match=r"tau"):
        LIFNode(tau=0.5)
    with pytest.raises(NeuronError, match=r"v_reset"):
        CLIFNode(v_reset=0.0)
    with pytest.raises(NeuronError, match=r"conduct"):
        GLIFNode(T, step_mode="m")(torch.zeros(T + 1, 2, 3))
    with pytest.raises(TargetError, match="abacus"):
        LIFNode(target="abacus")(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="step_mode"):
        LIFNode(step_mode="multi")
