"""The adaptive average pool of the nets, in a form that gives the same gradients every time."""

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function


class AdaptiveAvgPool(nn.Module):
    """`torch.nn.AdaptiveAvgPool2d(size)`, computed by `adaptive_avg_pool2d`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def extra_repr(self) -> str:
        return str(self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[N, C, H, W]` to `[N, C, size, size]`."""
        return adaptive_avg_pool2d(x, self.size)


def adaptive_avg_pool2d(x: Tensor, size: int) -> Tensor:
    """The means of `x` `[N, C, H, W]` over `size` x `size` windows that cover it: rows
    floor(i H / size) to ceil((i + 1) H / size) for window i, and columns alike. Maps of that size
    are left as they are; of smaller ones windows repeat values.

    torch's own backward adds into the same pixel in any order on a GPU; here each window is a
    slice, and their gradients are added one after the other.
    """
    if has_torch_function((x,)):
        # Who follows the net's operations sees the one pool that this is.
        traced: Tensor = handle_torch_function(adaptive_avg_pool2d, (x,), x, size)
        return traced
    return _means(_means(x, 2, size), 3, size)


def _means(x: Tensor, dim: int, count: int) -> Tensor:
    """The means over `count` windows along one dimension."""
    length = x.shape[dim]
    if length == count:
        return x
    edges = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    means = [x.narrow(dim, first, end - first).mean(dim, keepdim=True) for first, end in edges]
    return torch.cat(means, dim)
