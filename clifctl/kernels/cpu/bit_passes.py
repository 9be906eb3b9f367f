"""Passes over bits of spikes: how many there are, a part of them, and adding them to a tensor.

Plain numba functions that read whole words through addresses: behind every line of bits there are
bytes that may be read (`clifctl.kernels.cpu.source.SLACK`).
"""

import sys
from pathlib import Path
from typing import Any

from numba import njit
from torch import Tensor

from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.source import room_for_bits
from clifctl.kernels.cpu.vectors import (
    count_bits,
    load_float,
    load_u64,
    lowest,
    shift_right,
    store_float,
    store_u8,
)
from clifctl.kernels.machine_code import keep
from clifctl.kernels.threads import run_units

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
WORD = 64
# Elements that one unit of work adds to.
UNIT = 64 * 1024


@njit(**OPTIONS)
def word_at(bits, place, left):
    """The word of the bits from `place`, with 0 behind the `left` that count (57 at most)."""
    word = shift_right(load_u64(bits + (place >> 3)), place & 7)
    if left < 57:
        return word & ((1 << left) - 1)
    return word & ((1 << 57) - 1)


@njit(**OPTIONS)
def count(bits, first, elements):
    """How many of `elements` bits from `first` are set."""
    found = 0
    for start in range(0, elements, 57):
        found += count_bits(word_at(bits, first + start, elements - start))
    return found


@njit(**OPTIONS)
def move(bits, first, elements, out):
    """Write `elements` bits from `first` so that they begin at a byte."""
    for byte in range((elements + 7) // 8):
        start = 8 * byte
        store_u8(out + byte, word_at(bits, first + start, min(8, elements - start)))


@njit(**OPTIONS)
def add(first_unit, last_unit, unit, bits, first, elements, value, x, out):
    """out = x + value where a bit is set, of floats in a row; `out` may be `x`, and is not written
    where nothing is added then."""
    for start in range(first_unit * unit, min(last_unit * unit, elements), 56):
        here = min(56, min(last_unit * unit, elements) - start)
        if x != out:
            for i in range(start, start + here):
                store_float(out + 4 * i, load_float(x + 4 * i))
        word = word_at(bits, first + start, here)
        while word != 0:
            at = out + 4 * (start + lowest(word))
            store_float(at, load_float(at) + value)
            word &= word - 1


def counted(bits: Tensor, first: int, elements: int) -> int:
    """How many of `elements` bits from `first` are set."""
    return int(count(bits.data_ptr(), first, elements))


def moved(bits: Tensor, first: int, elements: int) -> Tensor:
    """`elements` bits from `first` as bits of their own, which begin at a byte."""
    out = room_for_bits(elements)
    move(bits.data_ptr(), first, elements, out.data_ptr())
    return out


def added(bits: Tensor, first: int, elements: int, value: float, x: Tensor, out: Tensor) -> None:
    """out = x + value where one of `elements` bits from `first` is set; `x` and `out` are plain,
    without gaps and in the order of the bits, or one tensor."""
    import numpy as np

    arguments = (bits.data_ptr(), first, elements, np.float32(value), x.data_ptr(), out.data_ptr())
    run_units(lambda a, b: add(a, b, UNIT, *arguments), -(-elements // UNIT), elements)


keep(
    sys.modules[__name__],
    Path(__file__).read_text(encoding="utf-8") + Path(vectors.__file__).read_text(encoding="utf-8"),
)
