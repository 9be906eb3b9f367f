"""Operations, their counts and what feeds them, of our nets and of nets that nobody has built."""

import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.energy.accounting import net_costs
from clifctl.energy.connections import adaptive_fan_outs, window_fan_outs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.graph import Operation, OperationGraph
from clifctl.energy.signals import Signals
from clifctl.energy.tracing import trace_net
from clifctl.errors import EnergyError
from clifctl.models import MODELS, NeuronChoice, SpikingNet, TemporalBatchNorm
from clifctl.neurons import NEURONS
from clifctl.paper import counts
from clifctl.results.energy import Cost

TASKS = ("cifar10", "cifar100", "tiny_imagenet", "dvs_gesture", "cifar10_dvs")


def choice(neuron: str = "lif") -> NeuronChoice:
    return NeuronChoice(NEURONS[neuron], NEURONS[neuron].hyperparameters())


def traced(
    model: str, shape: tuple[int, ...], timesteps: int, *, neuron: str = "lif", **options: Any
) -> OperationGraph:
    row = MODELS[model]
    with torch.device("meta"):
        net = row.build(
            row.options(**options),
            input_shape=shape,
            classes=10,
            timesteps=timesteps,
            neuron=choice(neuron),
        )
    return trace_net(net, shape, timesteps, repeat=timesteps)


class Custom(SpikingNet):
    """A net of one function of `[T, N, *]`, with the modules that it uses."""

    def __init__(self, function: Any, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
        return self.function(self, x), ()


def trace_custom(
    shape: tuple[int, ...], function: Any, timesteps: int = 3, **modules: Any
) -> OperationGraph:
    with torch.device("meta"):
        built = {name: module() for name, module in modules.items()}
    return trace_net(Custom(function, **built), shape, timesteps)


def spiking(channels: int = 4) -> Any:
    return lambda: choice().layer(channels, 3)


def named(graph: OperationGraph, name: str) -> tuple[int, Operation]:
    return next((i, op) for i, op in enumerate(graph.operations) if op.name == name)


@pytest.mark.parametrize("data", TASKS)
def test_counts_of_the_papers_nets(data: str) -> None:
    exact = counts(data)
    assert exact is not None
    row = MODELS[exact.model]
    with torch.device("meta"):
        net = row.build(
            row.options(), input_shape=exact.input, classes=exact.classes,
            timesteps=exact.timesteps, neuron=choice("clif"),
        )  # fmt: skip
    graph = trace_net(net, exact.input, exact.timesteps)
    assert graph.parameters == exact.parameters
    of = {kind: [op for op in graph.operations if op.kind == kind] for kind in ("neuron", "norm")}
    assert sum(op.n_out for op in of["neuron"]) == exact.neurons
    assert sum(op.macs for op in graph.operations if op.kind == "convolution") == (
        exact.convolution_macs
    )
    assert len(of["neuron"]) == len(of["norm"]) == len(graph.folded_norms(True))
    assert {op.steps for op in graph.operations} == {exact.timesteps}
    assert len(graph.without_shortcuts) == len(of["neuron"]) + 1


@given(
    size=st.integers(1, 9), kernel=st.integers(1, 4), stride=st.integers(1, 3),
    padding=st.integers(0, 3), dilation=st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_fan_outs_are_those_of_a_convolution(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        return
    ones = torch.ones(1, 1, kernel, dtype=torch.float64)
    spikes = torch.eye(size, dtype=torch.float64)[:, None]  # one spike at each place
    reached = F.conv1d(spikes, ones, stride=stride, padding=padding, dilation=dilation)
    fan_outs = window_fan_outs(
        size, reached.shape[2], kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    assert fan_outs == tuple(reached.sum((1, 2)).tolist())


@given(size=st.integers(1, 12), out=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_fan_outs_of_an_adaptive_pool(size: int, out: int) -> None:
    spikes = torch.eye(size, dtype=torch.float64)[:, None]
    reached = F.adaptive_avg_pool1d(spikes, out) > 0
    assert adaptive_fan_outs(size, out) == tuple(reached.sum((1, 2)).tolist())


def test_fan_out_counts_borders_groups_and_strides() -> None:
    graph = trace_custom(
        (4, 7, 5),
        lambda net, x: net.b(net.a(x.flatten(0, 1))),
        a=lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
        b=lambda: nn.Conv2d(6, 2, 3, stride=2, padding=1, bias=False),
    )
    _, a = named(graph, "a")
    assert a.pairs == (3 * 7 - 2) * (3 * 5 - 2) * 6 * 2
    assert a.macs == 7 * 5 * 6 * 2 * 9
    assert (a.weights, a.biases, a.bias_operations) == (6 * 2 * 9, 6, 6 * 35)
    _, b = named(graph, "b")
    assert b.output_shape == (2, 4, 3)
    assert b.pairs == (4 * 3 - 2) * (3 * 3 - 2) * 6 * 2
    assert b.fan_out == pytest.approx(10 * 7 * 2 / 35)
    assert (b.biases, b.steps, b.input_shape) == (0, 3, (6, 7, 5))


def test_what_feeds_an_operation_in_resnet18() -> None:
    graph = traced("resnet18", (3, 16, 16), 4, width=2)
    signals = Signals(graph, True, dict.fromkeys(graph.spiking_layers, 0.25))
    fed = {op.name: signals.fed_by(i) for i, op in enumerate(graph.operations) if i}
    assert fed["conv1"] == "image"
    assert fed["blocks.0.conv1"] == fed["blocks.2.shortcut"] == fed["pool"] == "spikes"
    assert fed["blocks.0.norm1"] == fed["blocks.3.neuron1"] == fed["linear"] == "values"
    ann = Signals(graph, False, {})
    assert {ann.fed_by(i) for i in range(2, len(graph.operations))} == {"values"}
    number, stem = named(graph, "conv1")
    assert (stem.steps, named(graph, "blocks.0.conv1")[1].steps) == (1, 4)
    assert graph.fired_into[number] == "blocks.0.neuron1"
    shortcut, _ = named(graph, "blocks.2.shortcut")
    assert graph.fired_from[shortcut] == "blocks.2.neuron1"
    assert shortcut not in graph.without_shortcuts
    assert graph.fired_into[-1] is None


def test_norms_fold_only_where_nothing_changes() -> None:
    graph = traced("resnet18", (3, 8, 8), 4, width=2)
    norms = {i for i, op in enumerate(graph.operations) if op.kind == "norm"}
    assert graph.folded_norms(True) == norms
    # An ANN's identity shortcut carries values that a folded norm would have to multiply.
    unfolded = {graph.operations[i].name for i in norms - graph.folded_norms(False)}
    assert unfolded == {
        *("blocks.1.norm1", "blocks.2.norm1", "blocks.4.norm1", "blocks.6.norm1", "norm")
    }

    def used_twice(net: Any, x: Tensor) -> Tensor:
        current = net.conv(x.flatten(0, 1)).unflatten(0, (3, 1))
        return net.neuron(net.norm(current) + current)[0]

    graph = trace_custom(
        (2, 4, 4), used_twice, conv=lambda: nn.Conv2d(2, 4, 1), neuron=spiking(),
        norm=lambda: TemporalBatchNorm(4, "folded"),
    )  # fmt: skip
    assert graph.folded_norms(True) == frozenset()


def test_operations_of_a_transformer_are_there() -> None:
    """Tokens, a product between spikes, one with values, a max pool, 1x1 convolutions."""

    def attend(net: Any, x: Tensor) -> Tensor:
        tokens = net.conv(net.pool(x.flatten(0, 1)).flatten(2)).view(3, 1, 4, 9)
        q, k = net.neuron(tokens)[0].chunk(2, 2)
        mixed = (q.transpose(2, 3) @ k) * 0.5
        gated = q * k
        return gated + (mixed.sum(3, keepdim=True).transpose(2, 3) * gated)

    graph = trace_custom(
        (3, 6, 6), attend, conv=lambda: nn.Conv1d(3, 4, 1), neuron=spiking(),
        pool=lambda: nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip
    kinds = [op.kind for op in graph.operations]
    assert kinds == [
        *("image", "pool", "convolution", "neuron", "product", "gate", "pool", "gate", "sum")
    ]
    assert (graph.operations[1].maximum, graph.operations[1].pairs) == (True, 3 * (3 * 3 - 1) ** 2)
    product = graph.operations[4]
    assert (product.macs, product.input_shape, product.output_shape) == (9 * 9 * 2, (9, 2), (9, 9))
    signals = Signals(graph, True, {"neuron": 0.25})
    binary = [signals.is_spikes(i) for i in range(len(kinds))]
    assert binary == [False, False, False, True, False, True, False, False, False]
    assert signals.input_rate(4) == 0.25
    assert signals.rate(5) == 0.0625
    costs = net_costs(
        graph, NEURONS["lif"], NEURONS["lif"].hyperparameters(), rates={"neuron": 0.25},
        constants=DEFAULT,
    )  # fmt: skip
    # 3 steps: attention between spikes adds; its sum over 9 x 9 values; gates let spikes pass.
    added = [layer.corrected.acs for layer in costs.layers[3:]]
    assert added == [3 * 162 * 0.25, 3 * 18 * 0.25, 3 * 81, 3 * 18 * 0.0625, 3 * 18 * 0.0625]
    assert {layer.corrected.macs for layer in costs.layers[3:]} == {0}
    dense = net_costs(
        graph, NEURONS["relu"], NEURONS["relu"].hyperparameters(), rates=None, constants=DEFAULT
    )
    assert [layer.corrected.macs for layer in dense.layers[3:]] == [162, 18, 0, 18, 0]


def test_the_maximum_of_spikes_is_a_spike() -> None:
    def pooled(net: Any, x: Tensor) -> Tensor:
        spikes = net.neuron(x)[0].flatten(0, 1)
        return net.average(net.maximum(spikes))

    graph = trace_custom(
        (4, 4, 4), pooled, neuron=spiking(), maximum=lambda: nn.MaxPool2d(2),
        average=lambda: nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip
    signals = Signals(graph, True, {"neuron": 0.1})
    assert [signals.is_spikes(i) for i in range(4)] == [False, True, True, False]
    assert signals.rate(2) == pytest.approx(1 - 0.9**4)


def test_an_operation_without_a_price_is_named_and_is_in_no_total() -> None:
    graph = trace_custom(
        (4, 2, 2), lambda net, x: net.linear(torch.fft.fft(net.neuron(x)[0].flatten(2)).real),
        neuron=spiking(), linear=lambda: nn.Linear(16, 3),
    )  # fmt: skip
    assert [(op.kind, op.function) for op in graph.operations[2:]] == [
        ("unpriced", "fft_fft"), ("linear", "linear"),
    ]  # fmt: skip
    costs = net_costs(
        graph, NEURONS["lif"], NEURONS["lif"].hyperparameters(), rates={"neuron": 0.25},
        constants=DEFAULT,
    )  # fmt: skip
    assert [(one.layer, one.function) for one in costs.unpriced] == [("", "fft_fft")]
    without = costs.layers[1]
    assert (without.kind, without.corrected, without.paper) == ("unpriced", Cost(), Cost())
    assert costs.corrected.macs == 3 * (16 + 16 * 3)  # the neurons, and values into the linear
    assert costs.layers[-1].fed_by == "values"


def test_a_layer_that_never_runs_is_noticed() -> None:
    with pytest.raises(EnergyError, match="does not run its layer of neurons 'idle'"):
        trace_custom((4, 2, 2), lambda net, x: net.neuron(x)[0], neuron=spiking(), idle=spiking())


def test_parameters_of_neurons_are_counted_apart() -> None:
    plain = traced("mlp", (6,), 2, hidden=[5, 4])
    learning = traced("mlp", (6,), 2, neuron="plif", hidden=[5, 4])
    assert plain.neuron_parameters == 0
    assert learning.neuron_parameters == 2
    assert learning.parameters == plain.parameters + 2
    assert learning.spiking_layers == ("features.0.neuron", "features.1.neuron")


def test_a_norm_may_be_computed_with_its_neuron() -> None:
    graph = trace_custom(
        (2, 4, 4),
        lambda net, x: net.neuron(
            net.conv(x.flatten(0, 1)).unflatten(0, (3, 1)), norm=net.norm
        )[0],
        conv=lambda: nn.Conv2d(2, 4, 3), neuron=spiking(),
        norm=lambda: TemporalBatchNorm(4, "per_step", affine=False),
    )  # fmt: skip
    assert [(op.name, op.kind) for op in graph.operations[1:]] == [
        ("conv", "convolution"), ("norm", "norm"), ("neuron", "neuron"),
    ]  # fmt: skip
    norm = graph.operations[2]
    assert (norm.output_shape, norm.weights, norm.biases) == ((4, 2, 2), 0, 0)
    assert graph.folded_norms(True) == {2}


def test_counting_a_resnet18_takes_no_time() -> None:
    started = time.process_time()  # the work, not the machine's load
    graph = traced("resnet18", (3, 32, 32), 6)
    costs = net_costs(
        graph, NEURONS["clif"], NEURONS["clif"].hyperparameters(),
        rates=dict.fromkeys(graph.spiking_layers, 0.1), constants=DEFAULT,
    )  # fmt: skip
    assert costs.paper.macs is not None
    assert time.process_time() - started < 4.0
