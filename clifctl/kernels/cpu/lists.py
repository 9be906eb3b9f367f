"""Lists of the active inputs that each output of a connection reads.

An entry is a 16-bit number: which row of a chunk of weights is to be added, in units of 8 bytes. A
chunk is a range of channels (or of the bits of a patch), few enough for the rows of their weights
to stay in the first-level cache. Lists follow one another in memory. Where inputs are not binary, a
list of their values (float32) runs beside the entries. What a place of the output adds up is a
range of them: its `sum`.

Bits are read 64 at a time at byte-aligned places, and 57 at a time at others; chunks begin at a
multiple of 8 channels, and are read in words of WORD bits, or of UNALIGNED_WORD where pixels begin
anywhere.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.vectors import (
    FEATURES,
    I1,
    I8,
    I16,
    call,
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
    store_u16,
    store_u32,
    store_u64,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Bits of a word where every pixel begins at a byte, and where it does not.
WORD, UNALIGNED_WORD = 64, 56
# Bytes of a pixel's list of channels: a byte each; and what may be written behind a list.
PIXEL_LIST, SLACK = 64, 64
# Where the fields of a sum lie, and how long it is [bytes].
SUM_LAST, SUM_BEGIN, SUM_SHIFT, SUM_GROUPS, SUM_LEFT, SUM_PLACE = 0, 8, 12, 16, 18, 20
SUM_BYTES = 24
_int, _none = types.int64, types.none

# --- places of bits -----------------------------------------------------------------------------


def _places() -> np.ndarray:
    places = np.zeros((256, 8), np.uint8)
    for byte in range(256):
        found = [place for place in range(8) if byte >> place & 1]
        places[byte, : len(found)] = found
    return places


# For each byte the places of its bits that are set, in ascending order.
PLACES = _places()


def _entries(count: int) -> Any:
    """(source, at, unit, base): so many bytes to 16-bit entries, each times unit plus base."""
    narrow, kept = ir.VectorType(I8, count), ir.VectorType(I16, count)

    def build(b: Any, v: Sequence[Any]) -> None:
        places = b.zext(b.load(pointer(b, v[0], narrow), align=1), kept)
        unit, base = (splat_value(b, b.trunc(value, I16), count) for value in v[2:])
        b.store(b.add(b.mul(places, unit), base), pointer(b, v[1], kept), align=2)

    return operation(_none, (_int, _int, _int, _int), build)


_eight_entries, _sixteen_entries = _entries(8), _entries(16)


def _compressed(b: Any, values: Any, bits: Any) -> Any:
    """The elements whose bit is set, moved together."""
    mask = b.bitcast(bits, ir.VectorType(I1, values.type.count))
    kind = f"v{values.type.count}i{values.type.element.width}"
    nothing = ir.Constant(values.type, [0] * values.type.count)
    return call(b, f"llvm.x86.avx512.mask.compress.{kind}", values.type, [values, nothing, mask])


def _compressed_bytes(b: Any, v: Sequence[Any]) -> None:
    kind = ir.VectorType(I8, 64)
    found = _compressed(b, ir.Constant(kind, list(range(64))), v[0])
    b.store(found, pointer(b, v[1], kind), align=1)


def _compressed_entries(b: Any, v: Sequence[Any]) -> None:
    bits, at, unit, base = v
    kind = ir.VectorType(I16, 32)
    unit, base = (splat_value(b, b.trunc(value, I16), 32) for value in (unit, base))
    entries = b.add(b.mul(ir.Constant(kind, list(range(32))), unit), base)
    found = _compressed(b, entries, b.trunc(bits, ir.IntType(32)))
    b.store(found, pointer(b, at, kind), align=2)


# (bits, at): the places of up to 64 bits, a byte each; (bits, at, unit, base): the entries of the
# lowest 32, place times unit plus base.
_store_places = operation(_none, (_int, _int), _compressed_bytes)
_store_entries = operation(_none, (_int, _int, _int, _int), _compressed_entries)

if "+avx512vbmi2" in FEATURES:

    @njit(**OPTIONS)
    def places_of(word, count, table, at):
        """The places of the bits that are set among the lowest `count`, a byte each; the end."""
        _store_places(word, at)
        return at + count_bits(word)

    @njit(**OPTIONS)
    def entries_of(word, count, table, unit, base, at):
        """An entry for each of them, place times `unit` plus `base`; the end."""
        _store_entries(word, at, unit, base)
        at += 2 * count_bits(word & 0xFFFFFFFF)
        if count > 32:
            _store_entries(word >> 32, at, unit, base + 32 * unit)
            at += 2 * count_bits(shift_right(word, 32))
        return at
else:

    @njit(**OPTIONS)
    def places_of(word, count, table, at):
        """The places of the bits that are set among the lowest `count`, a byte each; the end."""
        for k in range((count + 7) >> 3):
            byte = shift_right(word, 8 * k) & 255
            store_u64(at, load_u64(table + 8 * byte) + 0x0808080808080808 * k)
            at += count_bits(byte)
        return at

    @njit(**OPTIONS)
    def entries_of(word, count, table, unit, base, at):
        """An entry for each of them, place times `unit` plus `base`; the end."""
        for k in range((count + 7) >> 3):
            byte = shift_right(word, 8 * k) & 255
            _eight_entries(table + 8 * byte, at, unit, base + 8 * k * unit)
            at += 2 * count_bits(byte)
        return at


@njit(**OPTIONS)
def word_at(bits, bit, count):
    """So many bits (1 to 57; 64 where `bit` is a multiple of 8) from a place on."""
    word = shift_right(load_u64(bits + (bit >> 3)), bit & 7)
    return word & shift_right(-1, 64 - count)


# --- lists --------------------------------------------------------------------------------------


@njit(**OPTIONS)
def pixel_lists(bits, first, pixels, channels, start, count, table, lists, counts):
    """Of each of `pixels` from `first` on: which of the channels start..start + count are active,
    a byte each, to lists + 64 * pixel, and how many, a byte too, to counts + pixel."""
    bit = first * channels + start
    for p in range(pixels):
        at = lists + PIXEL_LIST * p
        store_u8(counts + p, places_of(word_at(bits, bit, count), count, table, at) - at)
        bit += channels


@njit(**OPTIONS)
def window_lists(
    lists,
    counts,
    width,
    rows,
    first,
    columns,
    taps,
    unit,
    listed,
    at,
    starts,
    held,
    values,
    pixel_values,
):
    """The entries of a row of windows, whose columns are `columns` from `first` on; those outside
    of 0..width are empty.

    `lists` and `counts` are those of the pixel in column 0 of the window's row 0, and rows[0] to
    rows[1] are the window's rows inside the image. Row r of column c has its weights from
    c * taps[0] + r * taps[1] on, a channel each. Entries go to `at`, where each column begins to
    `starts` (relative to `listed`, as 4 bytes), values to `held`. Returns the end.
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
            _sixteen_entries(source, at, unit, base)
            for i in range(16, found, 16):
                _sixteen_entries(source + i, at + 2 * i, unit, base)
            if values != 0:
                for i in range(found):
                    value = load_float(values + pixel * pixel_values + 4 * load_u8(source + i))
                    store_float(held + 2 * (at - listed) + 4 * i, value)
            at += 2 * found
    store_u32(starts + 4 * columns, at - listed)
    return at


@njit(**OPTIONS)
def point_list(bits, bit, count, word_bits, table, unit, at):
    """The entries of the bits bit..bit + count, from row 0 on. Returns the end."""
    for k in range(0, count, word_bits):
        some = min(word_bits, count - k)
        at = entries_of(word_at(bits, bit + k, some), some, table, unit, k * unit, at)
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
def write_sum(at, listed, begin, end, place, shift, blank):
    """What a place of the output adds up, as SUM_BYTES at `at`: the entries listed + begin to
    listed + end, where entry 0 lies `shift` units in front of the weights, and entry `blank` is a
    row of zeros. The last entries, 4 at most, are kept beside, filled up with zeros."""
    groups = max(0, (end - begin - 2) >> 3)
    left = end - begin - 8 * groups
    chosen = shift_right(-1, 64 - 8 * left) if left > 0 else 0
    last = load_u64(listed + begin + 8 * groups) & chosen | blank * 0x0001000100010001 & ~chosen
    store_u64(at + SUM_LAST, last)
    store_u32(at + SUM_BEGIN, begin)
    store_u32(at + SUM_SHIFT, shift)
    store_u16(at + SUM_GROUPS, groups)
    store_u16(at + SUM_LEFT, left >> 1)
    store_u32(at + SUM_PLACE, place)


@njit(**OPTIONS)
def patch(bits, bit, row_bits, rows, row_taps, first, count, words, target):
    """The bits of one window as a string of `words`: of its rows rows[0] to rows[1] `count` bits
    each, from `bit` + row * row_bits on, to bit row * row_taps + first; 0 elsewhere."""
    at, stop, held = target, target + 8 * words, 0
    place = rows[0] * row_taps + first
    while place >= WORD:
        store_u64(at, 0)
        at += 8
        place -= WORD
    bit += rows[0] * row_bits
    for _ in range(rows[0], rows[1]):
        word = word_at(bits, bit, count)
        held |= word << place
        bit += row_bits
        next_place = place + row_taps
        if next_place >= WORD:
            store_u64(at, held)
            at += 8
            held = shift_right(word, WORD - place) if place + count > WORD else 0
            next_place -= WORD
        place = next_place
    while at < stop:
        store_u64(at, held)
        at += 8
        held = 0


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors))
