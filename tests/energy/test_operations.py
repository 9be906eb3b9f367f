"""The functions of torch that nets use, each as what it is counted."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.energy.accounting import net_costs
from clifctl.energy.connections import scattered_fan_outs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.graph import Operation, OperationGraph
from clifctl.energy.signals import Signals
from clifctl.energy.tracing import trace_net
from clifctl.models import NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS

STEPS = 3
LIF = NEURONS["lif"]


class Net(SpikingNet):
    """One function of spikes `[T, N, *]`, with the modules that it uses."""

    def __init__(self, function: Any, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.neuron = NeuronChoice(LIF, LIF.hyperparameters()).layer(4, STEPS)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
        return self.function(self, self.neuron(x)[0]), ()


def traced(function: Any, *shape: int, **modules: Any) -> OperationGraph:
    with torch.device("meta"):
        net = Net(function, **{name: module() for name, module in modules.items()})
    return trace_net(net, shape, STEPS)


def after_spikes(function: Any, *shape: int, **modules: Any) -> list[Operation]:
    return list(traced(function, *shape, **modules).operations[2:])


def charged(operations: list[Operation]) -> list[tuple[str, int, int, int]]:
    return [
        (op.function, op.additions, op.multiplications, op.functions)
        for op in operations
        if op.kind == "elementwise"
    ]


# 4 x 2 x 2 = 16 values a step; a, m, f: additions, multiplications, functions of each value
ACTIVATIONS: list[tuple[str, Any, tuple[float, float, float]]] = [
    ("relu", F.relu, (1, 0, 0)),
    ("relu", lambda s: s.clone().relu_(), (1, 0, 0)),
    ("relu", nn.ReLU(inplace=True), (1, 0, 0)),
    ("gelu", F.gelu, (1, 3, 1)),
    ("gelu", nn.GELU("tanh"), (2, 6, 1)),
    ("silu", F.silu, (0, 1, 1)),
    ("sigmoid", torch.sigmoid, (0, 0, 1)),
    ("sigmoid", lambda s: s.sigmoid(), (0, 0, 1)),
    ("tanh", nn.Tanh(), (0, 0, 1)),
    ("leaky_relu", F.leaky_relu, (1, 1, 0)),
    ("clamp", lambda s: s.clamp(0, 1), (2, 0, 0)),
    ("pow", lambda s: s**2, (0, 1, 0)),
    ("add", lambda s: s + 1.0, (1, 0, 0)),
    ("rsub", lambda s: 1.0 - s, (1, 0, 0)),
    ("rdiv", lambda s: 1.0 / s, (0, 0, 1)),
    ("softmax", lambda s: s.softmax(2), (3, 1, 1 + 1 / 4)),
    ("log_softmax", lambda s: F.log_softmax(s, -1), (4, 0, 1 + 1 / 2)),
    ("interpolate", nn.Upsample(scale_factor=2, mode="bilinear"), (16, 16, 0)),
]


@pytest.mark.parametrize(("name", "function", "each"), ACTIVATIONS)
def test_functions_of_each_value(name: str, function: Any, each: tuple[float, ...]) -> None:
    def run(net: Any, s: Tensor) -> Tensor:
        if name == "interpolate":
            return function(s.flatten(0, 1))
        return function(s)

    (operation,) = after_spikes(run, 4, 2, 2)
    assert charged([operation]) == [(name, *(int(16 * count) for count in each))]


def test_norms_of_the_data_are_never_folded() -> None:
    graph = traced(
        lambda net, s: net.group(net.conv(s.flatten(0, 1))).flatten(1) + net.layer(s.flatten(2)),
        4, 2, 2,
        conv=lambda: nn.Conv2d(4, 4, 1), group=lambda: nn.GroupNorm(2, 4),
        layer=lambda: nn.LayerNorm(16, bias=False),
    )  # fmt: skip
    assert charged(list(graph.operations)) == [
        ("group_norm", 16 * 4, 16 * 3, 2),
        ("layer_norm", 16 * 3, 16 * 3, 1),
    ]
    (rms,) = after_spikes(lambda net, s: net.norm(s.flatten(2)), 4, 4, norm=lambda: nn.RMSNorm(16))
    assert charged([rms]) == [("rms_norm", 16, 48, 1)]
    assert graph.folded_norms(True) == frozenset()
    kinds = [
        op.kind
        for op in after_spikes(
            lambda net, s: net.plain(net.tracked(s.flatten(0, 1))), 4, 2, 2,
            tracked=lambda: nn.InstanceNorm2d(4, track_running_stats=True),
            plain=lambda: nn.InstanceNorm2d(4),
        )
    ]  # fmt: skip
    assert kinds == ["norm", "elementwise"]


@pytest.mark.parametrize(
    "function",
    [
        lambda s: F.interpolate(s.flatten(0, 1), scale_factor=2),
        lambda s: F.pad(s, (1, 1, 1, 1)),
        lambda s: s.unflatten(2, (2, 2)).transpose(2, 3).flatten(2, 3),  # channel shuffle
        lambda s: F.pixel_shuffle(s.flatten(0, 1), 2),
        lambda s: s.roll(1, 3).flip(4),
        lambda s: F.unfold(s.flatten(0, 1), 2),
        lambda s: torch.einsum("tnchw->tnhwc", s),
        lambda s: torch.cat(s.chunk(2, 2), 2),
        lambda s: s.repeat_interleave(2, 2),
    ],
)
def test_what_moves_values_is_no_operation(function: Any) -> None:
    assert after_spikes(lambda net, s: function(s), 4, 2, 2) == []


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 2, 2)])
def test_fan_outs_of_a_transposed_convolution(stride: int, padding: int, dilation: int) -> None:
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    spikes = torch.eye(5, dtype=torch.float64)[:, None]
    reached = F.conv_transpose1d(spikes, torch.ones(1, 1, 3, dtype=torch.float64), **how)
    assert scattered_fan_outs(5, reached.shape[2], kernel=3, **how) == tuple(
        reached.sum((1, 2)).int().tolist()
    )
    (operation,) = after_spikes(
        lambda net, s: net.up(s.flatten(0, 1)), 4, 5,
        up=lambda: nn.ConvTranspose1d(4, 6, 3, groups=2, **how),
    )  # fmt: skip
    assert (operation.kind, operation.maps, operation.weights) == ("convolution", 3, 4 * 3 * 3)
    assert operation.macs == 4 * 5 * 3 * 3
    assert operation.pairs == int(reached.sum()) * 4 * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda net, s: net.weights(s.flatten(2)),
        lambda net, s: s.flatten(2) @ net.weights.weight.T,
        lambda net, s: torch.matmul(s.flatten(2), net.weights.weight.T),
        lambda net, s: torch.einsum("tni,oi->tno", s.flatten(2), net.weights.weight),
        lambda net, s: torch.einsum("...i,oi->...o", s.flatten(2), net.weights.weight),
        lambda net, s: torch.addmm(
            net.weights.bias, s.flatten(0, 1).flatten(1), net.weights.weight.T
        ),
    ],
)
def test_products_with_weights_are_linear_layers(function: Any) -> None:
    (operation,) = after_spikes(function, 4, 2, weights=lambda: nn.Linear(8, 5))
    assert (operation.kind, operation.macs, operation.pairs) == ("linear", 40, 40)
    assert (operation.maps, operation.weights, operation.n_in, operation.n_out) == (5, 40, 8, 5)


def attention_by_hand(tokens: int, width: int, heads: int) -> list[tuple[str, int]]:
    rows = heads * tokens
    return [
        ("product", rows * tokens * (width // heads)),
        ("softmax", 3 * rows * tokens),
        ("product", rows * tokens * (width // heads)),
    ]


def noted(operations: list[Operation]) -> list[tuple[str, int]]:
    return [
        (op.function, op.additions) if op.kind == "elementwise" else (op.kind, op.macs)
        for op in operations
    ]


def test_attention_is_its_products_and_a_softmax() -> None:
    def attend(net: Any, s: Tensor) -> Tensor:
        q = s.unflatten(3, (2, 4)).transpose(2, 3)  # [T, N, heads, tokens, width]
        return F.scaled_dot_product_attention(q, q, q).flatten(2)

    assert noted(after_spikes(attend, 5, 8)) == attention_by_hand(5, 8, 2)
    found = after_spikes(
        lambda net, s: net.attention(s.flatten(0, 1), s.flatten(0, 1), s.flatten(0, 1))[0], 5, 8,
        attention=lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    )  # fmt: skip
    projection = ("linear", 5 * 8 * 8)
    assert noted(found) == [projection] * 3 + attention_by_hand(5, 8, 2) + [projection]
    assert {op.name for op in found} == {"attention"}


def test_branches_side_by_side_keep_their_rates() -> None:
    def branches(net: Any, s: Tensor) -> Tensor:
        other = net.second(net.conv(s.flatten(0, 1)).unflatten(0, (STEPS, 1)))[0]
        return net.linear(torch.cat([s, other], 2).flatten(2))

    choice = NeuronChoice(LIF, LIF.hyperparameters())
    graph = traced(
        branches, 4, 2, 2, conv=lambda: nn.Conv2d(4, 2, 1, bias=False),
        second=lambda: choice.layer(2, STEPS), linear=lambda: nn.Linear(24, 3),
    )  # fmt: skip
    signals = Signals(graph, True, {"neuron": 0.3, "second": 0.6})
    kinds = [op.kind for op in graph.operations[2:]]
    assert kinds == ["convolution", "neuron", "concatenation", "linear"]
    assert signals.rate(4) == pytest.approx((0.3 * 16 + 0.6 * 8) / 24)
    assert signals.reached(5) == pytest.approx(STEPS * 3 * (0.3 * 16 + 0.6 * 8))
    mixed = traced(lambda net, s: torch.cat([s, s + 1.0], 2), 4, 2)
    assert not Signals(mixed, True, {"neuron": 0.3}).is_spikes(3)


def test_differences_and_extremes_of_spikes() -> None:
    def second(net: Any, s: Tensor) -> Tensor:
        return net.second(s)[0]

    choice = NeuronChoice(LIF, LIF.hyperparameters())
    for join, spikes in ((torch.sub, False), (torch.maximum, True), (torch.add, True)):
        graph = traced(
            lambda net, s, join=join: join(s, second(net, s)), 4, second=lambda: choice.layer(4, 3)
        )
        signals = Signals(graph, True, {"neuron": 0.5, "second": 0.25})
        assert signals.is_spikes(3) == spikes
    (gone,) = after_spikes(lambda net, s: s.max(0)[0], 4, 2)
    assert (gone.kind, gone.maximum, gone.steps, gone.pairs) == ("pool", True, 1, STEPS * 8)
    (mean,) = after_spikes(lambda net, s: s.transpose(0, 1).mean(1), 4, 2)
    assert (mean.steps, mean.pairs) == (1, STEPS * 8)


def test_weights_and_constants_of_each_value() -> None:
    found = after_spikes(
        lambda net, s: net.embed(((s.flatten(2) + net.scale.weight) * net.scale.weight).long()),
        4, 2, scale=lambda: nn.LayerNorm(8), embed=lambda: nn.Embedding(10, 3),
    )  # fmt: skip
    assert charged(found) == [("add", 8, 0, 0), ("mul", 0, 8, 0), ("embedding", 0, 0, 0)]
    assert [op.weights for op in found] == [8, 8, 30]
    assert after_spikes(lambda net, s: -s * 0.5 / 3, 4, 2) == []


def test_what_is_written_into_a_tensor_is_followed() -> None:
    def written(net: Any, s: Tensor) -> Tensor:
        buffer = s.new_zeros(STEPS, 1, 8)
        buffer[:, :, :8] = s.flatten(2)
        return net.linear(buffer)

    (linear,) = after_spikes(written, 4, 2, linear=lambda: nn.Linear(8, 2))
    assert (linear.kind, linear.inputs) == ("linear", (1,))


def test_steps_one_by_one_and_modules_used_twice() -> None:
    def one_by_one(net: Any, s: Tensor) -> Tensor:
        return torch.stack([net.linear(net.linear(step.flatten(1))) for step in s])

    graph = traced(one_by_one, 4, 2, linear=lambda: nn.Linear(8, 8))
    linear = [op for op in graph.operations if op.kind == "linear"]
    assert [(op.steps, op.macs, op.n_in) for op in linear] == [(1, 64, 8)] * 6
    assert (graph.operations[-1].kind, graph.operations[-1].steps) == ("concatenation", STEPS)
    costs = net_costs(
        graph, LIF, LIF.hyperparameters(), rates={"neuron": 0.5}, constants=DEFAULT
    )  # fmt: skip
    assert costs.synaptic.dense == 6 * 64
    assert costs.synaptic.effective_acs == math.prod((3, 64, 0.5))
    assert costs.synaptic.effective_macs == 3 * 64
