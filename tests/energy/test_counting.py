"""Operations that spikes cause, counted while a net runs, against a count spike by spike."""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.energy.accounting import NetCosts, net_costs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.graph import OperationGraph
from clifctl.energy.tracing import trace_net
from clifctl.errors import EnergyError
from clifctl.models import (
    MODELS,
    FiringRates,
    NeuronChoice,
    SequentialNet,
    SpikingNet,
    SynapticLayer,
)
from clifctl.models.layers import Pool
from clifctl.models.norm import TemporalBatchNorm
from clifctl.neurons import NEURONS
from clifctl.results.energy import LayerCost

STEPS = 3
SAMPLES = 4
LIF = NEURONS["lif"]

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def inputs_of_layers(net: nn.Module, run: Callable[[], object]) -> dict[str, Tensor]:
    """What each layer without time got while `run` ran the net, of all its calls."""
    found: dict[str, list[Tensor]] = {}
    handles = [
        module.register_forward_pre_hook(
            lambda module, given, name=name: found.setdefault(name, []).append(given[0])
        )
        for name, module in net.named_modules()
        if isinstance(module, COUNTED)
    ]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return {name: torch.cat(inputs) for name, inputs in found.items()}


def outputs_reached(layer: nn.Module, inputs: Tensor) -> int:
    """The outputs of `layer` that change, summed over every spike of `inputs` `[N, *]` by itself.
    All weights are one, so that none hides an output."""
    ones = copy.deepcopy(layer).double()
    for name, parameter in ones.named_parameters():
        nn.init.constant_(parameter, float(name == "weight"))
    places, spikes = inputs.flatten(1).nonzero()[:, 1].unique(return_counts=True)
    alone = torch.eye(inputs[0].numel(), dtype=torch.float64)[places]
    with torch.no_grad():
        changed = torch.count_nonzero(ones(alone.view(-1, *inputs.shape[1:])).flatten(1), 1)
    return int((changed * spikes).sum())


def effective_operations(layer: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """NeuroBench's effective ACs and MACs of one layer: without its bias, the products of a weight
    and an input that are both not zero; ACs where every input is -1, 0 or 1."""
    ones = copy.deepcopy(layer).double()
    for name, parameter in ones.named_parameters():
        parameter.data = (parameter != 0).double() if name == "weight" else parameter * 0
    with torch.no_grad():
        products = int(ones((inputs != 0).double()).sum())
    binary = bool(torch.isin(inputs, torch.tensor([-1, 0, 1], dtype=inputs.dtype)).all())
    return (products, 0) if binary else (0, products)


def neurons() -> NeuronChoice:
    return NeuronChoice(LIF, LIF.hyperparameters())


def firing(net: SpikingNet) -> SpikingNet:
    """With weights at which a fifth of the neurons fire, more or less."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0.0, 3 / parameter[0].numel() ** 0.5, generator=generator)
        elif "norm" not in name:
            parameter.data.normal_(-0.2, 0.1, generator=generator)
    return net.double().eval()


def bordered() -> SpikingNet:
    """Strides, padding, kernels 3 and 5, groups, dilation, pools that overlap and are padded."""

    def layer(channels: int, out: int, *given: int, **more: Any) -> SynapticLayer:
        convolution = nn.Conv2d(channels, out, *given, **more)
        return SynapticLayer(
            convolution, TemporalBatchNorm(out, "per_step"), neurons().layer(out, STEPS)
        )

    layers = [
        layer(2, 4, 3, 1, 1),
        layer(4, 6, 5, 2, 2, groups=2),
        Pool(nn.MaxPool2d(3, 2, 1)),
        layer(6, 4, 3, padding=(2, 1), dilation=(2, 1)),
        Pool(nn.AvgPool2d(3, 1, 1)),
    ]  # fmt: skip
    return firing(SequentialNet(layers, features=4 * 3 * 3, classes=3, dropout=0.0))


def images(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(STEPS, SAMPLES, *shape, dtype=torch.float64, generator=generator)


def traced(net: SpikingNet, x: Tensor) -> OperationGraph:
    return trace_net(copy.deepcopy(net).to("meta", torch.float32), x.shape[2:], STEPS)


def in_two_batches(net: SpikingNet, x: Tensor) -> None:
    net(x[:, :1])
    net(x[:, 1:])


def counted(net: SpikingNet, x: Tensor) -> tuple[OperationGraph, NetCosts, NetCosts]:
    """The costs as they are counted in two batches, and those of the rates alone."""
    graph = traced(net, x)
    counter, rates = SpikeCounter(graph), FiringRates(net)
    with torch.inference_mode(), rates.recording(), counter.following(net):
        in_two_batches(net, x)
    known = {name: sum(steps) / STEPS for name, steps in rates.per_step().items()}
    exact, mean = (
        net_costs(graph, LIF, LIF.hyperparameters(), rates=known, constants=DEFAULT, counted=found)
        for found in (counter.counted(), None)
    )
    return graph, exact, mean


def named(costs: NetCosts, name: str) -> LayerCost:
    return next(layer for layer in costs.layers if layer.layer == name)


def spike_fed(costs: NetCosts) -> list[LayerCost]:
    kinds = ("convolution", "linear", "pool")
    return [each for each in costs.layers if each.fed_by == "spikes" and each.kind in kinds]


def test_every_spike_is_charged_the_outputs_that_it_reaches() -> None:
    net, x = bordered(), images(2, 11, 9)
    graph, exact, mean = counted(net, x)
    got = inputs_of_layers(net, lambda: in_two_batches(net, x))
    fed = spike_fed(exact)
    assert [each.kind for each in fed] == ["convolution", "pool", "convolution", "pool"]
    for each in fed:
        reached = outputs_reached(net.get_submodule(each.layer), got[each.layer]) / SAMPLES
        operation = next(op for op in graph.operations if op.name == each.layer)
        biases = STEPS * operation.bias_operations
        assert each.corrected.acs == pytest.approx(reached + biases, rel=1e-12), each.layer
        spikes = int(torch.count_nonzero(got[each.layer])) / SAMPLES
        assert each.spike_fan_out == pytest.approx(reached / spikes, rel=1e-12)
        # The mean over a map is another number: its borders do not fire as the rest does.
        assert abs(reached / spikes / operation.fan_out - 1) > 1e-3
        assert each.paper == named(mean, each.layer).paper
        e = DEFAULT.access_pj
        addressing = 2 * spikes * (DEFAULT.add_pj + DEFAULT.mul_pj) + reached * DEFAULT.add_pj
        assert each.corrected.addressing_uj == pytest.approx(addressing * 1e-6, rel=1e-12)
        if each.kind == "convolution":
            potential = 2 * reached * e(4 * operation.n_out)
            read = (reached + biases) * e(4 * (operation.weights + operation.biases))
            assert each.corrected.potential_mj == pytest.approx(potential * 1e-9, rel=1e-12)
            assert each.corrected.parameters_mj == pytest.approx(read * 1e-9, rel=1e-12)
    assert exact.paper == mean.paper
    assert exact.corrected.acs == pytest.approx(
        sum(each.corrected.acs or 0 for each in exact.layers)
    )


def test_a_maximum_of_spikes_is_counted_not_guessed() -> None:
    net, x = bordered(), images(2, 11, 9)
    _, exact, mean = counted(net, x)
    behind = "features.3.connection"
    rate = float(inputs_of_layers(net, lambda: in_two_batches(net, x))[behind].mean())
    assert named(exact, behind).firing_rate == pytest.approx(rate, rel=1e-12)
    assert abs((named(mean, behind).firing_rate or 0.0) / rate - 1) > 1e-3
    assert named(mean, behind).spike_fan_out is None


def test_a_transformer_is_counted_through_its_masks_and_pools() -> None:
    row = MODELS["spike_driven_transformer"]
    options = row.options(width=1, depth=1, pools=2)
    built = row.build(
        options, input_shape=(2, 13, 10), classes=3, timesteps=STEPS, neuron=neurons()
    )
    net = firing(built)
    x = 3 * images(2, 13, 10)
    graph, exact, _ = counted(net, x)
    fired: dict[str, list[Tensor]] = {name: [] for name in ("query", "key", "value", "kv_neuron")}
    attention = net.get_submodule("blocks.0.attention")
    for name, spikes in fired.items():
        attention.get_submodule(name).register_forward_hook(
            lambda module, given, result, spikes=spikes: spikes.append(result[0])
        )
    got = inputs_of_layers(net, lambda: in_two_batches(net, x))
    fed = spike_fed(exact)
    modules = [each for each in fed if each.layer in got]
    assert [each.layer for each in fed if each not in modules] == ["blocks.0.attention"]
    assert sum(each.kind == "pool" for each in modules) == 1
    assert "blocks.0.attention.conv" in {each.layer for each in modules}
    for each in modules:
        reached = outputs_reached(net.get_submodule(each.layer), got[each.layer]) / SAMPLES
        operation = next(op for op in graph.operations if op.name == each.layer)
        biases = STEPS * operation.bias_operations
        assert reached > 0, each.layer
        assert each.corrected.acs == pytest.approx(reached + biases, rel=1e-12), each.layer
    query, key, value, mask = (torch.cat(spikes, 1) for spikes in fired.values())
    first, column, second, _ = (
        each.corrected.acs for each in exact.layers if each.layer == "blocks.0.attention"
    )
    tokens = query[0, 0, 0].numel()
    assert first == pytest.approx(float(min(key.sum(), value.sum())) / SAMPLES)
    assert column == pytest.approx(float((key * value).sum()) / SAMPLES, rel=1e-12)
    assert second == pytest.approx(float(min(query.sum(), tokens * mask.sum())) / SAMPLES)


@pytest.mark.parametrize(("model", "fed_by_spikes"), [("resnet18", 19), ("vgg13", 5)])
def test_nets_run_on_data_as_they_were_traced(model: str, fed_by_spikes: int) -> None:
    """On a CPU, where some convolutions and pools are our own, and with an image that is static."""
    row, shape = MODELS[model], (3, 32, 32)
    options = row.options(width=2)
    net = row.build(options, input_shape=shape, classes=3, timesteps=STEPS, neuron=neurons())
    firing(net)
    x = images(*shape)[:1]
    meta = copy.deepcopy(net).to("meta", torch.float32)
    graph = trace_net(meta, shape, STEPS, repeat=STEPS)
    counter = SpikeCounter(graph)
    with torch.inference_mode(), counter.following(net):
        net(x, repeat=STEPS)
    got = inputs_of_layers(net, lambda: net(x, repeat=STEPS))
    reached = {
        graph.operations[number].name: outputs
        for number, outputs in counter.counted().reached.items()
        if graph.operations[number].kind == "convolution"
    }
    assert len(reached) == fed_by_spikes
    for name, outputs in reached.items():
        acs, macs = effective_operations(net.get_submodule(name), got[name])
        assert outputs == pytest.approx(acs / SAMPLES, rel=1e-12), name
        assert macs == 0


@pytest.mark.parametrize("padded", [False, True], ids=["plain", "padded"])
def test_neurobenchs_effective_operations(padded: bool) -> None:
    """Of one layer of a convolution that gets an image, one that gets spikes, a linear layer."""
    pad = int(padded)
    layers = [
        SynapticLayer(
            nn.Conv2d(channels, 3, 3, 1, pad), TemporalBatchNorm(3, "per_step"),
            neurons().layer(3, STEPS),
        )
        for channels in (2, 3)
    ]  # fmt: skip
    height, width = (7, 6) if padded else (3, 2)
    net = firing(SequentialNet(layers, features=3 * height * width, classes=3, dropout=0.0))
    x = images(2, 7, 6)
    if padded:
        x[x < 0.25] = 0.0
    graph, exact, _ = counted(net, x)
    acs = macs = 0
    for name, got in inputs_of_layers(net, lambda: in_two_batches(net, x)).items():
        ac, mac = effective_operations(net.get_submodule(name), got)
        acs, macs = acs + ac, macs + mac
    connections = [op for op in graph.operations if op.kind in ("convolution", "linear")]
    own = [named(exact, op.name).corrected for op in connections]
    # Beside NeuroBench's: biases, and neurons, which are operations of their own here.
    biases = STEPS * sum(op.bias_operations for op in connections)
    assert sum(cost.acs or 0 for cost in own) - biases == pytest.approx(acs / SAMPLES, rel=1e-12)
    stem = connections[0]
    assert [cost.macs for cost in own] == [STEPS * stem.macs, 0, 0]
    # A layer of values is dense here: the products with padding and with zeros of the image.
    padding = STEPS * (stem.macs - stem.pairs)
    zeros = outputs_reached(layers[0].connection, (x == 0.0).double().flatten(0, 1)) / SAMPLES
    assert (padding > 0, zeros > 0) == (padded, padded)
    assert STEPS * stem.macs - padding - zeros == pytest.approx(macs / SAMPLES, rel=1e-12)


def test_nothing_of_a_run_is_kept_but_sums() -> None:
    net, x = bordered(), images(2, 11, 9)
    held: list[Any] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.register_forward_hook(lambda m, given, result: held.append(weakref.ref(result)))
    counter = SpikeCounter(traced(net, x))
    held.clear()
    with torch.inference_mode(), counter.following(net):
        net(x)
        assert len(held) == 4
        assert [reference() for reference in held] == [None] * 4
    assert {total.dim() for total in counter._reached.values()} == {0}


def test_a_net_that_runs_otherwise_on_data_is_refused() -> None:
    class Fickle(SpikingNet):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.neuron = nn.MaxPool1d(2), neurons().layer(4, STEPS)
            self.mood = "usual"

        def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
            spikes = self.neuron(x)[0]
            if self.mood != "idle":
                spikes = self.pool(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])
            return spikes * spikes if self.mood == "busy" else spikes, ()

    net, x = Fickle(), torch.ones(STEPS, 1, 4, 6)
    counter = SpikeCounter(traced(net, x))
    with counter.following(net):
        net(x)
        for net.mood, said in (("idle", "ends before its pool"), ("busy", "another gate")):
            with pytest.raises(EnergyError, match=said):
                net(x)
