"""A layer whose last output feeds back to it, against a plain loop over the neuron's own step."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.errors import NeuronError
from clifctl.kernels import recurrent_scan, scan
from clifctl.neurons import NEURONS, Parameters
from clifctl.neurons.contract import step_parameters

Found = tuple[Tensor, tuple[Tensor, ...]]
LIF = NEURONS["lif"].parameters()


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameters_of(name: str, features: int, steps: int, dtype: torch.dtype) -> Parameters:
    torch.manual_seed(0)
    fresh = NEURONS[name].parameters_at_start(channels=features, timesteps=steps)
    learnables = {k: v.detach().to(dtype).requires_grad_() for k, v in fresh.learnables.items()}
    return Parameters(fresh.neuron, fresh.hyperparameters, learnables)


def plain_loop(x: Tensor, state: tuple[Tensor, ...], weight: Tensor, p: Parameters) -> Found:
    """Torch alone: the neuron's step, and one product, at every step."""
    *own, last = state
    outputs = []
    for t in range(len(x)):
        values = {}
        for declared in p.neuron.learnables:
            value = declared.in_range(p.learnables[declared.name])
            values[declared.name] = value[t] if declared.by_step else value
        current = x[t] + last @ weight.T
        given = step_parameters(p.hyperparameters, values)
        result = p.neuron.step(current, tuple(own), given)
        last, (*own,) = p.neuron.result_of(result)
        outputs.append(last)
    return torch.stack(outputs), (*own, last)


def gradients(found: Found, tensors: list[Tensor]) -> list[Tensor]:
    output, final = found
    places = torch.arange(output.numel(), dtype=torch.float64).view(output.shape)
    loss = (output * places.cos()).sum()
    loss = loss + sum(((i + 1) * one.sin()).sum() for i, one in enumerate(final))
    return list(torch.autograd.grad(loss, tensors, materialize_grads=True))


@pytest.mark.parametrize("target", ["reference", "numba"])
@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_is_that_of_a_plain_loop(name: str, target: str) -> None:
    steps, batch, features = NEURONS[name].max_timesteps or 5, 3, 7
    p = parameters_of(name, features, steps, torch.float64)
    x = (1.5 * drawn(steps, batch, features, seed=1)).requires_grad_()
    weight = drawn(features, features, seed=2).requires_grad_()
    states = len(p.neuron.states) + 1
    state = tuple(drawn(batch, features, seed=3 + i).abs().requires_grad_() for i in range(states))
    expected = plain_loop(x, state, weight, p)
    found = recurrent_scan(x, state, weight, p, target=target)
    assert expected[0].std() > 0.1
    # Sums of 7 numbers in another order; spikes are equal.
    tolerance = {"atol": 1e-11, "rtol": 1e-11}
    torch.testing.assert_close(found, expected, **tolerance)
    tensors = [x, weight, *state, *p.learnables.values()]
    torch.testing.assert_close(gradients(found, tensors), gradients(expected, tensors), **tolerance)


# Samples and features that fill a unit of work and that do not, one sample, more than one sum.
@pytest.mark.parametrize("shape", [(4, 1, 1), (3, 9, 96), (2, 5, 130), (3, 2, 300), (1, 3, 16)])
def test_float32_is_that_of_float64(shape: tuple[int, int, int]) -> None:
    features = shape[2]
    # Multiples of 1/64 of few bits: sums are exact in either precision, in any order.
    x = (drawn(*shape, seed=1) * 64).round() / 64
    weight = (drawn(features, features, seed=2) * 8).round() / 64
    clif = parameters_of("lif", features, shape[0], torch.float64)
    found = []
    for dtype in (torch.float64, torch.float32):
        given = [t.to(dtype).requires_grad_() for t in (x, weight)]
        output, final = recurrent_scan(given[0], None, given[1], clif, target="numba")
        g = torch.autograd.grad(output.sum() + final[0].sum(), given)
        found.append([t.double() for t in (output, *final, *g)])
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4 * features)


def test_a_sequence_in_pieces_is_that_in_one() -> None:
    x, weight = 1.5 * drawn(6, 2, 5, seed=1), drawn(5, 5, seed=2)
    whole, final = recurrent_scan(x, None, weight, LIF)
    first, state = recurrent_scan(x[:2], None, weight, LIF)
    second, last = recurrent_scan(x[2:], state, weight, LIF)
    assert torch.equal(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, final, rtol=0, atol=1e-14)
    assert torch.equal(last[-1], whole[-1])


def test_an_input_that_is_equal_at_every_step_is_not_changed() -> None:
    x, weight = drawn(1, 3, 5, seed=1), drawn(5, 5, seed=2)
    before = x.clone()
    found, _ = recurrent_scan(x.expand(4, 3, 5), None, weight, LIF)
    assert torch.equal(x, before)
    assert torch.equal(found, recurrent_scan(x.repeat(4, 1, 1), None, weight, LIF)[0])


def test_without_a_matrix_it_is_the_scan() -> None:
    x = drawn(5, 3, 6, seed=1).float()
    found = recurrent_scan(x, None, torch.zeros(6, 6), LIF)
    expected = scan(x, None, LIF, connections="dense")
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1][0], expected[1][0])


def test_transforms_and_low_precision_go_step_by_step() -> None:
    x, weight = 1.5 * drawn(4, 3, 5, seed=1), drawn(5, 5, seed=2)

    def loss(w: Tensor) -> Tensor:
        output, final = recurrent_scan(x, None, w, LIF)
        return output.sum() + final[0].square().sum()

    leaf = weight.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(weight), expected)
    low, _ = recurrent_scan(x.bfloat16(), None, weight.bfloat16(), LIF)
    assert low.dtype == torch.bfloat16
    assert recurrent_scan(x[:, :0], None, weight, LIF)[0].shape == (4, 0, 5)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    x = drawn(3, 2, 4, seed=1).requires_grad_()
    output, _ = recurrent_scan(x, None, drawn(4, 4, seed=2), LIF)
    (g,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(NeuronError, match="gradient of its gradient"):
        g.sum().backward()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"x": drawn(3, 2, 4, 4, seed=0)}, r"\[T, N, features\]"),
    ({"weight": drawn(4, 5, seed=0)}, r"must be \[4, 4\], got \[4, 5\]"),
    ({"state": (drawn(2, 4, seed=0),)}, "number of states is 2, got 1"),
    ({"state": (drawn(2, 4, seed=0), drawn(3, 4, seed=0))}, r"last output must be \[2, 4\]"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_what_does_not_fit_is_refused(given: dict[str, Any], said: str) -> None:
    whole = {"x": drawn(3, 2, 4, seed=0), "state": None, "weight": drawn(4, 4, seed=1)} | given
    with pytest.raises(NeuronError, match=said):
        recurrent_scan(**whole, parameters=LIF)
