"""Where a value is several spikes: sums of spikes (SEW-ResNet) and I-LIF's activations."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.energy.accounting import net_costs, synaptic_operations
from clifctl.energy.constants import DEFAULT
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.graph import Operation, OperationGraph
from clifctl.energy.rates import rates_of_layers
from clifctl.energy.signals import Signals
from clifctl.energy.tracing import trace_net
from clifctl.errors import EnergyError
from clifctl.models import MODELS, FiringRates, NeuronChoice, SpikingNet, TemporalBatchNorm
from clifctl.neurons import NEURONS

T, SAMPLES, CLASSES = 3, 2, 4


def built(name: str, neuron: str, shape: tuple[int, ...], options: dict[str, Any]) -> SpikingNet:
    model, chosen = MODELS[name], NEURONS[neuron]
    choice = NeuronChoice(chosen, chosen.hyperparameters(), target="reference")
    given = model.options(**options)
    return model.build(given, input_shape=shape, classes=CLASSES, timesteps=T, neuron=choice)


def firing(net: SpikingNet) -> SpikingNet:
    for norm in (m for m in net.modules() if isinstance(m, TemporalBatchNorm)):
        assert norm.bias is not None
        nn.init.constant_(norm.bias, 0.4)
    return net.double().eval()


class Hooks:
    """Counts what each convolution and linear layer does: of inputs that are whole numbers, one
    addition for each unit of an input and each output that its window covers; else every product.
    """

    def __init__(self, net: nn.Module) -> None:
        self.additions: dict[str, float] = {}
        self.products: dict[str, int] = {}
        self.handles = []
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hook = partial(self.count, name)
                self.handles.append(module.register_forward_hook(hook))

    def count(self, name: str, module: Any, given: tuple[Tensor], out: Tensor) -> None:
        (x,) = given
        if not torch.equal(x, x.round()):
            self.products[name] = out.numel() * module.weight[0].numel() // SAMPLES
            return
        ones = torch.ones_like(module.weight)
        if isinstance(module, nn.Linear):
            reached = F.linear(x, ones)
        else:
            reached = F.conv2d(x, ones, None, module.stride, module.padding)
        self.additions[name] = float(reached.sum()) / SAMPLES


NETS: dict[str, tuple[str, str, tuple[int, ...], dict[str, Any]]] = {
    "add": ("sew_resnet18", "lif", (2, 17, 19), {"width": 2}),
    "add-ilif": ("sew_resnet18", "ilif", (2, 9, 8), {"width": 2, "stem": "cifar"}),
    "and": ("sew_resnet18", "if", (2, 9, 8), {"width": 2, "stem": "cifar", "connect": "and"}),
    "iand": ("sew_resnet18", "lif", (2, 9, 8), {"width": 2, "stem": "cifar", "connect": "iand"}),
    "sums": ("spiking_resnet18", "if", (2, 9, 8), {"width": 2, "stem": "cifar"}),
    "vgg": ("spiking_vgg11", "if", (2, 33, 32), {"width": 2, "hidden": 5}),
}


@pytest.mark.parametrize("case", NETS)
def test_synaptic_operations_are_those_that_hooks_count(case: str) -> None:
    name, neuron, shape, options = NETS[case]
    torch.manual_seed(3)
    net = firing(built(name, neuron, shape, options))
    x = torch.randn(1, SAMPLES, *shape, generator=torch.Generator().manual_seed(4)).double()
    hooks = Hooks(net)
    with torch.no_grad():
        net(x, repeat=T)
    for handle in hooks.handles:
        handle.remove()
    with torch.device("meta"):
        graph = trace_net(built(name, neuron, shape, options), shape, T, repeat=T)
    counter, rates = SpikeCounter(graph), FiringRates(net)
    with torch.inference_mode(), rates.recording(), counter.following(net):
        net(x, repeat=T)
    known = {layer: sum(steps) / T for layer, steps in rates.per_step().items()}
    most = NEURONS[neuron].hyperparameters().most_spikes
    signals = Signals(graph, True, known, counter.counted(), most)
    additions, products = synaptic_operations(signals)
    assert hooks.additions
    assert additions == pytest.approx(sum(hooks.additions.values()), rel=1e-12)
    assert products == sum(hooks.products.values())
    # The same layer by layer; a bias is N_out x T additions more.
    chosen = NEURONS[neuron]
    values = chosen.hyperparameters()
    costs = net_costs(
        graph, chosen, values, rates=known, constants=DEFAULT, counted=counter.counted()
    )
    by_name = {op.name: op for op in graph.operations if op.kind in ("convolution", "linear")}
    for layer in costs.layers:
        if layer.layer in hooks.additions and layer.kind in ("convolution", "linear"):
            biases = T * by_name[layer.layer].bias_operations
            expected = hooks.additions[layer.layer] + biases
            assert layer.corrected.acs == pytest.approx(expected, rel=1e-12), layer.layer
            assert layer.corrected.macs == 0
    sums = [layer for layer in costs.layers if layer.kind == "sum"]
    assert len(sums) == (8 if case.startswith(("add", "sums")) else 0)
    free = [layer.corrected.acs == 0 == layer.corrected.in_out_mj for layer in sums]
    # A sum that neurons integrate adds the spikes of an identity; the results of two norms are
    # added in place.
    identities = [True] * 8 if case != "sums" else [i in (2, 4, 6) for i in range(8)]
    assert free == identities[: len(sums)]


def operation(kind: str, *inputs: int, **fields: Any) -> Operation:
    shapes = {"input_shape": (4, 2, 2), "output_shape": (4, 2, 2)}
    return Operation(name=kind, kind=kind, inputs=inputs, steps=T, **shapes, **fields)


def test_rates_of_what_spikes_meet_in() -> None:
    graph = OperationGraph(
        (
            operation("image"),
            operation("neuron", 0),
            operation("neuron", 0),
            operation("sum", 1, 2),
            operation("gate", 1, 2),
            operation("gate", 1, 2, inverted=True),
            operation("pool", 1, maximum=True, pairs=32),
            operation("pool", 3, maximum=True, pairs=32),
            operation("sum", 0, 1),
            operation("pool", 1, pairs=16),
        ),
        T,
        0,
        0,
    )
    rates = {"neuron": 0.25}
    signals = Signals(graph, True, rates)
    spikes = [signals.is_spikes(number) for number in range(10)]
    assert spikes == [False, True, True, True, True, True, True, True, False, True]
    found = [signals.rate(number) for number in range(1, 7)]
    assert found == [0.25, 0.25, 0.5, 0.0625, 0.1875, 1 - 0.75**2]
    assert signals.rate(7) != signals.rate(7)  # NaN: of sums a rate does not say it
    assert Signals(graph, True, rates, most_spikes=4).rate(6) != found[5]
    assert signals.rate(9) == signals.input_rate(5) == 0.25
    assert not Signals(graph, False, {}).is_spikes(3)


def test_given_rates_of_several_spikes() -> None:
    assert rates_of_layers({"rates": [1.5]}, ["n"], "f", highest=4) == {"n": 1.5}
    with pytest.raises(EnergyError, match=r"4\.5: must be a number from 0 to 4"):
        rates_of_layers({"n": 4.5}, ["n"], "f", highest=4)
    with pytest.raises(EnergyError, match=r"1\.5: must be a number from 0 to 1"):
        rates_of_layers({"rates": [1.5]}, ["n"], "f")
