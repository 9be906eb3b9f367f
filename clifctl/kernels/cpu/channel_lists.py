"""Where each input channel is active: bits into lists, one for each channel of a tile.

A list holds places of the tile's grid (`tiles.py`), each times UNIT, in ascending order, in 16 bits
each; then the place p.nowhere, which hits zeros alone, until its length is a multiple of what its
class asks for. The lists of a tile lie one behind the other: for each class of positions, for each
channel.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from clifctl.kernels.cpu import tiles, transposes, vectors
from clifctl.kernels.cpu.tiles import UNIT, corner_of, images_of
from clifctl.kernels.cpu.transposes import transpose_bits
from clifctl.kernels.cpu.vectors import (
    I16,
    LANES,
    count_bits,
    load_float,
    load_u16,
    load_u32,
    load_u64,
    operation,
    pointer,
    shift_right,
    splat_value,
    store,
    store_float,
    store_u32,
    store_u64,
    zero,
)  # fmt: skip
from clifctl.kernels.machine_code import keep, sources

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Entries that may be written behind a tile's last list.
OVERRUN = 8
# Channels of which the bits are read at once: with 64, none may begin within a byte.
WORD, UNALIGNED_WORD = 64, 56


def places_of_bytes() -> np.ndarray:
    """For each of the 256 bytes: the places, times UNIT, of its bits that are set, then zeros."""
    table = np.zeros((256, 8), np.uint16)
    for byte in range(256):
        places = [UNIT * place for place in range(8) if byte >> place & 1]
        table[byte, : len(places)] = places
    return table


def _shift_places(b: Any, v: Sequence[Any]) -> None:
    source, by, to = v
    kind = ir.VectorType(I16, 8)
    places = b.load(pointer(b, source, kind), align=2)
    b.store(b.add(places, splat_value(b, b.trunc(by, I16), 8)), pointer(b, to, kind), align=2)


_int = types.int64
# shift_places(source, by, to): eight 16-bit numbers, `by` added to each.
shift_places = operation(types.none, (_int, _int, _int), _shift_places)


@njit(**OPTIONS)
def list_channels(first, last, plan, classes, bits, table, words, lists, starts):
    """Lists of the tiles from `first` to `last`, and the byte in a tile's lists where each begins
    (and, behind these, where the last one ends). `classes` are rows: the row and the column of a
    class, and a power of two. `words` has room for p.words words 65 times."""
    p = plan[0]
    columns = words + 8 * p.words
    step = p.words // 8
    for tile in range(first, last):
        begin = lists + 2 * p.room * tile
        start = starts + 4 * (p.lists + 1) * tile
        to = begin
        for k in range(len(classes)):
            for channel in range(0, p.channels, p.chunk):
                _gather(p, tile, classes[k, 0], classes[k, 1], channel, bits, words)
                for i in range(0, p.words, 64):
                    transpose_bits(words + 8 * i, columns + i // 8, step)
                for c in range(min(p.chunk, p.channels - channel)):
                    store_u32(start, to - begin)
                    start += 4
                    end = _append(columns + c * step, step // 8, table, to)
                    # Byte 0 has no places: eight times nowhere.
                    shift_places(table, UNIT * p.nowhere, end)
                    multiple = 2 * classes[k, 2]
                    to += (end - to + multiple - 1) // multiple * multiple
        store_u32(start, to - begin)


@njit(**OPTIONS)
def _gather(p, tile, row_class, column_class, channel, bits, words):
    """For each of a tile's places a word: the bits of p.chunk channels (and some more) where it is
    a position of the class, else 0."""
    for i in range(0, p.words, LANES // 2):
        store(words + 8 * i, zero())
    first, last = images_of(p, tile)
    y0, x0 = corner_of(p, tile)
    rows = min(p.rows, (p.height - row_class + p.row_stride - 1) // p.row_stride - y0)
    columns = min(p.columns, (p.width - column_class + p.column_stride - 1) // p.column_stride - x0)
    step = p.column_stride * p.channels
    for n in range(first, last):
        for y in range(rows):
            row = n * p.height + (y0 + y) * p.row_stride + row_class
            pixel = row * p.width + x0 * p.column_stride + column_class
            bit = pixel * p.channels + channel
            to = words + 8 * ((n - first) * p.image_pitch + y * p.pitch)
            for _ in range(columns):
                store_u64(to, shift_right(load_u64(bits + (bit >> 3)), bit & 7))
                bit += step
                to += 8


@njit(**OPTIONS)
def _append(words, count, table, to):
    """Append the places of the bits that are set in `count` words to a list; where it ends."""
    for i in range(count):
        word = load_u64(words + 8 * i)
        if word != 0:
            for byte in range(8):
                eight = shift_right(word, 8 * byte) & 255
                shift_places(table + 16 * eight, UNIT * (64 * i + 8 * byte), to)
                to += 2 * count_bits(eight)
    return to


@njit(**OPTIONS)
def list_values(first, last, plan, classes, values, pixels, lists, starts, listed):
    """The values `[samples, height, width, channels]` at what is listed, in the lists' order;
    `pixels` are the places' own in the input, counted from a tile's first."""
    p = plan[0]
    for tile in range(first, last):
        begin = 2 * p.room * tile
        start = starts + 4 * (p.lists + 1) * tile
        y0, x0 = corner_of(p, tile)
        row = images_of(p, tile)[0] * p.height + y0 * p.row_stride
        for k in range(len(classes)):
            pixel = (row + classes[k, 0]) * p.width + x0 * p.column_stride + classes[k, 1]
            for c in range(p.channels):
                at = values + 4 * (pixel * p.channels + c)
                for entry in range(begin + load_u32(start), begin + load_u32(start + 4), 2):
                    place = load_u16(lists + entry) // UNIT
                    store_float(listed + 2 * entry, np.float32(0.0))
                    if place != p.nowhere:
                        value = load_float(at + 4 * p.channels * pixels[place])
                        store_float(listed + 2 * entry, value)
                start += 4


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors, transposes, tiles))
