"""The native part of the input gradient: see `clifctl.kernels.cpu.input_gradient`.

Memory is read and written through addresses; sizes are in elements where nothing else is said. `p`
is a record with the fields of `InputGradientPlan`, `kind` one with those of `PlaceClass`.
"""

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from clifctl.kernels.cpu import dot_products, groups, packing, transposes, vectors
from clifctl.kernels.cpu.dot_products import dots
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.packing import pack_rows
from clifctl.kernels.cpu.transposes import transpose_bits, transpose_floats
from clifctl.kernels.cpu.vectors import (
    I16,
    LANES,
    VECTOR_BYTES,
    count_bits,
    load,
    load_float,
    load_u16,
    load_u32,
    load_u64,
    operation,
    pointer,
    prefetch_to_read,
    prefetch_to_write,
    shift_right,
    splat_value,
    store,
    store_float,
    store_u16,
    store_u32,
    store_u64,
    wide,
    zero,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Of what Python does not call: without the code for that, which takes a quarter of the time to
# compile.
INNER = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_vector = wide(1)
load_first, store_first = _vector.load_first, _vector.store_first
# Bytes of a line of the cache.
LINE = 64


@njit(**INNER)
def sum_up(p, kind, packed, scratch, ahead):
    """The gradient at the listed places of a class. Meanwhile memory that is soon needed is
    fetched: `ahead` are the ends of what is read and of what is written."""
    unit = 4 * p.chunk
    row_bytes, run = p.pitch * unit, kind.tap_columns * unit
    # Where in the grid the first tap of place 0 is.
    first_row, first_column = p.back_rows + 1 - kind.tap_rows, p.back_columns + 1 - kind.tap_columns
    grid = scratch + p.grid + first_row * row_bytes + first_column * unit
    weights = packed + kind.first_tap * unit
    read, read_end, write, write_end = ahead
    lists = p.parts * p.channels
    read_step, write_step = (read_end - read) // lists + 1, (write_end - write) // lists + 1
    read_to, write_to = read, write
    for part in range(p.parts):
        for c in range(p.channels):
            read_to, write_to = (
                min(read_to + read_step, read_end),
                min(write_to + write_step, write_end),
            )
            while read < read_to:
                prefetch_to_read(read)
                read += LINE
            while write < write_to:
                prefetch_to_write(write)
                write += LINE
            places, values = scratch + p.lists + 2 * c * p.room, scratch + p.values + 4 * c * p.room
            count = load_u32(scratch + p.counts + 4 * c)
            dots(
                grid, places, count, unit, kind.tap_rows, run, row_bytes, weights, values, part > 0
            )
            weights += p.taps * unit
        grid += p.places * unit


# --- what is multiplied ---------------------------------------------------------------------------


@njit(**OPTIONS)
def pack_weights(first, last, weight, row_bytes, outputs, columns, offsets, chunk, packed):
    """Parts of `chunk` outputs, each `[channel][tap][output]`, from rows of all weights of an
    output; `offsets` as of `pack_rows`. A unit is a vector of outputs."""
    blocks = chunk // LANES
    for block in range(first, last):
        rows = max(0, min(LANES, outputs - block * LANES))
        source = weight + block * LANES * row_bytes
        target = packed + (block // blocks * columns * chunk + block % blocks * LANES) * 4
        pack_rows(source, row_bytes, rows, columns, offsets, target, np.float32(1))


@njit(**INNER)
def clear(at, floats):
    """Write zeros to `floats` numbers."""
    whole = floats // LANES * LANES
    for i in range(0, whole, LANES):
        store(at + 4 * i, zero())
    if whole < floats:
        store_first(at + 4 * whole, zero(), floats - whole)


@njit(**INNER)
def copy(source, to, floats):
    """Floats as they are."""
    whole = floats // LANES * LANES
    for i in range(0, whole, LANES):
        store(to + 4 * i, load(source + 4 * i))
    if whole < floats:
        store_first(to + 4 * whole, load_first(source + 4 * whole, floats - whole), floats - whole)


@njit(**INNER)
def pack_row(p, g, to, pixels):
    """Pixels `[pixel][outputs]` as `[part][place][chunk]`, 0 where there is no output."""
    if p.outputs == p.chunk:
        copy(g, to, pixels * p.outputs)
        return
    for part in range(p.parts):
        first = part * p.chunk
        whole = min(p.outputs - first, p.chunk) // LANES * LANES
        for x in range(pixels):
            source, at = g + 4 * (x * p.outputs + first), to + 4 * (part * p.places + x) * p.chunk
            for i in range(0, whole, LANES):
                store(at + 4 * i, load(source + 4 * i))
            for i in range(whole, p.chunk, LANES):
                rest = max(0, p.outputs - first - i)
                store(at + 4 * i, load_first(source + 4 * i, rest))


@njit(**INNER)
def pack_gradient(p, tile, g, grid):
    """The output's gradient that the taps of a tile meet, with zeros around it."""
    n0, n1, row0, row1, column0, column1 = tile
    # Columns of the gradient: the first, and how many; zeros before them, and all.
    start = max(0, column0 - p.back_columns)
    pixels = max(0, min(column1, p.out_width) - start)
    zeros = max(0, p.back_columns - column0)
    wide = column1 - column0 + p.back_columns
    for n in range(n0, n1):
        for row in range(row0 - p.back_rows, row1):
            line = (n - n0) * p.image_rows + row - row0 + p.back_rows
            to = grid + line * p.pitch * p.chunk * 4
            inside = 0 <= row < p.out_height
            before, filled = (zeros, zeros + pixels) if inside else (0, 0)
            for part in range(p.parts):
                at = to + part * p.places * p.chunk * 4
                clear(at, before * p.chunk)
                clear(at + filled * p.chunk * 4, (wide - filled) * p.chunk)
            if inside:
                pixel = (n * p.out_height + row) * p.out_width + start
                pack_row(p, g + pixel * p.outputs * 4, to + before * p.chunk * 4, pixels)


# --- where ----------------------------------------------------------------------------------------


def _shift_places(b, v):
    source, by, to = v
    kind = ir.VectorType(I16, 8)
    places = b.load(pointer(b, source, kind), align=2)
    b.store(b.add(places, splat_value(b, b.trunc(by, I16), 8)), pointer(b, to, kind), align=2)


# shift_places(source, by, to): eight 16-bit numbers, `by` added to each.
shift_places = operation(types.none, (types.int64,) * 3, _shift_places)


@njit(**INNER)
def within(tile, kind):
    """What of a tile a class has."""
    n0, n1, row0, row1, column0, column1 = tile
    return (
        n0,
        n1,
        max(row0, kind.first_row),
        min(row1, kind.end_row),
        max(column0, kind.first_column),
        min(column1, kind.end_column),
    )


@njit(**INNER)
def pixel_of(p, kind, n, row, column):
    """A place's pixel among all of the input."""
    y, x = row * p.down + kind.row - p.above, column * p.right + kind.column - p.before
    return (n * p.height + y) * p.width + x


@njit(**INNER)
def gather(p, tile, kind, window, channel, words):
    """For each place of a tile a word, the window's bits of the channels from `channel`; 0 where
    the class has no place."""
    clear(words, 2 * 64 * p.words)
    n0, n1, row0, row1, column0, column1 = within(tile, kind)
    for n in range(n0, n1):
        for row in range(row0, row1):
            bit = pixel_of(p, kind, n, row, column0) * p.channels + channel
            place = ((n - n0) * p.image_rows + row - tile[2]) * p.pitch + column0 - tile[4]
            for _ in range(column0, column1):
                bits = shift_right(load_u64(window + (bit >> 3)), bit & 7)
                store_u64(words + 8 * place, bits)
                place += 1
                bit += p.right * p.channels


@njit(**INNER)
def list_places(p, tile, kind, table, window, scratch):
    """For each channel the places where its window is open, and LANES more entries."""
    by_place, by_channel = scratch + p.by_place, scratch + p.by_channel
    channel_bytes = 8 * p.words
    for start in range(0, p.channels, p.word):
        gather(p, tile, kind, window, start, by_place)
        for word in range(p.words):
            transpose_bits(by_place + 512 * word, by_channel + 8 * word, channel_bytes)
        for c in range(start, min(start + p.word, p.channels)):
            places = scratch + p.lists + 2 * c * p.room
            end = places
            for word in range(p.words):
                bits = load_u64(by_channel + (c - start) * channel_bytes + 8 * word)
                if bits != 0:
                    for byte in range(8):
                        eight = shift_right(bits, 8 * byte) & 255
                        shift_places(table + 16 * eight, 64 * word + 8 * byte, end)
                        end += 2 * count_bits(eight)
            store_u32(scratch + p.counts + 4 * c, (end - places) // 2)
            for i in range(LANES):
                store_u16(end + 2 * i, 0)


# --- the result -----------------------------------------------------------------------------------


@njit(**INNER)
def spread(p, first_channel, channels, scratch):
    """The values of some channels, at most LANES, at their places; 0 at every other place."""
    clear(scratch + p.spread, LANES * p.places)
    for c in range(channels):
        to = scratch + p.spread + 4 * c * p.places
        start = (first_channel + c) * p.room
        places, values = scratch + p.lists + 2 * start, scratch + p.values + 4 * start
        for i in range(load_u32(scratch + p.counts + 4 * (first_channel + c))):
            store_float(to + 4 * load_u16(places + 2 * i), load_float(values + 4 * i))


@njit(**INNER)
def store_row(p, source, columns, channels, to, square):
    """A row of places `[channel][place]` to every `right`-th pixel of a row of the result."""
    step = 4 * p.right * p.channels
    whole = columns // LANES * LANES if channels == LANES else 0
    for column in range(0, whole, LANES):
        transpose_floats(source + 4 * column, 4 * p.places, to + column * step, step)
    for column in range(whole, columns, LANES):
        transpose_floats(source + 4 * column, 4 * p.places, square, VECTOR_BYTES)
        for i in range(min(LANES, columns - column)):
            copy(square + i * VECTOR_BYTES, to + (column + i) * step, channels)


@njit(**INNER)
def store_gradient(p, tile, kind, dx, scratch):
    """The gradient at all places of a class: what is listed, and zeros."""
    n0, n1, row0, row1, column0, column1 = within(tile, kind)
    for c in range(0, p.channels, LANES):
        channels = min(LANES, p.channels - c)
        spread(p, c, channels, scratch)
        for n in range(n0, n1):
            for row in range(row0, row1):
                place = ((n - n0) * p.image_rows + row - tile[2]) * p.pitch + column0 - tile[4]
                to = dx + 4 * (pixel_of(p, kind, n, row, column0) * p.channels + c)
                source = scratch + p.spread + 4 * place
                store_row(p, source, column1 - column0, channels, to, scratch + p.square)


@njit(**INNER)
def scatter_gradient(p, tile, kind, dx, scratch):
    """What is listed of a class, each number by itself, among zeros."""
    n0, n1, row0, row1, column0, column1 = within(tile, kind)
    offsets = scratch + p.spread
    dx += 4 * p.channels * n0 * p.height * p.width
    for n in range(n1 - n0):
        for row in range(row0, row1):
            place = (n * p.image_rows + row - tile[2]) * p.pitch + column0 - tile[4]
            offset = 4 * p.channels * pixel_of(p, kind, n, row, column0)
            for _ in range(column0, column1):
                store_u32(offsets + 4 * place, offset)
                place += 1
                offset += 4 * p.channels * p.right
    for c in range(p.channels):
        places, values = scratch + p.lists + 2 * c * p.room, scratch + p.values + 4 * c * p.room
        for i in range(load_u32(scratch + p.counts + 4 * c)):
            offset = load_u32(offsets + 4 * load_u16(places + 2 * i))
            store_float(dx + 4 * c + offset, load_float(values + 4 * i))


# --- tiles ----------------------------------------------------------------------------------------


@njit(**INNER)
def tile_of(p, number):
    """The images, rows and columns of a tile: of each the first and the one behind the last."""
    n0 = number // (p.row_tiles * p.column_tiles) * p.images
    row0 = p.first_row + number // p.column_tiles % p.row_tiles * p.rows
    column0 = p.first_column + number % p.column_tiles * p.columns
    return (
        n0,
        min(n0 + p.images, p.samples),
        row0,
        min(row0 + p.rows, p.end_row),
        column0,
        min(column0 + p.columns, p.end_column),
    )


@njit(**INNER)
def lines_of(p, tile):
    """First row of the result of a tile and the one behind the last."""
    return max(0, tile[2] * p.down - p.above), min(p.height, tile[3] * p.down - p.above)


@njit(**INNER)
def clear_tile(p, tile, dx):
    """Write zeros to all of a tile's part of the result."""
    y0, y1 = lines_of(p, tile)
    x0 = max(0, tile[4] * p.right - p.before)
    x1 = min(p.width, tile[5] * p.right - p.before)
    for n in range(tile[0], tile[1]):
        for y in range(y0, y1):
            pixel = (n * p.height + y) * p.width + x0
            clear(dx + pixel * p.channels * 4, (x1 - x0) * p.channels)


@njit(**INNER)
def ahead_of(p, tile, then, g, dx):
    """What is read by the next tile and written by this one: addresses, each with its end."""
    y0, y1 = lines_of(p, tile)
    row = 4 * p.width * p.channels
    write, write_end = (tile[0] * p.height + y0) * row, ((tile[1] - 1) * p.height + y1) * row
    row = 4 * p.out_width * p.outputs
    read = (then[0] * p.out_height + min(then[2], p.out_height)) * row
    read_end = ((then[1] - 1) * p.out_height + min(then[3], p.out_height)) * row
    return g + read, g + read_end, dx + write, dx + write_end


@njit(**OPTIONS)
def gradient(first, last, plan, classes, table, window, g, packed, dx, scratch):
    """Tiles from `first` to `last`. `table` holds for each byte the places of its bits."""
    p = plan[0]
    for number in range(first, last):
        tile = tile_of(p, number)
        pack_gradient(p, tile, g, scratch + p.grid)
        if p.unmet or p.scattered:
            clear_tile(p, tile, dx)
        ahead = ahead_of(p, tile, tile_of(p, min(number + 1, last - 1)), g, dx)
        for k in range(p.classes):
            list_places(p, tile, classes[k], table, window, scratch)
            sum_up(p, classes[k], packed, scratch, ahead)
            ahead = (g, g, dx, dx)
            if p.scattered:
                scatter_gradient(p, tile, classes[k], dx, scratch)
            else:
                store_gradient(p, tile, classes[k], dx, scratch)


_this = sys.modules[__name__]
keep(_this, sources(_this, dot_products, groups, packing, transposes, vectors))
