"""Sums of spikes, as SEW-ResNet's shortcuts make them: sparse values with the window of both; and
spikes side by side."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.kernels import Spikes, scan
from clifctl.neurons import NEURONS

T, SAMPLES, HEIGHT, WIDTH = 3, 8, 26, 25


def two_blocks(
    channels: int, connections: str, surrogate: str = "rectangle", *, in_place: bool = False
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
    if in_place:
        first = fire(x)
        first += fire(y)
        second = fire(convolved(first, inner))
        second += first
    else:
        first = fire(x) + fire(y)
        second = first + fire(convolved(first, inner))
    out = convolved(second, last)
    (out * drawn(*out.shape)).sum().backward()
    sums = [isinstance(s, Spikes) and s.window is not None for s in (first, second)]
    gradients = [leaf.grad for leaf in (x, y, inner, last) if leaf.grad is not None]
    assert len(gradients) == 4
    return [first.detach() + 0.0, second.detach() + 0.0, out.detach(), *gradients], sums


@pytest.mark.parametrize(("channels", "in_place"), [(24, False), (5, False), (5, True)])
def test_a_sum_of_spikes_runs_event_driven(channels: int, in_place: bool) -> None:
    given, sums = two_blocks(channels, "auto", in_place=in_place)
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


def test_a_view_of_spikes_that_become_a_sum_in_place_is_that_sum() -> None:
    """Its gradient is needed where either's window is open, and not where its own was."""
    shape = (T, SAMPLES, 8, HEIGHT, WIDTH)
    found = []
    for connections in ("auto", "dense"):
        generator = torch.Generator().manual_seed(1)
        x, y = (torch.randn(shape, generator=generator).requires_grad_() for _ in range(2))
        weight = torch.randn(4, 8, 3, 3, generator=generator)
        p = NEURONS["lif"].parameters()
        spikes, other = (
            scan(one, None, p, target="numba", connections=connections)[0] for one in (x, y)
        )
        view = spikes.flatten(0, 1)
        spikes += other
        if connections == "auto":
            assert isinstance(spikes, Spikes)
            assert isinstance(view, Spikes)
            assert spikes.window is not None
            assert view.window is None
        F.conv2d(view, weight).square().sum().backward()
        found.append([view.detach() + 0.0, x.grad, y.grad])
    assert torch.equal(found[0][0], found[1][0])
    for given, expected in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dim", [2, -1])
def test_spikes_side_by_side_are_spikes(dim: int) -> None:
    found = []
    for connections in ("auto", "dense"):
        generator = torch.Generator().manual_seed(2)
        shapes = [(T, SAMPLES, c, HEIGHT, WIDTH) for c in ((8, 5) if dim == 2 else (8, 8))]
        x, y = (torch.randn(s, generator=generator).requires_grad_() for s in shapes)
        weight = torch.randn(4, 13 if dim == 2 else 8, 3, 3, generator=generator).requires_grad_()
        p = NEURONS["lif"].parameters()
        spikes = [scan(one, None, p, target="numba", connections=connections)[0] for one in (x, y)]
        joined = torch.cat(spikes, dim)
        if connections == "auto":
            assert isinstance(joined, Spikes)
            assert joined.value == 1.0
            assert joined.window is not None
            values = torch.cat([spikes[0] + spikes[0], spikes[1]], dim)
            assert isinstance(values, Spikes)
            assert values.value is None
            assert values.max() == 2.0
        out = F.conv2d(joined.flatten(0, 1), weight)
        out.square().sum().backward()
        found.append([joined.detach() + 0.0, out.detach(), x.grad, y.grad, weight.grad])
    assert torch.equal(found[0][0], found[1][0])
    for given, expected in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=0.05)
