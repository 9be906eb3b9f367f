"""The native part of the input gradient: see `clifctl.kernels.cpu.input_gradient`.

Memory is read and written through addresses; sizes are in elements where nothing else is said.
"""

import sys
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types

from clifctl.kernels.cpu import groups, packing, transposes, vectors
from clifctl.kernels.cpu.groups import Group
from clifctl.kernels.cpu.packing import pack_rows
from clifctl.kernels.cpu.transposes import transpose_bits, transpose_floats
from clifctl.kernels.cpu.vectors import (
    LANES,
    I16,
    VECTOR_BYTES,
    add,
    count_bits,
    load,
    load_float,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    operation,
    pointer,
    shift_right,
    splat_value,
    store,
    store_float,
    store_u16,
    store_u32,
    store_u64,
    zero,
)
from clifctl.kernels.machine_code import keep, sources

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _store_eight(b, v):
    to, distances, base = v
    kind = ir.VectorType(I16, 8)
    x = b.load(pointer(b, distances, kind), align=2)
    b.store(b.add(x, splat_value(b, b.trunc(base, I16), 8)), pointer(b, to, kind), align=2)


# store_eight(to, distances, base): eight 16-bit numbers, base + distances
store_eight = operation(types.none, (types.int64,) * 3, _store_eight)


class Plan(NamedTuple):
    """What the shape of a connection decides; see `clifctl.kernels.cpu.input_gradient`."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    out_height: int
    out_width: int
    down: int
    right: int
    above: int
    before: int
    taps: int
    # Places of a tile: so many whole images, or a part of one; tiles in an image.
    images: int
    rows: int
    columns: int
    row_tiles: int
    column_tiles: int
    # First place and the one behind the last.
    first_row: int
    end_row: int
    first_column: int
    end_column: int
    # Places before a tile that its taps meet.
    back_rows: int
    back_columns: int
    # In the packed gradient: rows from image to image, places from row to row.
    image_rows: int
    stride: int
    # Outputs of a part, and parts.
    chunk: int
    parts: int
    # Channels of a word of window bits.
    word: int
    classes: int
    # Whether some places have no taps: the stride is larger than the kernel.
    some_untouched: int
    # Places in the packed gradient.
    places: int
    # Entries of a list of places.
    room: int
    # Bytes of a part of the packed gradient, and of a channel's bits; where in the scratch memory
    # buffers are.
    part_bytes: int
    channel_bytes: int
    grid: int
    lists: int
    counts: int
    words: int
    bits: int
    bases: int
    spread: int
    block: int


class PlaceClass(NamedTuple):
    """Places with the same taps."""

    row: int
    column: int
    # Those within the image.
    first_row: int
    end_row: int
    first_column: int
    end_column: int
    # Taps, and how many taps of other classes are packed before them.
    tap_rows: int
    tap_columns: int
    first_tap: int
    # Whether a row's last group of eight places is filled up with none.
    padded: int


def _dot_products(size, vectors):
    group = Group(size)
    zeros, listed, moved = group.zeros, group.listed, group.moved
    products, totals = group.products[vectors], group.totals

    @njit(**OPTIONS)
    def dot_products(grid, positions, unit, rows, run, row_bytes, weight):
        """`rows` runs (of bytes) of weights times those that start in `grid` at each listed
        position, `row_bytes` apart."""
        at = listed(grid, positions, unit)
        sums = zeros()
        for _ in range(rows):
            for offset in range(0, run, vectors * VECTOR_BYTES):
                sums = products(sums, weight + offset, at, offset)
            weight += run
            at = moved(at, row_bytes)
        return totals(sums)

    return dot_products


def _dots(vectors):
    many, some, few = (_dot_products(LANES // part, vectors) for part in (1, 2, 4))

    @njit(**OPTIONS)
    def dots(grid, positions, count, unit, rows, run, row_bytes, weight, values, more):
        """The dot products at all places of a list, added to `values` where there are `more`."""
        while count > 0:
            if count > LANES // 2:
                found = many(grid, positions, unit, rows, run, row_bytes, weight)
            elif count > LANES // 4:
                found = some(grid, positions, unit, rows, run, row_bytes, weight)
            else:
                found = few(grid, positions, unit, rows, run, row_bytes, weight)
            if more:
                found = add(found, load(values))
            store(values, found)
            count -= LANES
            positions += 2 * LANES
            values += VECTOR_BYTES

    return dots


# For runs of a multiple of so many vectors.
dots_1, dots_2, dots_3, dots_4 = (_dots(vectors) for vectors in (1, 2, 3, 4))


@njit(**OPTIONS)
def dots(grid, positions, count, unit, rows, run, row_bytes, weight, values, more):
    """The dot products at all places of a list, added to `values` where there are `more`."""
    if run % (4 * VECTOR_BYTES) == 0:
        dots_4(grid, positions, count, unit, rows, run, row_bytes, weight, values, more)
    elif run % (3 * VECTOR_BYTES) == 0:
        dots_3(grid, positions, count, unit, rows, run, row_bytes, weight, values, more)
    elif run % (2 * VECTOR_BYTES) == 0:
        dots_2(grid, positions, count, unit, rows, run, row_bytes, weight, values, more)
    else:
        dots_1(grid, positions, count, unit, rows, run, row_bytes, weight, values, more)


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


@njit(**OPTIONS)
def clear(at, floats):
    """Zeros."""
    whole = floats // LANES * LANES
    for i in range(0, whole, LANES):
        store(at + 4 * i, zero())
    for i in range(whole, floats):
        store_float(at + 4 * i, np.float32(0))


@njit(**OPTIONS)
def copy(source, to, floats):
    """Floats as they are."""
    whole = floats // LANES * LANES
    for i in range(0, whole, LANES):
        store(to + 4 * i, load(source + 4 * i))
    for i in range(whole, floats):
        store_float(to + 4 * i, load_float(source + 4 * i))


@njit(**OPTIONS)
def pack_row(g, to, pixels, outputs, chunk, part_bytes):
    """Pixels `[pixel][outputs]` as `[part][pixel][chunk]`, 0 where there is no output."""
    for part in range(0, outputs, chunk):
        here = min(chunk, outputs - part)
        for x in range(pixels):
            at = to + x * chunk * 4
            copy(g + (x * outputs + part) * 4, at, here)
            if here < chunk:
                clear(at + 4 * here, chunk - here)
        to += part_bytes


@njit(**OPTIONS)
def pack_gradient(plan, tile, g, grid):
    """The output's gradient that the taps of a tile meet, with zeros around it."""
    n0, n1, row0, row1, column0, column1 = tile
    unit = 4 * plan.chunk
    # Columns of the gradient: the first, and how many; zeros before them, and all.
    start = max(0, column0 - plan.back_columns)
    pixels = max(0, min(column1, plan.out_width) - start)
    zeros = max(0, plan.back_columns - column0)
    wide = column1 - column0 + plan.back_columns
    for n in range(n0, n1):
        for row in range(row0 - plan.back_rows, row1):
            line = (n - n0) * plan.image_rows + row - row0 + plan.back_rows
            to = grid + line * plan.stride * unit
            inside = 0 <= row < plan.out_height
            before, filled = (zeros, zeros + pixels) if inside else (0, 0)
            for part in range(plan.parts):
                at = to + part * plan.part_bytes
                clear(at, before * plan.chunk)
                clear(at + filled * unit, (wide - filled) * plan.chunk)
            if inside:
                pixel = (n * plan.out_height + row) * plan.out_width + start
                source = g + pixel * plan.outputs * 4
                pack_row(
                    source, to + before * unit, pixels, plan.outputs, plan.chunk, plan.part_bytes
                )


@njit(**OPTIONS)
def clear_tile(plan, tile, dx):
    """Zeros in all of a tile's part of the result."""
    n0, n1, row0, row1, column0, column1 = tile
    y0 = max(0, row0 * plan.down - plan.above)
    y1 = min(plan.height, row1 * plan.down - plan.above)
    x0 = max(0, column0 * plan.right - plan.before)
    x1 = min(plan.width, column1 * plan.right - plan.before)
    for n in range(n0, n1):
        for y in range(y0, y1):
            pixel = (n * plan.height + y) * plan.width + x0
            clear(dx + pixel * plan.channels * 4, (x1 - x0) * plan.channels)


@njit(**OPTIONS)
def within(tile, kind):
    """What of a tile a class has."""
    n0, n1, row0, row1, column0, column1 = tile
    return (
        n0, n1, max(row0, kind.first_row), min(row1, kind.end_row),
        max(column0, kind.first_column), min(column1, kind.end_column),
    )  # fmt: skip


@njit(**OPTIONS)
def list_places(plan, tile, kind, table, window, scratch):
    """For each channel the places where its window is open, LANES more entries behind them."""
    n0, n1, row0, row1, column0, column1 = within(tile, kind)
    words, bases = scratch + plan.words, scratch + plan.bases
    pixel_bits = plan.channels
    slots = 0
    wide = column1 - column0
    for word in range(0, plan.channels, plan.word):
        slots = 0
        for n in range(n0, n1):
            for row in range(row0, row1):
                y = row * plan.down + kind.row - plan.above
                x = column0 * plan.right + kind.column - plan.before
                bit = ((n * plan.height + y) * plan.width + x) * pixel_bits + word
                line = ((n - n0) * plan.image_rows + row - tile[2]) * plan.stride
                position = line + column0 - tile[4]
                for column in range(wide):
                    if slots & 7 == 0:
                        store_u16(bases + slots // 4, position + column)
                    shifted = shift_right(load_u64(window + (bit >> 3)), bit & 7)
                    store_u64(words + 8 * slots, shifted)
                    slots += 1
                    bit += plan.right * pixel_bits
                if kind.padded:
                    while slots & 7 != 0:
                        store_u64(words + 8 * slots, 0)
                        slots += 1
        while slots & 63 != 0:
            store_u64(words + 8 * slots, 0)
            slots += 1
        to = scratch + plan.bits + word * plan.channel_bytes
        for slot in range(0, slots, 64):
            transpose_bits(words + 8 * slot, to + slot // 8, plan.channel_bytes)
    for c in range(plan.channels):
        start = scratch + plan.lists + 2 * c * plan.room
        bits = scratch + plan.bits + c * plan.channel_bytes
        end = start
        for group in range(slots // 8):
            open_places = load_u8(bits + group)
            store_eight(end, table + 16 * open_places, load_u16(bases + 2 * group))
            end += 2 * count_bits(open_places)
        store_u32(scratch + plan.counts + 4 * c, (end - start) // 2)
        for i in range(LANES):
            store_u16(end + 2 * i, 0)


@njit(**OPTIONS)
def spread(plan, first_channel, channels, scratch):
    """The values of some channels, at most LANES, at their places; 0 at every other place."""
    clear(scratch + plan.spread, LANES * plan.places)
    for c in range(channels):
        to = scratch + plan.spread + 4 * c * plan.places
        start = (first_channel + c) * plan.room
        positions, values = scratch + plan.lists + 2 * start, scratch + 4 * start
        for i in range(load_u32(scratch + plan.counts + 4 * (first_channel + c))):
            store_float(to + 4 * load_u16(positions + 2 * i), load_float(values + 4 * i))


@njit(**OPTIONS)
def store_gradient(plan, tile, kind, dx, scratch):
    """The gradient at all places of a class: what is listed, and zeros."""
    n0, n1, row0, row1, column0, column1 = within(tile, kind)
    block = scratch + plan.block
    step = plan.right * plan.channels * 4
    for c in range(0, plan.channels, LANES):
        channels = min(LANES, plan.channels - c)
        spread(plan, c, channels, scratch)
        for n in range(n0, n1):
            for row in range(row0, row1):
                y = row * plan.down + kind.row - plan.above
                x = column0 * plan.right + kind.column - plan.before
                to = dx + (((n * plan.height + y) * plan.width + x) * plan.channels + c) * 4
                line = ((n - n0) * plan.image_rows + row - tile[2]) * plan.stride
                source = scratch + plan.spread + 4 * (line - tile[4])
                for column in range(column0, column1, LANES):
                    transpose_floats(source + 4 * column, 4 * plan.places, block, VECTOR_BYTES)
                    for i in range(min(LANES, column1 - column)):
                        copy(block + i * VECTOR_BYTES, to, channels)
                        to += step


@njit(**OPTIONS)
def sum_up(plan, kind, packed, scratch):
    """The gradient at the listed places."""
    unit = 4 * plan.chunk
    row_bytes = plan.stride * unit
    start = scratch + plan.grid + (plan.back_rows - kind.tap_rows + 1) * row_bytes
    start += (plan.back_columns - kind.tap_columns + 1) * unit
    run = kind.tap_columns * unit
    for part in range(plan.parts):
        for c in range(plan.channels):
            weight = packed + ((part * plan.channels + c) * plan.taps + kind.first_tap) * unit
            positions = scratch + plan.lists + 2 * c * plan.room
            count = load_u32(scratch + plan.counts + 4 * c)
            values = scratch + 4 * c * plan.room
            dots(
                start, positions, count, unit, kind.tap_rows, run, row_bytes, weight,
                values, part > 0,
            )  # fmt: skip
        start += plan.part_bytes


@njit(**OPTIONS)
def tile_of(plan, number):
    """Its images, rows and columns of places: of each the first and the one behind the last."""
    n0 = number // (plan.row_tiles * plan.column_tiles) * plan.images
    row0 = plan.first_row + number // plan.column_tiles % plan.row_tiles * plan.rows
    column0 = plan.first_column + number % plan.column_tiles * plan.columns
    return (
        n0, min(n0 + plan.images, plan.samples),
        row0, min(row0 + plan.rows, plan.end_row),
        column0, min(column0 + plan.columns, plan.end_column),
    )  # fmt: skip


@njit(**OPTIONS)
def gradient(first, last, plan, classes, tables, window, g, packed, dx, scratch):
    """Tiles from `first` to `last`.

    `classes` holds a row for each class of places, `tables` the distances of each choice of a group
    of eight places from its first.
    """
    for number in range(first, last):
        tile = tile_of(plan, number)
        pack_gradient(plan, tile, g, scratch + plan.grid)
        if plan.some_untouched:
            clear_tile(plan, tile, dx)
        for k in range(plan.classes):
            kind = PlaceClass(
                classes[k, 0], classes[k, 1], classes[k, 2], classes[k, 3], classes[k, 4],
                classes[k, 5], classes[k, 6], classes[k, 7], classes[k, 8], classes[k, 9],
            )  # fmt: skip
            list_places(plan, tile, kind, tables[k].ctypes.data, window, scratch)
            sum_up(plan, kind, packed, scratch)
            store_gradient(plan, tile, kind, dx, scratch)


_this = sys.modules[__name__]
keep(_this, sources(_this, groups, packing, transposes, vectors))
