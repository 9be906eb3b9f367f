"""Nodes as people handle SpikingJelly's: attributes, arguments, explicit states, checkpoints."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import (
    base,
    functional,
    layer,
    memopt,
    op_counter,
    surrogate,
)
from spikingjelly.activation_based import neuron as theirs
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from clifctl.errors import NeuronError
from clifctl.neurons import NEURONS
from clifctl.spikingjelly import CLIFNode, GLIFNode, KLIFNode, LIFNode, NeuronNode, PLIFNode

T = 4
# Built as equals: SpikingJelly's defaults are those of no neuron here.
SAME: dict[str, Any] = {"surrogate_function": surrogate.Sigmoid(), "step_mode": "m"}
LEAKY: dict[str, Any] = {"v_reset": 0.0, "decay_input": True}
PAIRS: dict[str, Callable[[], tuple[NeuronNode, Any]]] = {
    "lif": lambda: (LIFNode(target="reference", **SAME, **LEAKY), theirs.LIFNode(**SAME)),
    "plif": lambda: (
        PLIFNode(target="reference", **SAME, **LEAKY),
        theirs.ParametricLIFNode(**SAME),
    ),
    "klif": lambda: (KLIFNode(target="reference", **SAME, **LEAKY), theirs.KLIFNode(**SAME)),
    "clif": lambda: (CLIFNode(target="reference", **SAME), theirs.ComplementaryLIFNode(**SAME)),
}


def current(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.8 + torch.randn(*shape, generator=generator, dtype=torch.float64)


def spikes_and_gradient(node: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    node.double()
    x = x.clone().requires_grad_()
    spikes = node(x)
    (spikes * current(*spikes.shape, seed=1)).sum().backward()
    assert x.grad is not None
    return spikes.detach(), x.grad


def require_equal(ours: Any, peer: Any, *, spikes: bool = True) -> None:
    x = current(T, 5, 7)
    (mine, g_mine), (other, g_other) = (spikes_and_gradient(node, x) for node in (ours, peer))
    assert torch.equal(mine, other)
    assert bool(mine.any()) is spikes
    torch.testing.assert_close(g_mine, g_other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("lif", "v_threshold", 100.0),
        ("plif", "v_threshold", 0.3),
        ("klif", "v_threshold", 0.3),
        ("clif", "v_threshold", 0.3),
        ("lif", "tau", 3.5),
        ("klif", "tau", 3.5),
        ("clif", "tau", 3.5),
        ("lif", "v_reset", None),
        ("lif", "v_reset", -0.2),
        ("plif", "v_reset", -0.2),
        ("klif", "v_reset", None),
        ("lif", "detach_reset", True),
        ("plif", "detach_reset", True),
        ("lif", "decay_input", False),
        ("klif", "scale_reset", True),
        ("lif", "surrogate_function", surrogate.ATan()),
        ("plif", "surrogate_function", surrogate.ATan(alpha=1.5)),
        ("clif", "surrogate_function", surrogate.PiecewiseQuadratic(alpha=0.7)),
        ("clif", "surrogate_function", surrogate.Rect(alpha=0.5)),
    ],
)
def test_an_attribute_that_is_set_holds(name: str, attribute: str, value: Any) -> None:
    ours, peer = PAIRS[name]()
    before, _ = spikes_and_gradient(ours, current(T, 5, 7))
    ours.reset()
    for node in (ours, peer):
        setattr(node, attribute, value)
        assert getattr(node, attribute) == value
    require_equal(ours, peer, spikes=value != 100.0)
    assert before.any()


def test_a_surrogates_own_alpha_holds() -> None:
    ours, peer = PAIRS["lif"]()
    for node in (ours, peer):
        node.surrogate_function.alpha = 9.0
    require_equal(ours, peer)
    assert ours.surrogate_width == pytest.approx(4 / 9)
    ours.surrogate = "arctangent"
    assert type(ours.surrogate_function) is surrogate.ATan
    assert ours.surrogate_function.alpha == pytest.approx(2 / ours.surrogate_width)
    ours.surrogate_function.set_spiking_mode(False)
    with pytest.raises(NeuronError, match="primitive"):
        ours(current(T, 5, 7))


def test_what_spikingjellys_nodes_show_can_be_read() -> None:
    for name, pair in PAIRS.items():
        ours, peer = pair()
        for attribute in ("v_threshold", "v_reset", "detach_reset", "step_mode", "store_v_seq"):
            assert getattr(ours, attribute) == getattr(peer, attribute), (name, attribute)
        assert ours.surrogate_function.alpha == peer.surrogate_function.alpha
        assert ours.backend == "torch"
    assert LIFNode(tau=3.0).tau == 3.0
    assert CLIFNode().decay_input is False
    node = PLIFNode(init_tau=3.0)
    assert node.tau == pytest.approx(3.0)
    with torch.no_grad():
        node.w.fill_(0.0)
    assert node.tau == 2.0  # the one of now
    with pytest.raises(AttributeError, match="no_such"):
        node.no_such  # noqa: B018


@pytest.mark.parametrize(
    ("build", "attribute", "value", "message"),
    [
        (LIFNode, "tau", 0.5, "greater than 1"),
        (LIFNode, "tau", "2", "must be a number"),
        (LIFNode, "backend", "cupy", "target='auto'"),
        (CLIFNode, "detach_reset", True, "carries gradient by definition"),
        (CLIFNode, "v_reset", 0.0, "soft by definition"),
        (CLIFNode, "decay_input", True, "as it is"),
        (LIFNode, "surrogate_function", surrogate.Erf(), "Erf.*no surrogate of clifctl"),
        (LIFNode, "surrogate_function", torch.sigmoid, "no surrogate of clifctl"),
        (LIFNode, "surrogate_function", surrogate.ATan(spiking=False), "primitive"),
        (lambda **o: GLIFNode(T, **o), "detach_reset", True, "to its gates too"),
        (lambda **o: GLIFNode(T, **o), "store_v_seq", True, "no state v"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(
    build: Any, attribute: str, value: Any, message: str
) -> None:
    for refused in (
        lambda: build(**{attribute: value}),
        lambda: setattr(build(), attribute, value),
    ):
        with pytest.raises(NeuronError, match=message) as problem:
            refused()
        assert attribute in str(problem.value)
        assert problem.value.hint is not None


def test_what_is_learned_is_set_where_it_is() -> None:
    with pytest.raises(NeuronError, match="learned 'w'") as refused:
        PLIFNode().tau = 3.0  # type: ignore[misc]
    assert "no_grad" in str(refused.value.hint)
    with pytest.raises(NeuronError, match=r"tau = 2\.0: it is learned"):
        GLIFNode(T, tau=2.0)
    with pytest.raises(NeuronError, match="init_tau"):
        PLIFNode(init_tau=2.0, tau=2.0)
    with pytest.raises(NeuronError, match="init_conduct"):
        GLIFNode(T, init_conduct=1.5)
    # A hint is in the traceback, too: in a person's own code nothing else shows it.
    assert any("no_grad" in note for note in refused.value.__notes__)


def test_arguments_as_people_write_them() -> None:
    node = CLIFNode(
        surrogate_function=surrogate.ATan(), detach_reset=False, backend="torch", v_reset=None,
        store_v_seq=False, cupy_fp32_inference=False, c_in=3, fc_hw=1,
    )  # fmt: skip
    assert (node.surrogate, node.surrogate_width) == ("arctangent", 1.0)
    given = {"init_tau": 0.3, "init_v_threshold": 0.6, "init_conduct": 0.7}
    ours, peer = GLIFNode(T, **given), theirs.GatedLIFNode(T, **given)
    for name in ("tau", "v_threshold", "linear_decay", "v_subreset", "conduct"):
        torch.testing.assert_close(getattr(ours, name), getattr(peer, name))


@pytest.mark.parametrize("mode", ["s", "m"])
def test_store_v_seq_is_spikingjellys(mode: str) -> None:
    x = current(T, 5, 7)
    for name in ("lif", "plif", "klif"):
        found = []
        for node in PAIRS[name]():
            node.double()
            node.step_mode = mode
            node.store_v_seq = True
            outputs = [node(x), node(x)] if mode == "m" else [node(step) for step in x]
            assert node.v_seq.shape == (T, 5, 7)
            assert torch.equal(node.v_seq[-1], node.v)
            found.append((torch.stack(outputs), node.v_seq))
            node.reset()
            assert node.v_seq is None
        (mine, v_mine), (other, v_other) = found
        assert torch.equal(mine, other)
        torch.testing.assert_close(v_mine, v_other, rtol=1e-13, atol=1e-13)
    with pytest.raises(NeuronError, match=r"store_v_seq.*window of 2"):
        CLIFNode(store_v_seq=True, window=2, step_mode="m")(x)


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", PAIRS)
def test_functional_forward_is_spikingjellys(name: str, mode: str) -> None:
    x = current(T, 5, 7)
    inputs = x if mode == "m" else x[0]
    found = []
    for node in PAIRS[name]():
        node.double()
        node.step_mode = mode
        own = dict(node.named_memories())
        states = tuple(own.values())
        made = node.materialize_states((inputs,), states, mode)
        assert all(state.shape == (5, 7) for state in made)
        (spikes,), states = node.functional_forward((inputs,), states)
        (more,), states = node.functional_forward((inputs,), states)
        assert dict(node.named_memories()) == own  # untouched
        found.append((spikes, more, *states))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-13, atol=1e-13)
    assert not torch.equal(found[0][0], found[0][1])


def test_explicit_states_of_a_neuron_with_a_clock() -> None:
    torch.manual_seed(0)
    node = GLIFNode(T, step_mode="m", target="reference").double()
    with torch.no_grad():
        node.conduct += torch.arange(T)
    x = current(T, 2, 3)
    (first,), states = node.functional_forward((x[:1],), tuple(base.extract_memories(node)))
    (rest,), states = node.functional_forward((x[1:],), states)
    assert torch.equal(torch.cat([first, rest]), node(x))
    assert states[-1] == node.steps_since_reset == T


LEARNING = {
    "plif": lambda: PLIFNode(step_mode="m", target="reference"),
    "klif": lambda: KLIFNode(step_mode="m", target="reference"),
    "glif": lambda: GLIFNode(T, step_mode="m", target="reference"),
}


@pytest.mark.parametrize("name", LEARNING)
def test_parameters_that_are_plain_tensors(name: str) -> None:
    torch.manual_seed(0)
    node: NeuronNode = LEARNING[name]().double()
    x = current(T, 2, 3)
    moved = copy.deepcopy(node)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(1.5)
    expected = moved(x)
    assert not torch.equal(expected, node(x))
    node.reset()
    others = {key: (p + 1.5).detach() for key, p in node.named_parameters()}
    assert torch.equal(functional_call(node, others, (x,)), expected)
    node.reset()
    replica: Any = node._replicate_for_data_parallel()  # as torch.nn.parallel.replicate does
    for key, tensor in others.items():
        setattr(replica, key, tensor)
    assert torch.equal(replica(x), expected)
    node.reset()

    class Shift(nn.Module):
        def forward(self, raw: Tensor) -> Tensor:
            return raw + 1.5

    for key in others:
        parametrize.register_parametrization(node, key, Shift())
    assert torch.equal(node(x), expected)


@pytest.mark.parametrize("name", ["lif", "glif"])
def test_a_node_in_the_middle_of_a_sequence_is_pickled(name: str) -> None:
    lif = LIFNode(surrogate_function=surrogate.ATan(alpha=3.0), tau=3.0)
    node = GLIFNode(T) if name == "glif" else lif
    node.double()
    x = current(2, 3)
    with torch.no_grad():
        node(x)
        again = pickle.loads(pickle.dumps(node))
        assert dict(again.hyperparameters) == dict(node.hyperparameters)
        assert torch.equal(again(x), node(x))


def test_training_goes_on_after_inference_mode_and_vmap_is_a_loop() -> None:
    for target in ("reference", "numba"):
        node = LIFNode(step_mode="m", target=target)
        x = current(3, T, 2, 5)
        with torch.inference_mode():
            node(x[0])
        y = x[1].clone().requires_grad_()
        node(y).sum().backward()
        assert bool((y.grad != 0).any())
        node.reset()
        together = vmap(node)(x)
        node.reset()
        for i in range(3):
            assert torch.equal(together[i], node(x[i]))
            node.reset()


class Block(nn.Module):
    """Neither flat nor a node: SpikingJelly loads its states and runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = layer.Linear(3, 3)
        self.node = CLIFNode(surrogate="sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.node(self.fc(x))
        return spikes


def test_checkpoints_with_explicit_states_are_right() -> None:
    x = current(2, T, 2, 3)
    found = []
    for wrap in (lambda module: module, memopt.checkpoint_module):
        for build in (Block, lambda: CLIFNode(surrogate="sigmoid")):
            torch.manual_seed(0)
            module = build().double()
            functional.set_step_mode(module, "m")
            net = wrap(module)
            y = x.clone().requires_grad_()
            (net(y[0]).sum() + net(y[1]).square().sum()).backward()
            found.append(y.grad)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert bool((found[0] != 0).any())


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_of_states_that_have_gone_on_is_refused(reentrant: bool) -> None:
    node = CLIFNode(step_mode="m", surrogate="sigmoid")
    x = current(T, 2, 3).requires_grad_()
    spikes = checkpoint(node, x, use_reentrant=reentrant)
    with pytest.raises(NeuronError, match="states have gone on") as refused:
        spikes.sum().backward()
    assert "functional_forward" in str(refused.value.hint)


def test_a_checkpoint_that_resets_the_node_is_right() -> None:
    node = CLIFNode(step_mode="m", surrogate="sigmoid")

    def fresh(x: Tensor) -> Tensor:
        node.reset()
        return torch.stack([node(step[None])[0] for step in x])

    found = []
    for run in (fresh, lambda x: checkpoint(fresh, x, use_reentrant=False)):
        x = current(T, 2, 3).requires_grad_()
        run(x).sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


def test_what_its_counters_count() -> None:
    """Connections, as behind its own nodes; no neurons, as docs/spikingjelly.md says."""
    totals = []
    for build in (theirs.LIFNode, lambda: LIFNode(v_reset=0.0, decay_input=True)):
        torch.manual_seed(0)
        net = nn.Sequential(
            layer.Conv2d(1, 2, 3, padding=1), build(), layer.Conv2d(2, 2, 3), build()
        )
        functional.set_step_mode(net, "m")
        counters = [op_counter.MACCounter(), op_counter.NeuronStateCounter()]
        with torch.no_grad(), op_counter.DispatchCounterMode(counters):
            net(3 * torch.rand(3, 2, 1, 6, 6))
        totals.append([counter.get_total() for counter in counters])
    assert totals[0][0] == totals[1][0] == 3 * 2 * 36 * 9 * 2
    assert totals[0][1] > 0
    assert totals[1][1] == 0


def test_a_neuron_of_ones_own_has_its_hyperparameters_as_attributes() -> None:
    node = NeuronNode(NEURONS["alif"], beta=0.5)
    assert node.beta == 0.5
    node.beta = 0.0
    assert dict(node.hyperparameters)["beta"] == 0.0
    with pytest.raises(NeuronError, match="v_reset"):
        node.v_reset = 0.0
