"""I-LIF against its authors' form: a rounded clamp with its own gradient, in a loop over time."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.kernels import is_binary, scan
from clifctl.neurons import NEURONS


class Quantized(torch.autograd.Function):
    """round(clamp(u, 0, D)); the gradient of what lies within passes as it is."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, most: int) -> Tensor:
        ctx.save_for_backward(u)
        ctx.most = most
        return u.clamp(0, most).round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ((u >= 0) & (u <= ctx.most)), None


def in_a_loop(x: Tensor, decay: float, most: int) -> Tensor:
    """The activations, with the reset detached as SpikeYOLO's code has it."""
    v, out = torch.zeros_like(x[0]), []
    for current in x:
        u = decay * v + current
        s = Quantized.apply(u, most)
        v = u - s.detach()
        out.append(s)
    return torch.stack(out)


@pytest.mark.parametrize("target", ["reference", "numba"])
@pytest.mark.parametrize("most", [1, 4])
def test_activations_and_gradients_are_those_of_the_authors(target: str, most: int) -> None:
    generator = torch.Generator().manual_seed(0)
    given, weight = torch.randn(2, 5, 3, 7, generator=generator, dtype=torch.float64)
    given = 1.0 + 2.0 * given
    given[2, 0, 0] = 100.0
    tau = 4 / 3  # decay 1/4
    theirs, ours = given.clone().requires_grad_(), given.clone().requires_grad_()
    expected = in_a_loop(theirs, 1 - 1 / tau, most)
    parameters = NEURONS["ilif"].parameters(tau=tau, max_value=most, detach_reset=True)
    found, _ = scan(ours, None, parameters, target=target)
    assert torch.equal(found, expected)
    assert found.unique().tolist() == [*range(most + 1)]
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    # Sums of products of weights with 1, and with a quarter, 1/16, ...: as many roundings as steps.
    torch.testing.assert_close(
        ours.grad, theirs.grad, rtol=0, atol=1e-14 * float(weight.abs().max())
    )


@pytest.mark.parametrize("target", ["reference", "numba"])
def test_both_ends_of_the_window_count_and_nan_stays(target: str) -> None:
    u = [-0.125, 0.0, 1.0, 2.5, 4.0, 4.25, float("nan")]
    x = torch.tensor([[u]], dtype=torch.float64, requires_grad=True)
    out, (v,) = scan(x, None, NEURONS["ilif"].parameters(), target=target)
    out.nansum().backward()
    assert x.grad is not None
    assert out[0, 0, :-1].tolist() == [0.0, 0.0, 1.0, 3.0, 4.0, 4.0]
    assert x.grad[0, 0, :-1].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert bool(out[0, 0, -1].isnan())
    assert bool(v[0, -1].isnan())


def test_its_output_is_values() -> None:
    neuron = NEURONS["ilif"]
    assert not is_binary(neuron, neuron.hyperparameters())
    assert neuron.with_values(max_value=8).most_spikes == 8
    assert NEURONS["lif"].hyperparameters().most_spikes == 1
