"""Lists of the active inputs that each output of a connection reads.

An entry is a 16-bit number: which row of a block of weights is to be added, in units of 8 bytes.
Lists follow one another in memory, and a table `starts` says where each begins [bytes]. Where
inputs are not binary, a list of their values (float32) runs beside the entries. A chunk is a range
of channels, few enough for the rows of their weights to stay in the first-level cache.

Bits are read 64 at a time at byte-aligned places, and 57 at a time at others; a chunk begins at a
multiple of 8 channels, and is read in words of WORD bits, or of FEWER where pixels begin anywhere.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.vectors import (
    I8,
    I16,
    count_bits,
    load_float,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    operation,
    pointer,
    shift_right,
    splat_value,
    store_float,
    store_u8,
    store_u32,
    store_u64,
)
from clifctl.kernels.machine_code import keep, sources

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Channels of a word where every pixel begins at a byte, and where it does not.
WORD, FEWER = 64, 56
# Bytes of a pixel's list of channels: a byte each; and what may be written behind a list.
PIXEL_LIST, SLACK = 64, 64


def _places() -> np.ndarray:
    """For each byte the places of its bits that are set, in ascending order: `[256, 8]`."""
    places = np.zeros((256, 8), np.uint8)
    for byte in range(256):
        found = [place for place in range(8) if byte >> place & 1]
        places[byte, : len(found)] = found
    return places


PLACES = _places()
_int, _none = types.int64, types.none


def _entries(count: int) -> Any:
    """(source, target, unit, base): so many bytes to 16-bit entries, each times unit plus base."""
    narrow, kept = ir.VectorType(I8, count), ir.VectorType(I16, count)

    def build(b: Any, v: Sequence[Any]) -> None:
        places = b.zext(b.load(pointer(b, v[0], narrow), align=1), kept)
        unit, base = (splat_value(b, b.trunc(value, I16), count) for value in v[2:])
        b.store(b.add(b.mul(places, unit), base), pointer(b, v[1], kept), align=2)

    return operation(_none, (_int, _int, _int, _int), build)


_eight_entries, _sixteen_entries = _entries(8), _entries(16)


@njit(**OPTIONS)
def word_at(bits, bit, count):
    """So many bits (1 to 57; 64 where `bit` is a multiple of 8) from a place on."""
    word = shift_right(load_u64(bits + (bit >> 3)), bit & 7)
    return word & shift_right(-1, 64 - count)


@njit(**OPTIONS)
def pixel_lists(bits, first, pixels, channels, start, count, places, lists, counts):
    """Of each of `pixels` from `first` on: which of the channels start..start+count are active, a
    byte each, to lists + 64 * pixel, and how many, a byte too, to counts + pixel."""
    bytes_ = (count + 7) >> 3
    for p in range(pixels):
        word = word_at(bits, (first + p) * channels + start, count)
        begin = at = lists + PIXEL_LIST * p
        for k in range(bytes_):
            byte = word & 255
            word = shift_right(word, 8)
            store_u64(at, load_u64(places + 8 * byte) + 0x0808080808080808 * k)
            at += count_bits(byte)
        store_u8(counts + p, at - begin)


@njit(**OPTIONS)
def window_lists(
    lists, counts, width, rows, first, columns, taps, unit,
    listed, at, starts, held, values, pixel_values,
):  # fmt: skip
    """The entries of a row of windows, whose columns are `columns` from `first` on; those outside
    of 0..width are empty.

    `lists` and `counts` are those of the pixel in column 0 of the window's row 0, and rows[0] to
    rows[1] are the window's rows inside the image. Row r of column c has its weights from
    c * taps[0] + r * taps[1] on, a channel each. Entries go to `at`, places to `starts` (relative
    to `listed`), values to `held`. Returns the end.
    """
    for column in range(columns):
        store_u32(starts + 4 * column, at - listed)
        x = first + column
        if x < 0 or x >= width:
            continue
        for row in range(rows[0], rows[1]):
            pixel = row * width + x
            source, found = lists + PIXEL_LIST * pixel, load_u8(counts + pixel)
            base = (column * taps[0] + row * taps[1]) * unit
            for i in range(0, found, 16):
                _sixteen_entries(source + i, at + 2 * i, unit, base)
            if values != 0:
                for i in range(found):
                    value = load_float(values + pixel * pixel_values + 4 * load_u8(source + i))
                    store_float(held + 2 * (at - listed) + 4 * i, value)
            at += 2 * found
    store_u32(starts + 4 * columns, at - listed)
    return at


@njit(**OPTIONS)
def point_list(bits, bit, count, word_bits, places, unit, at):
    """The entries of one place: of the bits bit..bit+count, from row 0 on. Returns the end."""
    for k in range(0, count, word_bits):
        word = word_at(bits, bit + k, min(word_bits, count - k))
        base = k * unit
        while word != 0:
            byte = word & 255
            word = shift_right(word, 8)
            _eight_entries(places + 8 * byte, at, unit, base)
            base += 8 * unit
            at += 2 * count_bits(byte)
    return at


@njit(**OPTIONS)
def list_values(begin, end, unit, elements, values, held):
    """The values of the entries begin..end of one place, to `held`: row r is element elements[r]
    of `values`."""
    for at in range(begin, end, 2):
        row = load_u16(at) // unit
        store_float(held, load_float(values + 4 * load_u32(elements + 4 * row)))
        held += 4


@njit(**OPTIONS)
def patch(bits, bit, row_bits, rows, row_taps, first, count, words, target):
    """The bits of one window as one string: those of its rows rows[0] to rows[1], `count` (57 at
    most) each from `bit` + row * row_bits on, to bit row * row_taps + first of `words` at target;
    0 elsewhere."""
    for k in range(words):
        store_u64(target + 8 * k, 0)
    for row in range(rows[0], rows[1]):
        word, place = word_at(bits, bit + row * row_bits, count), row * row_taps + first
        at = target + (place >> 3)
        store_u64(at, load_u64(at) | word << (place & 7))


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors))
