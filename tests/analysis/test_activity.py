"""What the neurons of a net did: their spikes are the net's, their potentials explain them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.analysis.activity import activity
from clifctl.experiments.build import build_net, repeat_of
from clifctl.models import SpikingLayer, firing_modules
from clifctl.recipe.load import load_recipe

CONVOLUTIONAL = ["digits_snn5", "model.channels=[3,2,3,2,4]", "timesteps=3"]
ROWS = ["digits_rows_mlp", "model.hidden=[7,5]"]


def net_and_inputs(recipe: str, *overrides: str) -> tuple[Any, Tensor, int]:
    loaded = load_recipe(recipe, list(overrides)).recipe
    # Potentials are those of the reference: so are the spikes that they are to explain, bit by bit.
    loaded = replace(loaded, neuron=replace(loaded.neuron, target="reference"))
    net, repeat = build_net(loaded).double(), repeat_of(loaded)
    shape = (loaded.timesteps // repeat, 3, *loaded.data.input_shape)
    return net, 2.0 * torch.randn(shape, dtype=torch.float64), repeat


@pytest.mark.parametrize("neuron", ["lif", "clif", "plif", "glif_channel", "alif"])
@pytest.mark.parametrize("recipe", [CONVOLUTIONAL, ROWS], ids=["maps", "vectors"])
def test_potentials_explain_the_spikes_of_the_net(recipe: list[str], neuron: str) -> None:
    net, inputs, repeat = net_and_inputs(*recipe, f"neuron.name={neuron}")
    with torch.no_grad():  # learnable parameters that differ by channel and step
        for module in firing_modules(net).values():
            for parameter in module.parameters():
                parameter.add_(torch.rand_like(parameter), alpha=0.3)
    net.eval()
    kept: dict[str, Tensor] = {}
    for name, module in firing_modules(net).items():

        def keep(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
            kept[name] = output[0].detach().flatten(2)

        module.register_forward_hook(keep)
    net.train()
    logits, layers = activity(net, inputs, repeat=repeat, most_neurons=6)
    assert net.training
    net.eval()
    with torch.no_grad():
        assert torch.equal(logits, net(inputs, repeat=repeat)[0])
    assert [layer.layer for layer in layers] == list(firing_modules(net))
    for layer in layers:
        spikes = kept[layer.layer]
        assert layer.neurons == spikes.shape[2]
        assert len(layer.numbers) == min(6, layer.neurons)
        assert torch.equal(layer.spikes, spikes[:, :, list(layer.numbers)])
        counts = spikes[:, 0].sum(0)
        assert counts[layer.traced[0].number] == counts.max()
        for one in layer.traced:
            trace = one.trace
            assert torch.equal(trace.spikes, spikes[:, 0, one.number])
            assert trace.u is not None
            assert trace.threshold is not None
            assert torch.equal((trace.u >= trace.threshold).double(), trace.spikes)
            assert set(trace.states) >= {"v"} or neuron.startswith("glif")


def test_recurrent_layers_have_spikes_and_no_trace() -> None:
    net, inputs, repeat = net_and_inputs(*ROWS, "model.recurrent=true")
    _, layers = activity(net, inputs, repeat=repeat, most_neurons=4)
    assert [(len(one.numbers), one.traced) for one in layers] == [(4, ()), (4, ())]
    assert sum(float(one.spikes.sum()) for one in layers) > 0


def test_a_net_without_spikes_has_no_layers() -> None:
    net, inputs, repeat = net_and_inputs(*CONVOLUTIONAL[:-1], "timesteps=1", "neuron.name=relu")
    assert any(isinstance(one, SpikingLayer) for one in net.modules())
    assert activity(net, inputs, repeat=repeat, most_neurons=4)[1] == ()
