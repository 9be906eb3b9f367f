"""Layers of nets, and batch norm folded into them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.convert.folding import fold_graph, fold_net, folding_pairs, plain_pools
from clifctl.convert.graph import read_net
from clifctl.errors import ConversionError
from clifctl.models import NeuronChoice, SpikingNet, TemporalBatchNorm, firing_modules, fold_time
from clifctl.models.layers import Pool, SynapticLayer
from clifctl.neurons import NEURONS

# What folding may change of the neurons' input current, of its largest value.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def currents(net: SpikingNet, x: Tensor) -> list[Tensor]:
    """The input current of every layer of neurons, behind its norm, in the order in which they
    run."""
    kept: list[Tensor] = []
    handles = []
    for module in firing_modules(net).values():
        forward = module.forward

        def keep(x: Tensor, state: Any, norm: Any = None, repeat: int = 1, f: Any = forward) -> Any:
            kept.append(x if norm is None else norm(x, repeat))
            return f(x, state, norm, repeat)

        handles.append((module, forward))
        module.forward = keep  # type: ignore[assignment, method-assign]
    with torch.no_grad():
        net(x)
    for module, forward in handles:
        module.forward = forward  # type: ignore[method-assign]
    return kept


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "folded", "kept"), [("mlp", 2, 0), ("vgg11", 8, 0), ("resnet18", 9, 8)]
)
def test_a_folded_net_has_the_same_currents(
    lif_net: Callable[..., Any], name: str, folded: int, kept: int, dtype: torch.dtype
) -> None:
    net, shape = lif_net(name, dtype)
    keys = list(net.state_dict())
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = currents(net, x)
    names = fold_net(net, read_net(net, shape))
    assert (len(names[0]), len(names[1])) == (folded, kept)
    after = currents(net, x)
    assert len(before) == len(after) >= 2
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() <= TOLERANCE[dtype] * one.abs().max()
    assert list(net.state_dict()) == keys
    for norm in names[0]:
        module = net.get_submodule(norm)
        assert isinstance(module, TemporalBatchNorm)
        assert module.weight is not None
        assert torch.equal(module.weight, torch.ones_like(module.weight))
    # Folding what is folded changes nothing more than rounding.
    again = fold_net(net, read_net(net, shape))
    assert again == names


def test_a_norm_behind_a_sum_becomes_a_diagonal_convolution(lif_net: Callable[..., Any]) -> None:
    net, shape = lif_net("resnet18")
    graph = read_net(net, shape)
    sums = {layer.name for layer in graph.of_kind("sum")}
    behind = [norm.name for norm in graph.of_kind("norm") if norm.inputs[0] in sums]
    assert len(sums) == len(behind) == 8
    folded = fold_graph(graph)
    assert folded.of_kind("norm") == ()
    for name in behind:
        weight = folded[name].values["weight"]
        assert folded[name].kind == "convolution"
        assert folded[name].values["groups"] == 1
        assert weight.shape[2:] == (1, 1)
        assert torch.equal(weight[:, :, 0, 0], torch.diag(graph[name].values["scale"]))


def test_a_pool_that_repeats_values_goes_into_the_linear_layer(lif_net: Callable[..., Any]) -> None:
    net, shape = lif_net("vgg11")
    graph = read_net(net, shape)
    assert [layer.shape for layer in graph.of_kind("adaptive pool")] == [(16, 7, 7)]
    plain = plain_pools(graph)
    assert plain.of_kind("adaptive pool") == ()
    weight = plain["classifier"].values["weight"]
    assert weight.shape == (4, 16)
    given = torch.randn(16, 1, 1, dtype=torch.float64)
    wanted = net.classifier(given.expand(16, 7, 7).flatten())
    assert torch.allclose(weight @ given.flatten() + net.classifier.bias, wanted, atol=1e-13)


class Odd(SpikingNet):
    """A net around one operation that is not a layer."""

    def __init__(self, operation: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        lif = NEURONS["lif"]
        choice = NeuronChoice(lif, lif.hyperparameters(), target="reference")
        convolution = nn.Conv2d(2, 3, 3, padding=1)
        self.first = SynapticLayer(convolution, TemporalBatchNorm(3, "folded"), choice.layer(3, 4))
        self.operation = operation
        self.last = nn.Linear(3 * 4 * 4, 5)

    def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
        spikes, _ = self.first(x)
        return fold_time(self.last, self.operation(spikes).flatten(2)), ()


def attention(spikes: Tensor) -> Tensor:
    maps = spikes.flatten(3)
    return maps @ maps.transpose(2, 3) @ maps


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (Pool(nn.MaxPool2d(3, 1, 1)), "module 'operation.pool': max_pool2d cannot be converted"),
        (attention, "the net's own forward: "),
        (lambda x: x * x, "the net's own forward: mul cannot"),
        (lambda x: x.transpose(0, 1).contiguous().transpose(0, 1), "transpose cannot"),
        (lambda x: torch.nn.functional.relu(x), "relu cannot"),
        (lambda x: torch.cat([x[..., :2], x[..., 2:]], -1), "the net's own forward: "),
    ],
    ids=["max_pool", "attention", "product", "transpose", "relu", "parts"],
)
def test_what_is_no_layer_is_refused_by_its_place(operation: Any, said: str) -> None:
    with pytest.raises(ConversionError) as refused:
        read_net(Odd(operation), (2, 4, 4))
    assert said in refused.value.message
    assert refused.value.hint is not None


def test_a_layer_that_feeds_two_is_not_folded_into() -> None:
    class Twice(Odd):
        def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
            current = fold_time(self.first.connection, x)
            spikes, _ = self.first.neuron(current, None, self.first.norm)
            return fold_time(self.last, (spikes + current).flatten(2)), ()

    graph = read_net(Twice(nn.Identity()), (2, 4, 4))
    assert folding_pairs(graph) == {}
    assert fold_graph(graph)["first.norm"].kind == "convolution"
