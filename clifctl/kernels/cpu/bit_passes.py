"""Passes over bits of spikes: how many there are, a part of them, sums and products with floats.

Plain numba functions that read whole words through addresses: behind every line of bits there are
bytes that may be read (`clifctl.kernels.cpu.source.SLACK`).
"""

import sys
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.source import room_for_bits
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.vectors import (
    LANES,
    count_bits,
    load,
    load_float,
    load_u64,
    mul,
    select_bits,
    shift_right,
    store,
    store_float,
    store_u8,
)
from clifctl.kernels.cpu.vectors import add as plus

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Bits that one load gets, wherever they begin.
WORD = 57
# Elements that are one unit of work.
UNIT = 64 * 1024


@njit(**OPTIONS)
def word_at(bits, place):
    """The bits from `place`: WORD of them count."""
    return shift_right(load_u64(bits + (place >> 3)), place & 7)


@njit(**OPTIONS)
def count(bits, first, elements):
    """How many of `elements` bits from `first` are set."""
    found, whole = 0, elements // 56 * 56
    for start in range(0, whole, 56):
        found += count_bits(word_at(bits, first + start) & ((1 << 56) - 1))
    return found + count_bits(word_at(bits, first + whole) & ((1 << (elements - whole)) - 1))


@njit(**OPTIONS)
def counts(bits, first, rows, size, out):
    """How many bits of each of `rows`, one behind the other, of `size` bits are set."""
    for row in range(rows):
        store_float(out + 4 * row, np.float32(count(bits, first + row * size, size)))


@njit(**OPTIONS)
def move(bits, first, elements, out):
    """Write `elements` bits from `first` so that they begin at a byte."""
    for byte in range((elements + 7) // 8):
        left = min(8, elements - 8 * byte)
        store_u8(out + byte, word_at(bits, first + 8 * byte) & ((1 << left) - 1))


@njit(**OPTIONS)
def add(start, end, bits, first, value, x, out):
    """out = x + value where a bit is set, for floats in a row from `start` to `end`."""
    whole = start + (end - start) // LANES * LANES
    for i in range(start, whole, LANES):
        spikes = select_bits(word_at(bits, first + i), value)
        store(out + 4 * i, plus(load(x + 4 * i), spikes))
    for i in range(whole, end):
        spike = value if word_at(bits, first + i) & 1 else np.float32(0)
        store_float(out + 4 * i, load_float(x + 4 * i) + spike)


@njit(**OPTIONS)
def multiply(start, end, bits, first, value, x, out):
    """out = x * value where a bit is set, x * 0 elsewhere."""
    whole = start + (end - start) // LANES * LANES
    for i in range(start, whole, LANES):
        spikes = select_bits(word_at(bits, first + i), value)
        store(out + 4 * i, mul(load(x + 4 * i), spikes))
    for i in range(whole, end):
        spike = value if word_at(bits, first + i) & 1 else np.float32(0)
        store_float(out + 4 * i, load_float(x + 4 * i) * spike)


def counted(bits: Tensor, first: int, elements: int) -> int:
    """How many of `elements` bits from `first` are set."""
    return int(count(bits.data_ptr(), first, elements))


def counted_rows(bits: Tensor, first: int, rows: int, size: int) -> Tensor:
    """How many bits of each of `rows` of `size` bits are set: float32 `[rows]`."""
    found = torch.empty(rows, device=CPU)
    counts(bits.data_ptr(), first, rows, size, found.data_ptr())
    return found


def moved(bits: Tensor, first: int, elements: int) -> Tensor:
    """`elements` bits from `first` as bits of their own, which begin at a byte."""
    out = room_for_bits(elements)
    move(bits.data_ptr(), first, elements, out.data_ptr())
    return out


def added(bits: Tensor, first: int, value: float, x: Tensor, out: Tensor) -> None:
    """out = x + value where a bit from `first` is set; `x` and `out` are plain float32 tensors
    without gaps, in the order of the bits, and may be one."""
    _combine(add, bits, first, value, x, out)


def multiplied(bits: Tensor, first: int, value: float, x: Tensor, out: Tensor) -> None:
    """out = x * value where a bit from `first` is set, x * 0 elsewhere; otherwise as `added`."""
    _combine(multiply, bits, first, value, x, out)


def _combine(kernel: Any, bits: Tensor, first: int, value: float, x: Tensor, out: Tensor) -> None:
    elements = x.numel()
    addresses = (bits.data_ptr(), first, np.float32(value), x.data_ptr(), out.data_ptr())
    run_units(
        lambda a, b: kernel(a * UNIT, min(b * UNIT, elements), *addresses),
        -(-elements // UNIT),
        elements,
    )


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors))
