"""Between torch's layouts and those that event-driven kernels read and write.

Weights lie as rows: one row an output, its elements (channel, tap) in the order of the parameter's
memory. A kernel wants LANES outputs side by side, wherever it likes: blocks of LANES x LANES are
transposed in registers, and a table says where each element goes. Spikes lie as floats or as bits.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit, types
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.source import bits_bytes, room_for_bits
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.vectors import (
    I32,
    I64,
    LANES,
    load_float,
    load_u8,
    load_u16,
    load_u32,
    non_zero_bits,
    operation,
    pointer,
    select_bits,
    splat_value,
    store,
    store_float,
    store_u8,
    store_u16,
    transposed,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_int, _float, _none = types.int64, types.float32, types.none
_ROW = vectors.llvm_vector("f32", LANES)
# Elements of a tensor of spikes that are one unit of work.
UNIT = 64 * 1024

# --- weights ------------------------------------------------------------------------------------


def weight_memory(weight: Tensor) -> tuple[Tensor, bool]:
    """`weight` `[out, C, kh, kw]` (`[out, C]`) as a plain tensor that fills its memory, and whether
    its taps lie outside of its channels (`[out, kh, kw, C]`, torch's channels_last)."""
    plain = weight.detach()
    if plain.is_contiguous():
        return plain, False
    if plain.dim() == 4 and plain.is_contiguous(memory_format=torch.channels_last):
        return plain, True
    return plain.contiguous(), False


def offsets_in_memory_order(places: np.ndarray, channels_last: bool) -> np.ndarray:
    """A table for `pack_rows` from the offset [bytes] of each element `[C, taps]`."""
    ordered = places.T if channels_last else places
    return np.ascontiguousarray(ordered, np.int32).reshape(-1)


def _load_u32(b: Any, address: Any) -> Any:
    return b.zext(b.load(pointer(b, address, I32), align=4), I64)


def _at(b: Any, base: Any, table: Any, place: int) -> Any:
    return b.add(base, _load_u32(b, b.add(table, I64(4 * place))))


def _scatter(b: Any, v: Sequence[Any]) -> None:
    source, row_bytes, offsets, target, scale = v
    rows = []
    for _ in range(LANES):
        rows.append(b.load(pointer(b, source, _ROW), align=4))
        source = b.add(source, row_bytes)
    factor = splat_value(b, scale, LANES)
    for place, column in enumerate(transposed(b, rows)):
        b.store(b.fmul(column, factor), pointer(b, _at(b, target, offsets, place), _ROW), align=4)


# (source, row_bytes, offsets, target, scale): a square of LANES rows, its columns to target +
# offsets[column], times scale.
_scatter_square = operation(_none, (_int, _int, _int, _int, _float), _scatter)


@njit(**OPTIONS)
def pack_rows(source, row_bytes, rows, columns, offsets, target, scale):
    """Element j of row r, times `scale`, to float r of the vector at target + offsets[j]: `rows` of
    LANES, 0 in the place of those that are not there."""
    squares = columns // LANES * LANES if rows == LANES else 0
    for j in range(0, squares, LANES):
        _scatter_square(source + 4 * j, row_bytes, offsets + 4 * j, target, scale)
    for j in range(squares, columns):
        at = target + load_u32(offsets + 4 * j)
        for r in range(LANES):
            inside = r < rows
            x = load_float(source + r * row_bytes + 4 * j) if inside else np.float32(0)
            store_float(at + 4 * r, x * scale)


# --- spikes -------------------------------------------------------------------------------------


def bits_of(x: Tensor) -> Tensor:
    """The bits of a float32 tensor `[.., C, H, W]` (`[.., C]`), as `Active` has them: set where it
    is not 0."""
    memory = _channels_innermost(x.detach())
    bits, elements = room_for_bits(x.numel()), x.numel()
    source, target = memory.data_ptr(), bits.data_ptr()
    run_units(
        lambda first, last: _pack_bits(source, target, first * UNIT, min(last * UNIT, elements)),
        -(-elements // UNIT),
        elements,
    )
    return bits


def floats_of(bits: Tensor, shape: Sequence[int], value: float = 1.0) -> Tensor:
    """The inverse of `bits_of`: float32 of `shape`, channels innermost in memory (torch's
    channels_last where it has four dimensions), `value` where a bit is set, else 0."""
    if len(shape) > 2:
        *samples, channels, height, width = shape
        memory = torch.empty(*samples, height, width, channels, device=CPU)
        x = memory.movedim(-1, -3)
    else:
        x = memory = torch.empty(*shape, device=CPU)
    elements = x.numel()
    if bits.numel() < bits_bytes(elements):
        raise ValueError(f"{bits.numel()} bytes are not the bits of {tuple(shape)}")
    source, target = bits.data_ptr(), memory.data_ptr()
    run_units(
        lambda first, last: _unpack_bits(
            source, target, first * UNIT, min(last * UNIT, elements), value
        ),
        -(-elements // UNIT),
        elements,
    )
    return x


def _channels_innermost(x: Tensor) -> Tensor:
    """`[.., H, W, C]`, contiguous: of channels_last as it is."""
    return (x.movedim(-3, -1) if x.dim() > 2 else x).contiguous()


@njit(**OPTIONS)
def _pack_bits(source, target, first, last):
    """Elements `first` (a multiple of 8) to `last` of floats as bits."""
    whole = first + (last - first) // LANES * LANES
    for i in range(first, whole, LANES):
        found = non_zero_bits(source + 4 * i)
        if LANES == 16:
            store_u16(target + i // 8, found)
        else:
            store_u8(target + i // 8, found)
    for i in range(whole, last, 8):
        byte = 0
        for k in range(min(8, last - i)):
            byte |= int(load_float(source + 4 * (i + k)) != 0) << k
        store_u8(target + i // 8, byte)


@njit(**OPTIONS)
def _unpack_bits(source, target, first, last, value):
    one = np.float32(value)
    whole = first + (last - first) // LANES * LANES
    for i in range(first, whole, LANES):
        found = load_u16(source + i // 8) if LANES == 16 else load_u8(source + i // 8)
        store(target + 4 * i, select_bits(found, one))
    for i in range(whole, last):
        bit = load_u8(source + i // 8) >> (i & 7) & 1
        store_float(target + 4 * i, one if bit else np.float32(0))


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors))
