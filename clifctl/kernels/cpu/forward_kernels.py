"""The kernels of a connection's forward: lists for a tile of the output, then sums.

What they compute is described in `clifctl.kernels.cpu.forward`; `Plan` is what they are told.
"""

import sys
from typing import Any, NamedTuple

from numba import njit

from clifctl.kernels.cpu import lists, packing, vectors
from clifctl.kernels.cpu.lists import (
    PIXEL_LIST,
    list_values,
    patch,
    pixel_lists,
    point_list,
    window_lists,
)
from clifctl.kernels.cpu.packing import pack_rows
from clifctl.kernels.cpu.vectors import (
    LANES,
    VECTOR_BYTES,
    Wide,
    load_float,
    load_u16,
    load_u32,
    load_u64,
    prefetch_to_write,
    store,
    store_u32,
    wide,
    zero,
)
from clifctl.kernels.machine_code import keep, sources

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Entries of lists are in units of so many bytes.
ENTRY_BYTES = 8


class Plan(NamedTuple):
    """What the kernels know of a connection: its shape, and how they go through it."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel_rows: int
    kernel_columns: int
    stride_rows: int
    stride_columns: int
    padding_rows: int
    padding_columns: int
    out_height: int
    out_width: int
    # Blocks of outputs: how many, outputs of each, and bytes of a row of their weights.
    blocks: int
    block: int
    row_bytes: int
    # Chunks of the inputs: how many, channels of each (of a patch: bits), rows of weights, and
    # bytes, a row of zeros included.
    chunks: int
    chunk_channels: int
    chunk_rows: int
    chunk_bytes: int
    # Bits that are read at once, and words of a patch (0: there are none).
    word_bits: int
    patch_words: int
    # Tiles: all rows of `tile_samples`, or `tile_rows` of one; of points, so many places.
    tile_samples: int
    tile_rows: int
    places: int
    # Parts of an output row: places of each, and columns that have a list of their own; a place
    # reads `span` of them, from `step` further on than the place before.
    strip: int
    columns: int
    span: int
    step: int
    # Rows of weights from a column to the next, and what a row counts in an entry.
    pitch: int
    unit: int
    # Where things lie in scratch memory [bytes].
    counts_at: int
    patches_at: int
    starts_at: int
    block_at: int
    listed_at: int
    held_at: int
    # Addresses of tables: `lists.PLACES`, and elements of the input from a window's first one on.
    table: int
    elements: int


@njit(**OPTIONS)
def _window_tile(plan, sample, samples, first, rows, bits, values, scratch):
    """The lists of output rows `first` to first + rows of some samples, by windows."""
    lists, counts = scratch, scratch + plan.counts_at
    starts, listed = scratch + plan.starts_at, scratch + plan.listed_at
    top = max(0, first * plan.stride_rows - plan.padding_rows)
    bottom = (first + rows - 1) * plan.stride_rows - plan.padding_rows + plan.kernel_rows
    height = min(plan.height, bottom) - top
    taps = (plan.pitch, plan.chunk_channels)
    at = listed
    for start in range(0, plan.channels, plan.chunk_channels):
        count = min(plan.chunk_channels, plan.channels - start)
        for n in range(samples):
            pixel = n * height * plan.width
            pixel_lists(
                bits, ((sample + n) * plan.height + top) * plan.width, height * plan.width,
                plan.channels, start, count, plan.table,
                lists + PIXEL_LIST * pixel, counts + pixel,
            )  # fmt: skip
        for n in range(samples):
            for row in range(first, first + rows):
                y = row * plan.stride_rows - plan.padding_rows
                inside = (max(0, -y), min(plan.kernel_rows, plan.height - y))
                pixel = (n * height + y - top) * plan.width
                element = (((sample + n) * plan.height + y) * plan.width * plan.channels) + start
                for column in range(0, plan.out_width, plan.strip):
                    left = column * plan.stride_columns - plan.padding_columns
                    at = window_lists(
                        lists + PIXEL_LIST * pixel, counts + pixel, plan.width, inside, left,
                        plan.columns, taps, plan.unit, listed, at, starts, scratch + plan.held_at,
                        values + 4 * element if values != 0 else 0, 4 * plan.channels,
                    )  # fmt: skip
                    starts += 4 * (plan.columns + 1)


@njit(**OPTIONS)
def _point_tile(plan, first, places, bits, values, scratch):
    """The lists of output places `first` to first + places, by points or patches."""
    starts, listed = scratch + plan.starts_at, scratch + plan.listed_at
    size, patches = plan.kernel_rows * plan.kernel_columns * plan.channels, plan.patch_words > 0
    if patches:
        _patches(plan, first, places, bits, scratch + plan.patches_at)
    at = listed
    for start in range(0, size, plan.chunk_rows):
        count = min(plan.chunk_rows, size - start)
        for p in range(places):
            element = _first_element(plan, first + p)
            store_u32(starts + 4 * p, at - listed)
            if patches:
                source, bit = scratch + plan.patches_at, 64 * plan.patch_words * p
            else:
                source, bit = bits, element
            begin, at = (
                at,
                point_list(source, bit + start, count, plan.word_bits, plan.table, plan.unit, at),
            )
            if values != 0:
                list_values(
                    begin, at, plan.unit, plan.elements + 4 * start, values + 4 * element,
                    scratch + plan.held_at + 2 * (begin - listed),
                )  # fmt: skip
        store_u32(starts + 4 * places, at - listed)
        starts += 4 * (plan.columns + 1)


@njit(**OPTIONS)
def _first_element(plan, place):
    """The element of the input under the first tap of an output's place; it may lie outside."""
    row, column = place // plan.out_width, place % plan.out_width
    sample, row = row // plan.out_height, row % plan.out_height
    y = sample * plan.height + row * plan.stride_rows - plan.padding_rows
    x = column * plan.stride_columns - plan.padding_columns
    return (y * plan.width + x) * plan.channels


@njit(**OPTIONS)
def _patches(plan, first, places, bits, target):
    """What lies under the window of each place, a string of bits."""
    row_bits = plan.kernel_columns * plan.channels
    for p in range(places):
        row, column = (first + p) // plan.out_width, (first + p) % plan.out_width
        y = row % plan.out_height * plan.stride_rows - plan.padding_rows
        x = column * plan.stride_columns - plan.padding_columns
        inside = (max(0, -y), min(plan.kernel_rows, plan.height - y))
        left, right = max(0, -x), min(plan.kernel_columns, plan.width - x)
        if right <= left:
            inside = (0, 0)
        bit = _first_element(plan, first + p) + left * plan.channels
        patch(
            bits, bit, plan.width * plan.channels, inside, row_bits, left * plan.channels,
            (right - left) * plan.channels, plan.patch_words,
            target + 8 * plan.patch_words * p,
        )  # fmt: skip


@njit(**OPTIONS)
def pack_block(plan, block, weight, offsets, scale, target):
    """The weights of one block of outputs, times `scale`, with the zeros behind each chunk."""
    size = plan.kernel_rows * plan.kernel_columns * plan.channels
    for part in range(0, plan.block, LANES):
        row = block * plan.block + part
        rows = max(0, min(LANES, plan.outputs - row))
        pack_rows(weight + 4 * size * row, 4 * size, rows, size, offsets, target + 4 * part, scale)
    for chunk in range(1, plan.chunks + 1):
        for at in range(0, plan.row_bytes, VECTOR_BYTES):
            store(target + chunk * plan.chunk_bytes - plan.row_bytes + at, zero())


@njit(**OPTIONS)
def _tile_lists(plan, tile, bits, values, scratch):
    """Make the lists of a tile. Returns its first place, its rows, and places of a row."""
    if plan.places > 0:
        first = tile * plan.places
        all_places = plan.samples * plan.out_height * plan.out_width
        places = min(plan.places, all_places - first)
        _point_tile(plan, first, places, bits, values, scratch)
        return first, 1, places
    parts = -(-plan.out_height // plan.tile_rows)
    sample, first = tile // parts * plan.tile_samples, tile % parts * plan.tile_rows
    samples = min(plan.tile_samples, plan.samples - sample)
    rows = min(plan.tile_rows, plan.out_height - first)
    _window_tile(plan, sample, samples, first, rows, bits, values, scratch)
    first_row = sample * plan.out_height + first
    return first_row * plan.out_width, samples * rows, plan.out_width


def _row_sum(width: Wide) -> Any:
    load, add = width.load, width.add

    @njit(**OPTIONS)
    def row_sum(at, end, weights, blank, held):
        """The sum of the rows listed from `at` to `end`; entry `blank` is a row of zeros."""
        groups = max(0, (end - at - 2) >> 3)
        rest = at + 8 * groups
        left = end - rest
        chosen = -1 if left == 8 else (1 << 8 * left) - 1
        entries = load_u64(rest) & chosen | blank * 0x0001000100010001 & ~chosen
        a = load(weights + ((entries & 0xFFFF) << 3))
        b = load(weights + ((entries >> 16 & 0xFFFF) << 3))
        c = load(weights + ((entries >> 32 & 0xFFFF) << 3))
        d = load(weights + ((entries >> 48 & 0xFFFF) << 3))
        while at < rest:
            entries = load_u64(at)
            at += 8
            a = add(a, load(weights + ((entries & 0xFFFF) << 3)))
            b = add(b, load(weights + ((entries >> 16 & 0xFFFF) << 3)))
            c = add(c, load(weights + ((entries >> 32 & 0xFFFF) << 3)))
            d = add(d, load(weights + ((entries >> 48 & 0xFFFF) << 3)))
        return add(add(a, b), add(c, d))

    return row_sum


def _valued_row_sum(width: Wide) -> Any:
    nothing, load, add = width.zero, width.load, width.add
    muladd, splat = width.muladd, width.splat

    @njit(**OPTIONS)
    def valued_row_sum(at, end, weights, blank, held):
        """The sum of the rows listed from `at` to `end`, each times its value, from `held` on."""
        a = b = c = d = nothing()
        while at + 8 <= end:
            entries = load_u64(at)
            p, q = weights + ((entries & 0xFFFF) << 3), weights + ((entries >> 16 & 0xFFFF) << 3)
            a = muladd(splat(load_float(held)), load(p), a)
            b = muladd(splat(load_float(held + 4)), load(q), b)
            p, q = entries >> 32 & 0xFFFF, entries >> 48 & 0xFFFF
            c = muladd(splat(load_float(held + 8)), load(weights + (p << 3)), c)
            d = muladd(splat(load_float(held + 12)), load(weights + (q << 3)), d)
            at += 8
            held += 16
        while at < end:
            a = muladd(splat(load_float(held)), load(weights + (load_u16(at) << 3)), a)
            at += 2
            held += 4
        return add(add(a, b), add(c, d))

    return valued_row_sum


def _strip(width: Wide, row_sum: Any) -> Any:
    nothing, load, store_all, add = width.zero, width.load, width.store, width.add
    load_first, store_first = width.load_first, width.store_first

    @njit(**OPTIONS)
    def strip(plan, starts, places, listed, held, weights, bias, y, count, first):
        """The outputs of one block, `count` of them, at some places of a row, from one chunk of the
        inputs: written to y with the bias if it is the first, or added to what is there."""
        initial = load_first(bias, count) if bias != 0 else nothing()
        # Units of entries from the columns of a place to those of the next one.
        shift = plan.step * plan.pitch * plan.unit
        blank = plan.chunk_rows * plan.unit
        for _ in range(places):
            begin, end = load_u32(starts), load_u32(starts + 4 * plan.span)
            prefetch_to_write(y + 4 * plan.outputs)
            found = row_sum(listed + begin, listed + end, weights, blank, held + 2 * begin)
            if count == plan.block:
                store_all(y, add(initial if first else load(y), found))
            else:
                store_first(y, add(initial if first else load_first(y, count), found), count)
            starts += 4 * plan.step
            weights -= ENTRY_BYTES * shift
            blank += shift
            y += 4 * plan.outputs

    return strip


def _kernel(width: Wide, with_values: bool) -> Any:
    """The kernel for rows of weights of so many vectors; of inputs with values or of bits."""
    strip = _strip(width, _valued_row_sum(width) if with_values else _row_sum(width))

    @njit(**OPTIONS)
    def run(first, last, groups, numbers, bits, values, weight, offsets, scale, bias, y, scratch):
        """Units `first` to `last`: a unit is a tile and one of `groups` of the blocks."""
        plan = Plan(*numbers)
        made = -1
        listed, held = scratch + plan.listed_at, scratch + plan.held_at
        for unit in range(first, last):
            tile, group = unit // groups, unit % groups
            if tile != made:
                place, rows, places = _tile_lists(plan, tile, bits, values, scratch)
                row_starts = 4 * (plan.columns + 1) * -(-places // plan.strip)
                made = tile
            for block in range(plan.blocks * group // groups, plan.blocks * (group + 1) // groups):
                channel = block * plan.block
                pack_block(plan, block, weight, offsets, scale, scratch + plan.block_at)
                shift = bias + 4 * channel if bias != 0 else 0
                for chunk in range(plan.chunks):
                    weights = scratch + plan.block_at + chunk * plan.chunk_bytes
                    starts = scratch + plan.starts_at + chunk * rows * row_starts
                    for row in range(rows):
                        for column in range(0, places, plan.strip):
                            target = (place + row * places + column) * plan.outputs + channel
                            strip(
                                plan, starts, min(plan.strip, places - column), listed, held,
                                weights, shift, y + 4 * target,
                                min(plan.block, plan.outputs - channel), chunk == 0,
                            )  # fmt: skip
                            starts += 4 * (plan.columns + 1)

    return run


ONE, TWO = _kernel(wide(1), False), _kernel(wide(2), False)
ONE_WITH_VALUES, TWO_WITH_VALUES = _kernel(wide(1), True), _kernel(wide(2), True)

_this = sys.modules[__name__]
keep(_this, sources(_this, lists, packing, vectors))
