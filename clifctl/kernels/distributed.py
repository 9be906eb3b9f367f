"""What batch norm needs where each process of a run sees a part of the batch."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def sum_over_processes(*tensors: Tensor) -> list[Tensor]:
    """Each tensor's sum over all processes, in one transfer; the tensors themselves where there is
    one process."""
    if not several_processes():
        return list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


class _Sum(torch.autograd.Function):
    """A sum over processes that has a gradient: every process's loss depends on every term."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_over_processes(tensor)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_processes(gradient)[0]


def differentiable_sum(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all processes, with a gradient: that of all processes' losses."""
    total: Tensor = _Sum.apply(tensor)
    return total


def gather_over_processes(row: Tensor) -> Tensor:
    """`row` `[n]` of every process, in the order of their ranks: `[processes, n]`."""
    if not several_processes():
        return row[None]
    rows = [torch.empty_like(row) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(rows, row)
    return torch.stack(rows)


def several_processes() -> bool:
    """Whether this run has more than one process to speak with."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
