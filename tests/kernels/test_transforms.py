"""What people do with a scan in torch: transforms of `torch.func`, checkpoints, inference mode."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from clifctl.errors import NeuronError
from clifctl.kernels import scan
from clifctl.models import NeuronChoice, SpikingLayer, TemporalBatchNorm
from clifctl.neurons import NEURONS

each_target = pytest.mark.parametrize("target", ["reference", "numba"])


def layer_of(name: str = "plif", target: str = "numba") -> SpikingLayer:
    values = {"surrogate": "sigmoid", "surrogate_width": 2.0}
    choice = NeuronChoice(NEURONS[name], NEURONS[name].hyperparameters(**values), target=target)
    return choice.layer(3, 4).double()


def current(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.6 + torch.randn(*shape, generator=generator, dtype=torch.float64)


def normed_layer(seed: int = 0) -> tuple[SpikingLayer, TemporalBatchNorm]:
    norm = TemporalBatchNorm(3, "per_step", fused=True).double().eval()
    with torch.no_grad():
        norm.running_mean.copy_(current(3, seed=seed))
        norm.weight.copy_(current(3, seed=seed + 1))
    return layer_of(), norm


@each_target
def test_a_parameter_that_is_a_plain_tensor_is_taken(target: str) -> None:
    layer = layer_of(target=target)
    x, w = current(4, 2, 3), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    spikes, _ = functional_call(layer, {"w": w * 1.0}, (x,))
    spikes.sum().backward()
    given = layer_of(target=target)
    with torch.no_grad():
        given.w.fill_(0.7)
    expected, _ = given(x)
    expected.sum().backward()
    assert torch.equal(spikes, expected)
    assert not torch.equal(spikes, layer(x)[0])
    torch.testing.assert_close(w.grad, given.w.grad, rtol=1e-12, atol=1e-12)


@each_target
def test_vmap_is_a_loop(target: str) -> None:
    layer = layer_of(target=target)
    x = current(2, 5, 4, 3).requires_grad_()  # five samples in the second place
    spikes, (v,) = vmap(layer, in_dims=1)(x)
    (spikes * current(5, 2, 4, 3, seed=1)).sum().backward()
    y = x.detach().clone().requires_grad_()
    pairs = [layer(y[:, i]) for i in range(5)]
    single = torch.stack([s for s, _ in pairs])
    (single * current(5, 2, 4, 3, seed=1)).sum().backward()
    assert torch.equal(spikes, single)
    assert torch.equal(v, torch.stack([final[0] for _, final in pairs]))
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-13, atol=1e-13)


def per_sample(layer: SpikingLayer, rest: Any, x: Tensor) -> tuple[Tensor, list[Any]]:
    """The gradient of each sample's loss of the parameters, by torch.func and one by one."""

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        total: Tensor = functional_call(layer, parameters, (sample, None, *rest))[0].square().sum()
        return total

    parameters = dict(layer.named_parameters())
    one_by_one = []
    for sample in x:
        layer.zero_grad()
        loss(parameters, sample).backward()
        one_by_one.append(layer.get_parameter("w").grad)
    plain = {name: p.detach() for name, p in parameters.items()}
    together: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0))(plain, x)
    return together["w"], one_by_one


@each_target
def test_gradients_of_each_sample(target: str) -> None:
    found, expected = per_sample(layer_of(target=target), (), current(5, 4, 2, 3))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert len(set(found.tolist())) == 5


def test_gradients_of_each_sample_through_the_norm() -> None:
    layer, norm = normed_layer()
    assert norm.fused
    found, expected = per_sample(layer, (norm,), current(5, 4, 2, 3))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert len(set(found.tolist())) == 5


@pytest.mark.parametrize("normed", [False, True])
def test_a_second_gradient_is_refused_in_words(normed: bool) -> None:
    layer, norm = normed_layer()
    x = current(4, 2, 3).requires_grad_()
    spikes, _ = layer(x, None, norm if normed else None)
    (g_x,) = torch.autograd.grad(spikes.sum(), x, create_graph=True)
    y = x.detach().clone().requires_grad_()
    layer(y, None, norm if normed else None)[0].sum().backward()
    assert torch.equal(g_x, y.grad)  # the first one is as ever
    with pytest.raises(NeuronError, match="no gradient of its gradient") as refused:
        g_x.square().sum().backward()
    assert "reference" in str(refused.value.hint)
    eager = layer_of(target="reference")
    (g_x,) = torch.autograd.grad(eager(x)[0].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(g_x.square().sum(), x)
    assert bool((second != 0).any())


@pytest.mark.parametrize("normed", [False, True])
def test_an_input_changed_in_place_is_said(normed: bool) -> None:
    layer, norm = normed_layer()
    x = current(4, 2, 3).requires_grad_() * 1.0
    spikes, _ = layer(x, None, norm if normed else None)
    x += 1
    with pytest.raises(NeuronError, match="changed in place") as refused:
        spikes.sum().backward()
    assert "x.clone()" in str(refused.value.hint)
    y = current(4, 2, 3).requires_grad_() * 1.0
    spikes = layer(y)[0]
    spikes.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):  # torch's own words stay
        spikes.sum().backward()


@each_target
@pytest.mark.parametrize("normed", [False, True])
def test_tensors_of_inference_mode_go_on_into_training(target: str, normed: bool) -> None:
    layer, norm = layer_of(target=target), normed_layer()[1] if normed else None
    with torch.inference_mode():
        x = current(4, 2, 3)
        _, state = layer(x, None, norm)
    assert state[0].is_inference()
    layer(x.clone() if normed else x, state, norm)[0].square().sum().backward()
    found = layer.w.grad
    other = layer_of(target=target)
    _, state = other(x.clone(), None, norm)
    other(x.clone(), tuple(s.detach() for s in state), norm)[0].square().sum().backward()
    assert torch.equal(found, other.w.grad)
    assert float(found) != 0.0


@each_target
@pytest.mark.parametrize("normed", [False, True])
def test_a_reentrant_checkpoint_is_refused(target: str, normed: bool) -> None:
    """It would take a layer's states, in a tuple among its results, for constants."""
    layer, norm = layer_of(target=target), normed_layer()[1] if normed else None
    found = []
    for reentrant in (None, False, True):
        x = current(4, 2, 3).requires_grad_()

        def run(*inputs: Any, reentrant: bool | None = reentrant) -> Any:
            if reentrant is None:
                return layer(*inputs, norm)
            return checkpoint(layer, *inputs, norm, use_reentrant=reentrant)

        first, state = run(x[:2], None)
        loss = (first + run(x[2:], state)[0]).sum()
        if reentrant:
            with pytest.raises(NeuronError, match="use_reentrant=True") as refused:
                loss.backward()
            assert "use_reentrant=False" in str(refused.value.hint)
        else:
            loss.backward()
            found.append(x.grad)
    assert torch.equal(*found)
    assert bool((found[0] != 0).all())


def test_a_scan_in_a_hook_of_the_backward_pass_is_no_checkpoint() -> None:
    x, seen = current(4, 2, 3).requires_grad_(), []
    spikes, _ = layer_of()(x)
    spikes.register_hook(lambda g: seen.append(scan(g, None, NEURONS["lif"].parameters())[0]))
    spikes.sum().backward()
    assert [s.shape for s in seen] == [(4, 2, 3)]
