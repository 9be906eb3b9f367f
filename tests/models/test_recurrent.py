"""A recurrent net as a whole: against a plain loop, in pieces, what it keeps and costs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clifctl.convert.graph import read_net
from clifctl.energy.accounting import net_costs
from clifctl.energy.constants import DEFAULT
from clifctl.energy.counting import SpikeCounter
from clifctl.energy.tracing import trace_net
from clifctl.errors import ConversionError, RecipeError
from clifctl.models import MODELS, FiringRates, NeuronChoice, SpikingNet, put_neuron
from clifctl.neurons import NEURONS
from clifctl.recipe.load import load_recipe
from clifctl.training.memory import held_for_backward, saved_for_backward

STEPS, SAMPLES, HIDDEN = 5, 6, (7, 4)


def build(neuron: str = "lif", **options: Any) -> SpikingNet:
    torch.manual_seed(0)
    mlp, chosen = MODELS["mlp"], NEURONS[neuron]
    window = options.pop("window", None)
    options = {"hidden": HIDDEN, "recurrent": True, "batch_norm": "folded"} | options
    how = NeuronChoice(chosen, chosen.hyperparameters(), window)
    return mlp.build(
        mlp.options(**options), input_shape=(3,), classes=10, timesteps=STEPS, neuron=how
    )


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_its_matrices_have_names_and_start_orthogonal() -> None:
    net, without = build(), build(recurrent=False)
    names = {f"features.{i}.neuron.recurrent.weight": [n, n] for i, n in enumerate(HIDDEN)}
    own = {k: list(v.shape) for k, v in net.state_dict().items() if k not in without.state_dict()}
    assert own == names
    for name, (size, _) in names.items():
        square = net.state_dict()[name] @ net.state_dict()[name].T
        torch.testing.assert_close(square, 0.25 * torch.eye(size), atol=1e-6, rtol=0)


def plain(net: SpikingNet, x: Tensor) -> Tensor:
    """The logits of LIF with a soft reset and tau = 2, step by step; `net` gives weights alone."""
    for layer in net.features:
        linear, norm, weight = layer.connection[1], layer.norm, layer.neuron.recurrent.weight
        y = F.linear(x, linear.weight, linear.bias).flatten(0, 1)
        y = F.batch_norm(y, None, None, norm.weight, norm.bias, training=True)
        v = s = torch.zeros(SAMPLES, len(weight), dtype=x.dtype)
        spikes = []
        for current in y.view(len(x), SAMPLES, -1):
            u = 0.5 * v + current + s @ weight.T
            rectangle = ((u - 1).abs() <= 0.5).to(x.dtype)
            s = (u >= 1).to(x.dtype)
            s = s + (u - u.detach()) * rectangle
            v = u - s
            spikes.append(s)
        x = torch.stack(spikes)
    return F.linear(x, net.classifier.weight, net.classifier.bias)


@pytest.mark.parametrize("fuse_norm", [True, False])
def test_the_net_is_a_plain_loop(fuse_norm: bool) -> None:
    net = build(fuse_norm=fuse_norm).double()
    x = drawn(STEPS, SAMPLES, 3)
    found, expected = net(x)[0], plain(net, x)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    weights = [layer.neuron.recurrent.weight for layer in net.features]
    weights += [layer.connection[1].weight for layer in net.features]
    g, g_expected = (torch.autograd.grad(y.square().sum(), weights) for y in (found, expected))
    assert all(one.abs().max() > 1e-3 for one in g)
    torch.testing.assert_close(g, g_expected, atol=1e-9, rtol=1e-9)


def test_in_pieces_and_with_an_input_that_repeats() -> None:
    net = build("clif").double().eval()
    x = 2 * drawn(STEPS, SAMPLES, 3)
    whole, final = net(x)
    first, state = net(x[:2])
    second, last = net(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, final)
    assert [len(layer) for layer in final] == [3, 3]  # v and m of CLIF, and the last spikes
    repeated, _ = net(x[:1], repeat=STEPS)
    torch.testing.assert_close(repeated, net(x[:1].repeat(STEPS, 1, 1))[0])


def test_what_it_keeps_for_backward_is_foretold() -> None:
    x = drawn(STEPS, SAMPLES, 3).float()
    net = build("clif")
    kept = held_for_backward(lambda: net(x), net.parameters())
    with torch.device("meta"):
        foretold = saved_for_backward(build("clif"), torch.empty(x.shape), repeat=1)
    # An input that does not need a gradient is kept as it is.
    assert foretold == kept
    # What recurrence adds in a layer: its currents in float32, and the spikes as bits.
    sizes = [STEPS * SAMPLES * n for n in HIDDEN]
    with torch.device("meta"):
        empty = build("clif", recurrent=False, fuse_norm=False)
        without = saved_for_backward(empty, torch.empty(x.shape), repeat=1)
    assert kept - without == sum(-(-size // 8) for size in sizes)


def test_neurons_are_exchanged_and_matrices_stay() -> None:
    net = build("clif")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    put_neuron(net, NeuronChoice(NEURONS["lif"], NEURONS["lif"].hyperparameters()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    x = drawn(STEPS, SAMPLES, 3).float()
    assert torch.equal(net(x)[0], build("lif")(x)[0])


def test_energy_is_that_of_a_count_spike_by_spike() -> None:
    net = build().eval()
    for layer in net.features:  # so that they fire
        nn.init.constant_(layer.norm.bias, 0.8)
    x = 3 * drawn(STEPS, SAMPLES, 3).float()
    graph = trace_net(net, (3,), STEPS)
    counter, rates = SpikeCounter(graph), FiringRates(net)
    with torch.inference_mode(), rates.recording(), counter.following(net):
        net(x[:, :2])
        net(x[:, 2:])
    spikes: list[Tensor] = []
    for layer in net.features:
        layer.neuron.register_forward_hook(lambda module, given, out: spikes.append(out[0]))
    net(x)
    known = {name: sum(steps) / STEPS for name, steps in rates.per_step().items()}
    lif = NEURONS["lif"]
    how = {"rates": known, "constants": DEFAULT, "counted": counter.counted()}
    costs = net_costs(graph, lif, lif.hyperparameters(), **how)
    rows = {row.layer: row.corrected for row in costs.layers}
    for i, size in enumerate(HIDDEN):
        # Each spike, but for those of the last step, reaches every neuron of its layer.
        expected = int(spikes[i][:-1].sum()) * size / SAMPLES
        assert expected > 0
        assert rows[f"features.{i}.neuron.recurrent"].acs == pytest.approx(expected)
    assert graph.parameters == sum(p.numel() for p in net.parameters())
    alone = trace_net(build(recurrent=False).eval(), (3,), STEPS)
    assert len(graph.operations) == len(alone.operations) + 2


def test_what_knows_no_recurrence_says_so() -> None:
    with pytest.raises(RecipeError, match=r"neuron.window = 2: a layer with recurrence"):
        build(window=2)
    keys = ["model.recurrent=true", "neuron.window=2"]
    with pytest.raises(RecipeError, match=r"window = 2: with model.recurrent = true there is no"):
        load_recipe("digits_rows_mlp", keys)
    with pytest.raises(ConversionError, match="feeds its spikes back to itself"):
        read_net(build(), (3,))
