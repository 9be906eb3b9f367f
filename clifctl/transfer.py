"""What a step brings from the CPU to its device: one copy, which nothing waits for.

A copy from ordinary memory, or of a single number, makes the CPU wait until the GPU has done all
that was asked of it before. So what is drawn for a batch travels together, from memory that the GPU
reads by itself, and numbers that never change stay on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from clifctl.devices import is_gpu

_ALIGNED = 16  # bytes; no dtype is larger


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """`tensors`, which are on the CPU, on `device`; to a GPU in one copy."""
    if not is_gpu(device):
        return [tensor.to(device) for tensor in tensors]
    if len(tensors) == 1 and tensors[0].is_pinned():
        return [tensors[0].to(device, non_blocking=True)]
    sizes = [-(-tensor.nbytes // _ALIGNED) * _ALIGNED for tensor in tensors]
    packed = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True)
    for part, tensor in zip(packed.split(sizes), tensors, strict=True):
        part[: tensor.nbytes].view(tensor.dtype).copy_(tensor.flatten())
    there = packed.to(device, non_blocking=True).split(sizes)
    return [
        part[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for part, tensor in zip(there, tensors, strict=True)
    ]


def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """`values` as a tensor on `device`, copied there once. It must not be changed in place."""
    key = (values, dtype, device)
    if key not in _constants:
        with torch.inference_mode(False):  # what is made for an evaluation must do for training too
            made = torch.tensor(values, dtype=dtype, device=device)
        _constants[key] = made
    return _constants[key]


# As torch.compiler.assume_constant_result marks it, which imports torch's compiler: over a second.
constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
# A few for each net, device and dtype of a process.
_constants: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}
