"""Spikes as one bit an element, and back: for every dtype and device."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu.threads import run_units

# Bytes of bits that are one unit of work.
BLOCK = 16 * 1024
# Whole numbers of the size of a floating-point one.
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack_bits(x: Tensor) -> Tensor:
    """One bit an element of `x` `[n]`, set where it is not 0: uint8 `[ceil(n / 8)]`."""
    bits = x.new_empty(-(-len(x) // 8), dtype=torch.uint8)
    whole = x.view(_WHOLE[x.element_size()])
    if x.device.type != CPU:
        padded = torch.nn.functional.pad((whole != 0).to(torch.uint8), (0, -len(x) % 8))
        return (padded.view(-1, 8) << _places(x)).sum(1, dtype=torch.uint8)
    from clifctl.kernels.cpu import numba_passes

    given, made = whole.numpy(), bits.numpy()
    run_units(
        lambda first, last: numba_passes.pack(first, last, BLOCK, given, made),
        -(-len(bits) // BLOCK),
        len(x),
    )
    return bits


pack_operator = torch.library.custom_op("clifctl::pack_bits", pack_bits, mutates_args=())


@pack_operator.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(-(-len(x) // 8), dtype=torch.uint8)


def unpack_bits(bits: Tensor, elements: int, dtype: torch.dtype, value: float) -> Tensor:
    """The inverse of `pack_bits`: `[elements]` of `dtype`, `value` where a bit is set, else 0."""
    x = bits.new_empty(elements, dtype=dtype)
    if bits.device.type != CPU:
        each = (bits[:, None] >> _places(bits)) & 1
        return each.view(-1)[:elements].to(dtype) * value
    from clifctl.kernels.cpu import numba_passes

    whole = _WHOLE[x.element_size()]
    given, made = bits.numpy(), x.view(whole).numpy()
    one = _as_whole(value, dtype)
    run_units(
        lambda first, last: numba_passes.unpack(first, last, BLOCK, given, one, made),
        -(-len(bits) // BLOCK),
        elements,
    )
    return x


unpack_operator = torch.library.custom_op("clifctl::unpack_bits", unpack_bits, mutates_args=())


@unpack_operator.register_fake
def _(bits: Tensor, elements: int, dtype: torch.dtype, value: float) -> Tensor:
    return bits.new_empty(elements, dtype=dtype)


@lru_cache(maxsize=64)
def _as_whole(value: float, dtype: torch.dtype) -> Any:
    """The whole number whose bits are those of `value`."""
    number = torch.tensor([value], dtype=dtype, device=CPU)
    return number.view(_WHOLE[number.element_size()]).numpy()[0]


def _places(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)
