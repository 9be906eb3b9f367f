"""Folding, recalibration and the layers of a person's own net with batch norm of torch."""

from pathlib import Path
from typing import Any

import nir
import pytest
import torch
from torch import Tensor, nn

from clifctl.convert.deployment import recalibrate
from clifctl.convert.folding import fold_net
from clifctl.convert.graph import read_net
from clifctl.convert.nir_graph import nir_graph, node_name
from clifctl.convert.readers import MARGIN, READERS, read_with
from clifctl.errors import ConversionError
from clifctl.models import (
    NeuronChoice,
    batch_statistics,
    firing_modules,
    folded_norms,
    norms_in,
)
from clifctl.models.own.net import OwnBuild, OwnNet
from clifctl.models.own.options import options_of
from clifctl.neurons import NEURONS
from clifctl.nn import FoldTime

SHAPE, STEPS = (2, 5, 6), 3


class Residual(nn.Module):
    """Two convolutions with batch norm and a sum of spikes."""

    def __init__(self, input_shape: Any, classes: int, timesteps: int, neuron: Any) -> None:
        super().__init__()
        self.first = FoldTime(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.sn = neuron(4)
        self.second = FoldTime(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.sn2 = neuron(4)
        self.out = nn.Linear(4 * 5 * 6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.sn(self.first(x))
        return self.out((x + self.sn2(self.second(x))).flatten(2))


class Attention(Residual):
    """Something that no target of convert knows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.softmax(x.flatten(2), -1)[..., :1]


def built(maker: Any, **values: Any) -> OwnNet:
    torch.manual_seed(0)
    lif = NEURONS["lif"]
    choice = NeuronChoice(lif, lif.with_values(**values), target="reference")
    build = OwnBuild(maker, "the net", None)
    given: dict[str, Any] = {"input_shape": SHAPE, "classes": 3, "timesteps": STEPS}
    net = build(options_of(maker, "the net")(), **given, neuron=choice).double()
    for norm in norms_in(net).values():
        with torch.no_grad():
            for tensor in norm.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 1.5)
    return net.eval()


def images(*, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(STEPS, 4, *SHAPE, generator=generator, dtype=torch.float64) * 3


def test_batch_norm_of_torch_is_a_layer_and_is_folded() -> None:
    net = built(Residual)
    graph = read_net(net, SHAPE)
    kinds = [layer.kind for layer in graph.layers]
    assert kinds.count("norm") == 2
    assert kinds.count("sum") == 1
    assert [layer.name for layer in graph.of_kind("norm")] == ["net.first.1", "net.second.1"]
    x = images()
    before = net(x)[0]
    assert fold_net(net, graph) == (("net.first.1", "net.second.1"), ())
    torch.testing.assert_close(net(x)[0], before, rtol=1e-9, atol=1e-9)
    assert folded_norms(net) == ("net.first.1", "net.second.1")
    averages = net.net.second[1].running_mean.clone()
    recalibrate(net, [x], repeat=1)  # nothing is left to estimate
    assert torch.equal(net.net.second[1].running_mean, averages)


class Joined(nn.Module):
    """Two branches side by side, before a convolution and, flattened, a linear layer."""

    def __init__(self, input_shape: Any, classes: int, timesteps: int, neuron: Any) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            FoldTime(nn.Conv2d(2, width, k, padding=k // 2), nn.BatchNorm2d(width))
            for width, k in ((4, 3), (3, 5))
        )
        self.spikes = nn.ModuleList([neuron(4), neuron(3)])
        self.mix = FoldTime(nn.Conv2d(9, 5, 3, bias=False), nn.BatchNorm2d(5))
        self.sn = neuron(5)
        self.pool = FoldTime(nn.AvgPool2d(2))
        self.out = nn.Linear(5 * 12 + 7 * 6, classes)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (sn(one(x)) for one, sn in zip(self.branches, self.spikes, strict=True))
        both = torch.cat([first, second], dim=2)
        mixed = self.sn(self.mix(torch.concat([x, both], -3)))
        return self.out(torch.cat([mixed.flatten(2), self.pool(both).flatten(2)], -1))


def test_concatenated_channels_are_written_as_a_layer_for_each(tmp_path: Path) -> None:
    net = built(Joined, reset="hard")
    graph = read_net(net, SHAPE)
    assert len(graph.of_kind("concatenation")) == 3
    x = images()
    expected: dict[str, Tensor] = {}
    for name, layer in firing_modules(net).items():
        layer.register_forward_hook(
            lambda module, given, output, name=name: expected.update({name: output[0]})
        )
    with torch.no_grad():
        logits = net(x)[0]
    nir.write(tmp_path / "net.nir", nir_graph(graph, profile="portable", metadata={}))
    nodes = [node_name(name) for name in expected]
    for reader in READERS:
        found = read_with(reader, tmp_path / "net.nir", x, nodes)
        margin = MARGIN[reader.arithmetic]
        torch.testing.assert_close(found.outputs.double(), logits, rtol=0, atol=100 * margin)
        for name, spikes in expected.items():
            assert 0.05 < spikes.mean() < 0.95
            assert torch.equal(found.spikes[node_name(name)].double(), spikes), (reader.name, name)


def test_what_concatenated_channels_cannot_be_is_told() -> None:
    net = built(JoinedCurrents, reset="hard")
    with pytest.raises(ConversionError, match=r"'net.sn.neurons': a neuron of concatenated"):
        nir_graph(read_net(net, SHAPE), profile="portable", metadata={})


class JoinedCurrents(nn.Module):
    """Two currents side by side for one layer of neurons."""

    def __init__(self, input_shape: Any, classes: int, timesteps: int, neuron: Any) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(60, 4), nn.Linear(60, 4)
        self.sn, self.out = neuron(8), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        return self.out(self.sn(torch.cat([self.one(x), self.two(x)], 2)))


def test_an_operation_without_a_layer_is_named_with_its_place() -> None:
    with pytest.raises(ConversionError, match=r"module 'net': softmax cannot be converted"):
        read_net(built(Attention), SHAPE)


def test_batch_norm_of_torch_is_estimated_anew() -> None:
    net = built(Residual)
    batches = [images(seed=2), images(seed=3)]
    recalibrate(net, batches, repeat=1)
    with torch.no_grad():
        maps = [net.net.first[0](batch.flatten(0, 1)) for batch in batches]
    mean = torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0)
    torch.testing.assert_close(net.net.first[1].running_mean, mean)
    assert net.net.first[1].momentum == 0.1


def test_statistics_of_the_batch_are_used_and_not_kept() -> None:
    net = built(Residual)
    x = images()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad(), batch_statistics(net):
        found = net(x)[0]
    with torch.no_grad():
        expected = net.train()(x)[0]
    torch.testing.assert_close(found, expected)
    assert not torch.equal(net.net.first[1].running_mean, state["net.first.1.running_mean"])
    net.load_state_dict(state)
    with torch.no_grad():
        assert not torch.allclose(net.eval()(x)[0], found)
