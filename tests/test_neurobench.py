"""What NeuroBench's harness does with a net, by its hooks: NeuroBench itself is not installed."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.models import MODELS, FiringRates, NeuronChoice, SpikingNet
from clifctl.neurobench import harness_net
from clifctl.neurons import NEURONS

T, N = 4, 5


def snn5() -> SpikingNet:
    torch.manual_seed(0)
    clif = NEURONS["clif"]
    options = MODELS["snn5"].options(
        channels=(2, 3, 2, 3, 4), kernel_sizes=(3,) * 5, strides=(1, 2, 1, 1, 1)
    )
    return MODELS["snn5"].build(
        options,
        input_shape=(1, 6, 6),
        classes=3,
        timesteps=T,
        neuron=NeuronChoice(clif, clif.hyperparameters(v_threshold=0.3), target="reference"),
    )


def activations(module: nn.Module) -> dict[str, nn.Module]:
    """As `NeuroBenchModel.activation_layers` finds them: the harness's own are ReLU and Sigmoid."""
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU | nn.Sigmoid):
            found[name] = child
        else:
            found |= activations(child)
    return found


@pytest.fixture
def batch() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(N, 1, 1, 6, 6, generator=generator).expand(N, T, 1, 6, 6) * 4


def test_the_harness_sees_every_spike(batch: Tensor) -> None:
    net = snn5().eval()
    rates = FiringRates(net)
    with rates.recording(), torch.no_grad():
        logits, _ = net(batch.transpose(0, 1))
    expected = [sum(rate) / T for rate in rates.per_step().values()]
    model = harness_net(net)
    seen: dict[str, list[Any]] = {}
    for name, module in activations(model).items():
        seen[name] = []
        module.register_forward_hook(
            lambda module, inputs, output, name=name: seen[name].append(output)
        )
    with torch.no_grad():
        predicted = model(batch)
    assert predicted.shape == (N, T, 3)
    assert torch.equal(predicted, logits.transpose(0, 1))
    assert list(seen) == [name.replace(".", "_") for name in rates.neurons]
    for outputs, rate in zip(seen.values(), expected, strict=True):
        (spikes,) = outputs  # one call, one tensor
        assert torch.count_nonzero(spikes) / spikes.numel() == pytest.approx(rate)
    assert 0 < min(expected) <= max(expected) < 1


def test_synaptic_operations_are_those_of_spikes_and_fan_out(batch: Tensor) -> None:
    """The inputs that the harness's hooks on connections see are the spikes, step by step."""
    net = snn5()
    model = harness_net(net)
    spikes: list[Tensor] = []
    inputs: list[Tensor] = []
    for module in activations(model).values():
        module.register_forward_hook(lambda module, given, output: spikes.append(output))
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for module in linear:
        module.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    with torch.no_grad():
        model(batch)
    (seen,) = inputs
    assert seen.numel() == spikes[-1].numel()
    assert torch.equal(seen.flatten(), spikes[-1].flatten())


def test_the_net_itself_stays_as_it_is(batch: Tensor) -> None:
    net = snn5()
    model = harness_net(net)
    assert net.training
    assert not model.training
    assert not activations(net)
    assert not any(module._forward_hooks for module in net.modules())
    assert set(model.net.state_dict()) == set(net.state_dict())
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(batch), model(batch))
