"""What batch norm needs where each process of a run sees a part of the batch."""

import torch
from torch import Tensor


def sum_over_processes(*tensors: Tensor) -> list[Tensor]:
    """Each tensor's sum over all processes, in one transfer; the tensors themselves where there is
    one process."""
    if not several_processes():
        return list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


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
