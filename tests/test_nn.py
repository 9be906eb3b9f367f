"""Layers for anybody's module: their values against `scan`, and what becomes of their states."""

import copy

import pytest
import torch
from torch import Tensor, nn

import clifctl.nn
from clifctl.errors import NeuronError
from clifctl.kernels import scan
from clifctl.models import firing_modules
from clifctl.neurons import NEURONS
from clifctl.nn import CLIF, LIF, FoldTime, Spiking


def currents(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 1.5


def scanned(layer: Spiking, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    neurons = layer.neurons
    parameters = NEURONS[neurons.neuron.name].parameters(
        neurons.learnables(), **dict(neurons.hyperparameters)
    )
    return scan(x, None, parameters)


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_has_a_layer_of_its_name(name: str) -> None:
    classes = {one.NEURON: one for one in vars(clifctl.nn).values() if hasattr(one, "NEURON")}
    layer = classes[name](3, 5).double()
    assert f"`{name}`" in (classes[name].__doc__ or "")
    assert classes[name].__name__ in clifctl.nn.__all__
    steps = layer.neurons.neuron.max_timesteps or 5
    x = currents(steps, 2, 3, 7)
    assert torch.equal(layer(x), scanned(layer, x)[0])
    if steps == 1:
        return
    pieces = classes[name](3, 5, stateful=True).double()
    assert torch.equal(torch.cat([pieces(x[:2]), pieces(x[2:3]), pieces(x[3:])]), layer(x))


def test_a_layer_takes_hyperparameters_and_a_window() -> None:
    x = currents(6, 2, 5).requires_grad_()
    layer = CLIF(tau=3.0, v_threshold=0.7, window=2)
    parameters = NEURONS["clif"].parameters(tau=3.0, v_threshold=0.7)
    expected = scan(x, None, parameters, window=2)[0]
    weights = currents(6, 2, 5, seed=2)
    (ours,) = torch.autograd.grad((layer(x) * weights).sum(), x)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), x)
    assert torch.equal(ours, theirs)
    assert ours.any()
    assert torch.equal(layer(x), layer(x))  # nothing is kept


def test_a_stateful_layer_goes_on_until_it_is_reset() -> None:
    x = currents(7, 3, 4).requires_grad_()
    whole, layer = CLIF(), CLIF(stateful=True)
    spikes = torch.cat([layer(x[:3]), layer(x[3:])])
    assert torch.equal(spikes, whole(x))
    weights = currents(7, 3, 4, seed=2)
    (ours,) = torch.autograd.grad((spikes * weights).sum(), x)
    (theirs,) = torch.autograd.grad((whole(x) * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    again = copy.deepcopy(layer)
    assert torch.equal(again(x), whole(x))  # a copy begins anew
    assert not torch.equal(layer(x), whole(x))
    layer.reset()
    assert torch.equal(layer(x), whole(x))


def test_detach_cuts_the_gradient_between_calls() -> None:
    x = currents(4, 2, 3).requires_grad_()
    layer = LIF(stateful=True)
    layer(x[:2])
    layer.detach()
    (gradient,) = torch.autograd.grad(layer(x[2:]).sum(), x)
    assert not gradient[:2].any()
    assert gradient[2:].any()


def test_one_step_at_a_time() -> None:
    x = currents(5, 3, 4)
    layer = CLIF(step_mode="s")
    assert torch.equal(torch.stack([layer(step) for step in x]), CLIF()(x))


def test_the_functional_form_has_its_state_as_an_argument() -> None:
    x = currents(6, 2, 3)
    layer = CLIF(stateful=True)
    first, state = layer.run(x[:4])
    second, final = layer.run(x[4:], state)
    spikes, expected = scanned(layer, x)
    assert torch.equal(torch.cat([first, second]), spikes)
    assert all(torch.equal(a, b) for a, b in zip(final, expected, strict=True))
    assert torch.equal(layer(x), spikes)  # its own state has not been touched


def test_another_batch_after_a_state_is_told() -> None:
    layer = CLIF(stateful=True)
    layer(currents(2, 3, 4))
    with pytest.raises(
        NeuronError, match=r"left a state 'v' \[3, 4\], and a step .* \[2, 4\]"
    ) as e:
        layer(currents(2, 2, 4))
    assert e.value.hint == "call reset() between sequences"
    layer.reset()
    layer(currents(2, 2, 4))


def test_a_checkpointed_stateful_layer_is_refused() -> None:
    from torch.utils.checkpoint import checkpoint

    x = currents(2, 2, 3).requires_grad_()
    layer = CLIF(stateful=True)
    spikes = checkpoint(layer, x, use_reentrant=False)
    with pytest.raises(NeuronError, match="checkpoint runs this layer again"):
        spikes.sum().backward()


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(NeuronError, match=r"unknown neuron 'clip'.*clif"):
        Spiking("clip")
    with pytest.raises(NeuronError, match=r"tau = 0\.5"):
        CLIF(tau=0.5)
    with pytest.raises(NeuronError, match="unknown step mode 'x'"):
        CLIF(step_mode="x")


def test_a_net_of_layers_is_seen_as_one_of_ours() -> None:
    net = nn.Sequential(FoldTime(nn.Linear(4, 6), nn.Tanh()), CLIF(), FoldTime(nn.Linear(6, 2)))
    assert list(firing_modules(net)) == ["1.neurons"]
    x = currents(3, 2, 4).float()
    hidden = CLIF()(torch.tanh(net[0][0](x)))
    torch.testing.assert_close(net(x), net[2][0](hidden))


@pytest.mark.parametrize("samples", [1, 3])
def test_what_is_equal_at_every_step_is_computed_once(samples: int) -> None:
    torch.manual_seed(0)
    seen: list[int] = []
    fold = FoldTime(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)).double()
    fold[0].register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    bare = FoldTime(fold[0])
    image = torch.randn(1, samples, 2, 5, 4, dtype=torch.float64)
    found = []
    for x in (image.expand(4, -1, -1, -1, -1), image.repeat(4, 1, 1, 1, 1)):
        fold.zero_grad()
        out, plain = fold(x), bare(x)
        plain += 1.0  # is memory of its own at each step
        (out.square().sum() + plain.square().sum()).backward()
        found.append([out.detach(), plain.detach(), *(p.grad.clone() for p in fold.parameters())])
    assert seen == [samples, samples, 4 * samples, 4 * samples]
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each, rtol=1e-12, atol=1e-12)
