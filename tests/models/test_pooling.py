"""The adaptive average pool against torch's, which does not repeat its gradients on a GPU."""

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from clifctl.models.pooling import AdaptiveAvgPool, adaptive_avg_pool2d

MAPS = [(1, 1), (1, 2), (2, 2), (4, 3), (5, 9), (7, 6), (8, 13), (14, 7), (20, 33)]


@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize("size", [7, 1, 3])
def test_it_is_torchs_forward_and_backward(shape: tuple[int, int], size: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, *shape, generator=draw, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 5, size, size, generator=draw, dtype=torch.float64)
    ours, theirs = AdaptiveAvgPool(size)(x), F.adaptive_avg_pool2d(x, size)
    # Sums of at most so many terms of at most this size, each rounded.
    terms, eps = max(size * size, shape[0] * shape[1]), torch.finfo(torch.float64).eps
    assert (ours - theirs).abs().max() <= terms * eps * x.detach().abs().max()
    own, other = (torch.autograd.grad(y, x, g)[0] for y in (ours, theirs))
    assert (own - other).abs().max() <= terms * eps * (g.abs().sum((2, 3)).max())
    assert own.abs().max() > 0


def test_maps_of_the_size_are_left_as_they_are() -> None:
    x = torch.randn(2, 3, 7, 7)
    assert adaptive_avg_pool2d(x, 7) is x


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 4), (3, 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooled_spikes_of_small_maps_are_torchs_to_the_bit(
    shape: tuple[int, int], layout: torch.memory_format
) -> None:
    """Windows of one or two pixels a side: of quarters every sum is exact."""
    x = torch.randint(0, 5, (3, 5, *shape), generator=torch.Generator().manual_seed(1)) / 4
    x = x.contiguous(memory_format=layout)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        given = x.to(dtype)
        assert torch.equal(adaptive_avg_pool2d(given, 7), F.adaptive_avg_pool2d(given, 7))


def test_who_follows_operations_sees_one_pool() -> None:
    names = []

    class Followed(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 3, 4, 4)
    with Followed():
        AdaptiveAvgPool(7)(x)
    assert names == ["adaptive_avg_pool2d"]
