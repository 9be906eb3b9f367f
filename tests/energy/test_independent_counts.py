"""Synaptic operations of five nets against a count by hooks, and SpikingJelly's counter.

The count here knows nothing of data flow: hooks catch what each connection gets, and a copy of the
connection whose weights are one adds up the products.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch import Tensor, nn

from clifctl.energy.accounting import NetCosts, net_costs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.tracing import trace_net
from clifctl.models import MODELS, FiringRates, NeuronChoice, SpikingNet
from clifctl.neurons import NEURONS

STEPS, SAMPLES, CLASSES = 3, 2, 3
LIF = NEURONS["lif"]
CONNECTIONS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def choice() -> NeuronChoice:
    return NeuronChoice(LIF, LIF.hyperparameters(), target="reference")


class TwoBranches(SpikingNet):
    """Two convolutions of one image, whose spikes stand side by side before a third, and go on
    with the spikes of the first branch into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(2, 3, 5, padding=2)
        self.narrow = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.mixing = nn.Conv2d(5, 4, 3, stride=2, padding=1)
        self.linear = nn.Linear((4 * 3 * 4) + (3 * 5 * 7), CLASSES)
        self.wide_neurons = choice().layer(3, STEPS)
        self.narrow_neurons = choice().layer(2, STEPS)
        self.neurons = choice().layer(4, STEPS)

    def forward(self, x: Tensor, state: Any = None, repeat: int = 1) -> Any:
        time = x.shape[:2]
        wide = self.wide_neurons(self.wide(x.flatten(0, 1)).unflatten(0, time))[0]
        narrow = self.narrow_neurons(self.narrow(x.flatten(0, 1)).unflatten(0, time))[0]
        both = torch.cat([wide, narrow], 2)
        mixed = self.neurons(self.mixing(both.flatten(0, 1)).unflatten(0, time))[0]
        return self.linear(torch.cat([mixed.flatten(2), wide.flatten(2)], 2)), ()


NETS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "snn5": ((1, 6, 6), {"channels": (2, 3, 2, 3, 4), "kernel_sizes": (3, 3, 3, 3, 3)}),
    "resnet18": ((3, 17, 17), {"width": 3}),
    "sew_resnet18": ((3, 9, 9), {"width": 2, "stem": "cifar"}),
    "two branches": ((2, 5, 7), {}),
    "spike_driven_transformer": ((2, 13, 10), {"width": 1, "depth": 1, "pools": 2}),
}


def built(name: str) -> tuple[SpikingNet, Tensor]:
    """The net in float64, with weights at which its neurons fire, and an input with zeros."""
    shape, given = NETS[name]
    if name == "two branches":
        net: SpikingNet = TwoBranches()
    else:
        row = MODELS[name]
        net = row.build(
            row.options(**given), input_shape=shape, classes=CLASSES, timesteps=STEPS,
            neuron=choice(),
        )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for key, parameter in net.named_parameters():
        if parameter.dim() > 1:
            deviation = 3 / parameter[0].numel() ** 0.5
            parameter.data.normal_(0.0, deviation, generator=generator)
        elif "norm" not in key:
            parameter.data.normal_(-0.2, 0.1, generator=generator)
    x = torch.rand(STEPS, SAMPLES, *shape, dtype=torch.float64, generator=generator) * 3
    return net.double().eval(), torch.where(x > 0.5, x, 0.0)


def caught(net: nn.Module, run: Callable[[], object]) -> dict[str, Tensor]:
    """What each connection gets while the net runs."""
    found: dict[str, Tensor] = {}
    handles = [
        module.register_forward_pre_hook(lambda m, given, name=name: found.update({name: given[0]}))
        for name, module in net.named_modules()
        if isinstance(module, CONNECTIONS)
    ]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return found


def products(connection: Any, x: Tensor) -> int:
    """The sum of `x` over all products with a weight: of zeros and ones, how many are not zero."""
    ones = copy.deepcopy(connection).double()
    ones.weight.data.fill_(1.0)
    ones.bias = None
    with torch.no_grad():
        return int(ones(x.double()).sum())


def is_binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def counted(net: SpikingNet, x: Tensor) -> NetCosts:
    meta = copy.deepcopy(net).to("meta", torch.float32)
    graph = trace_net(meta, x.shape[2:], STEPS)
    counter, rates = SpikeCounter(graph), FiringRates(net)
    with torch.inference_mode(), rates.recording(), counter.following(net):
        net(x)
    known = {name: sum(steps) / STEPS for name, steps in rates.per_step().items()}
    assert sum(known.values()) > 0
    return net_costs(
        graph, LIF, LIF.hyperparameters(), rates=known, constants=DEFAULT,
        counted=counter.counted(),
    )  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_synaptic_operations_are_those_of_hooks(name: str) -> None:
    net, x = built(name)
    costs, inputs = counted(net, x), caught(net, lambda: net(x))
    layers = {one.layer: one for one in costs.layers if one.dense_synaptic_operations}
    assert list(layers) == list(inputs)
    effective = {"spikes": 0, "others": 0}
    dense = 0
    for layer, got in inputs.items():
        connection, row = net.get_submodule(layer), layers[layer]
        spikes = bool((got == got.round()).all())  # sums of spikes too: n is n spikes
        assert (row.fed_by == "spikes") == spikes, layer
        every = products(connection, torch.ones_like(got))
        found = products(connection, got if spikes else got != 0)
        assert row.dense_synaptic_operations == every / SAMPLES, layer
        assert row.effective_synaptic_operations == found / SAMPLES, layer
        dense += every
        effective["spikes" if spikes else "others"] += found
    assert costs.synaptic.dense == dense / SAMPLES
    assert costs.synaptic.effective_acs == effective["spikes"] / SAMPLES
    assert costs.synaptic.effective_macs == effective["others"] / SAMPLES


@pytest.mark.parametrize(
    ("name", "in_sums"),
    [("snn5", False), ("two branches", False), ("spike_driven_transformer", False),
     ("sew_resnet18", True)],
)  # fmt: skip
def test_spikingjellys_counter_leaves_out_sums_of_spikes(name: str, in_sums: bool) -> None:
    """It takes a tensor for spikes where it holds zeros and ones alone: not where two spikes met
    (SEW's ADD), of which it counts none."""
    net, x = built(name)
    costs, inputs = counted(net, x), caught(net, lambda: net(x))
    counter = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([counter]):
        net(x)
    left_out = sum(
        products(net.get_submodule(layer), got)
        for layer, got in inputs.items()
        if (got == got.round()).all() and not is_binary(got)
    )
    assert (left_out > 0) == in_sums
    assert costs.synaptic.effective_acs is not None
    assert counter.get_total() == costs.synaptic.effective_acs * SAMPLES - left_out
