"""Sums of spikes, as SEW-ResNet's shortcuts make them: sparse values with the window of both."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.kernels import Spikes, scan
from clifctl.neurons import NEURONS

T, SAMPLES, HEIGHT, WIDTH = 3, 8, 26, 25


def two_blocks(
    channels: int, connections: str, surrogate: str = "rectangle"
) -> tuple[list[Tensor], list[bool]]:
    """Outputs and gradients of a sum that feeds a connection and another sum; whether the sums are
    spikes with a window."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def fire(x: Tensor) -> Tensor:
        p = NEURONS["lif"].parameters(surrogate=surrogate)
        return scan(x, None, p, target="numba", connections=connections)[0]

    def convolved(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1), weight, padding=1).unflatten(0, (T, SAMPLES))

    shape = (T, SAMPLES, channels, HEIGHT, WIDTH)
    x, y = (drawn(*shape) - 0.3).requires_grad_(), (drawn(*shape) - 0.2).requires_grad_()
    # Eighths: their sums are exact in any order, so that the same neurons fire behind them.
    inner = ((8 * drawn(channels, channels, 3, 3)).round() / 8).requires_grad_()
    last = drawn(9, channels, 3, 3).requires_grad_()
    first = fire(x) + fire(y)
    second = first + fire(convolved(first, inner))
    out = convolved(second, last)
    (out * drawn(*out.shape)).sum().backward()
    sums = [isinstance(s, Spikes) and s.window is not None for s in (first, second)]
    gradients = [leaf.grad for leaf in (x, y, inner, last) if leaf.grad is not None]
    assert len(gradients) == 4
    return [first.detach() + 0.0, second.detach() + 0.0, out.detach(), *gradients], sums


@pytest.mark.parametrize("channels", [24, 5])
def test_a_sum_of_spikes_runs_event_driven(channels: int) -> None:
    given, sums = two_blocks(channels, "auto")
    expected, plain = two_blocks(channels, "dense")
    assert (sums, plain) == ([True, True], [False, False])
    assert expected[1].unique().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert torch.equal(given[0], expected[0])
    assert torch.equal(given[1], expected[1])
    # The largest sum: as many products as a weight's gradient has positions, in another order.
    terms = T * SAMPLES * HEIGHT * WIDTH
    for one, other in zip(given[2:], expected[2:], strict=True):
        error = float((one - other).abs().max() / other.abs().max())
        assert error < terms * torch.finfo(torch.float32).eps


def test_without_a_window_its_gradient_is_computed_everywhere() -> None:
    given, sums = two_blocks(8, "auto", surrogate="sigmoid")
    expected, _ = two_blocks(8, "dense", surrogate="sigmoid")
    assert sums == [False, False]
    for one, other in zip(given, expected, strict=True):
        error = float((one - other).abs().max() / other.abs().max())
        assert error < T * SAMPLES * HEIGHT * WIDTH * torch.finfo(torch.float32).eps


def test_sums_of_other_shapes_are_floats() -> None:
    x = torch.randn(T, SAMPLES, 8, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    spikes, _ = scan(x, None, NEURONS["lif"].parameters(), target="numba")
    assert isinstance(spikes, Spikes)
    pooled = spikes[..., :1, :1]
    assert type(spikes + pooled) is Tensor
    floats = torch.zeros_like(x) + spikes
    assert torch.equal(spikes + pooled, floats + floats[..., :1, :1])
    assert torch.equal(torch.add(spikes, spikes, alpha=2), 3 * floats)
