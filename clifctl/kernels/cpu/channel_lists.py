"""Where each input channel is active: bits into lists, one for each channel of a tile.

A list holds places of the tile's grid (`tiles.py`), each times UNIT, in ascending order, in 16 bits
each; then the place p.nowhere, which hits zeros alone, until its length is a multiple of what its
class asks for. The lists of a tile lie one behind the other: for each class of positions, for each
channel.
"""

import sys
from typing import Any

import numpy as np
from numba import njit

from clifctl.kernels.cpu import lists, transposes, vectors, weight_gradient_plan
from clifctl.kernels.cpu.lists import entries_of
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.transposes import transpose_bits
from clifctl.kernels.cpu.vectors import (
    LANES,
    load_float,
    load_u16,
    load_u32,
    load_u64,
    shift_right,
    store,
    store_float,
    store_u32,
    store_u64,
    zero,
)
from clifctl.kernels.cpu.weight_gradient_plan import UNIT, corner_of, images_of

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Entries that may be written behind a tile's last list.
OVERRUN = 32


@njit(**OPTIONS)
def list_channels(first, last, plan, classes, bits, table, words, lists, starts):
    """Lists of the tiles from `first` to `last`, and the byte in a tile's lists where each begins
    (and, behind these, where the last one ends). `classes` are rows: the row and the column of a
    class, and a power of two. `words` has room for p.words words 65 times."""
    p = plan[0]
    columns = words + 8 * p.words
    # Four times in 64 bits.
    nowhere = (UNIT * p.nowhere & 0xFFFF) * 0x0001000100010001
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
                    store_u64(end, nowhere)
                    store_u64(end + 8, nowhere)
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
            to = entries_of(word, 64, table, UNIT, 64 * i * UNIT, to)
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
keep(_this, sources(_this, vectors, lists, transposes, weight_gradient_plan))
