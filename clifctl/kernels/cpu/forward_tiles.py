"""What a tile of a connection's output adds up: the first of two steps of its forward.

What they compute is described in `clifctl.kernels.cpu.forward`; `Plan` is what they are told.
"""

import sys
from typing import Any, NamedTuple

from numba import njit

from clifctl.kernels.cpu import lists, vectors
from clifctl.kernels.cpu.lists import (
    PIXEL_LIST,
    SUM_BYTES,
    list_values,
    patch,
    pixel_lists,
    point_list,
    window_lists,
    write_sum,
)
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.vectors import load_u32

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Ways to go through a connection, described in `clifctl.kernels.cpu.forward`.
WINDOWS, POINTS, PATCHES, TABLES = range(4)


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
    way: int
    # Blocks of outputs: how many, outputs of each, bytes of a row of their weights and of all.
    blocks: int
    block: int
    row_bytes: int
    block_bytes: int
    # Chunks of the inputs: how many, channels of each (windows), rows of weights, bytes with a row
    # of zeros at the end.
    chunks: int
    chunk_channels: int
    chunk_rows: int
    chunk_bytes: int
    # Bits that are read at once, and words of a patch.
    word_bits: int
    patch_words: int
    # Tiles: all rows of `tile_samples` or `tile_rows` of one (windows), or so many places.
    tile_samples: int
    tile_rows: int
    places: int
    # Parts of an output row: places of each, and columns of the input that they read (windows).
    strip: int
    columns: int
    # Entries are numbered from the first column of a strip: so many rows of weights for each
    # further one; and what a row counts in an entry.
    pitch: int
    unit: int
    # Where things lie in scratch memory [bytes]; pixels' lists at 0.
    counts_at: int
    patches_at: int
    starts_at: int
    sums_at: int
    rows_at: int
    weights_at: int
    listed_at: int
    held_at: int
    # Addresses of tables: `lists.PLACES`; of each row of weights (points, patches) its element of
    # the input, from the first one of a window on.
    table: int
    elements: int


# --- lists --------------------------------------------------------------------------------------


@njit(**OPTIONS)
def _window_tile(plan, sample, samples, first, rows, bits, values, scratch):
    """The sums of output rows `first` to first + rows of some samples, by windows."""
    lists, counts = scratch, scratch + plan.counts_at
    starts, sums = scratch + plan.starts_at, scratch + plan.sums_at
    listed = scratch + plan.listed_at
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
                bits,
                ((sample + n) * plan.height + top) * plan.width,
                height * plan.width,
                plan.channels,
                start,
                count,
                plan.table,
                lists + PIXEL_LIST * pixel,
                counts + pixel,
            )
        for n in range(samples):
            for row in range(first, first + rows):
                y = row * plan.stride_rows - plan.padding_rows
                inside = (max(0, -y), min(plan.kernel_rows, plan.height - y))
                pixel = (n * height + y - top) * plan.width
                element = ((sample + n) * plan.height + y) * plan.width * plan.channels + start
                for column in range(0, plan.out_width, plan.strip):
                    left = column * plan.stride_columns - plan.padding_columns
                    at = window_lists(
                        lists + PIXEL_LIST * pixel,
                        counts + pixel,
                        plan.width,
                        inside,
                        left,
                        plan.columns,
                        taps,
                        plan.unit,
                        listed,
                        at,
                        starts,
                        scratch + plan.held_at,
                        values + 4 * element if values != 0 else 0,
                        4 * plan.channels,
                    )
                    place = (n * rows + row - first) * plan.out_width + column
                    sums = _window_sums(plan, column, place, listed, starts, sums)


@njit(**OPTIONS)
def _window_sums(plan, column, place, listed, starts, sums):
    """The sums of a strip, from where the lists of its columns start. Returns their end."""
    shift, blank = 0, plan.chunk_rows * plan.unit
    step = plan.stride_columns * plan.pitch * plan.unit
    for _ in range(min(plan.strip, plan.out_width - column)):
        begin, end = load_u32(starts), load_u32(starts + 4 * plan.kernel_columns)
        write_sum(sums, listed, begin, end, place, shift, blank + shift)
        place += 1
        shift += step
        starts += 4 * plan.stride_columns
        sums += SUM_BYTES
    return sums


@njit(**OPTIONS)
def _point_tile(plan, first, places, bits, values, scratch):
    """The sums of output places `first` to first + places, by points or patches."""
    sums, listed = scratch + plan.sums_at, scratch + plan.listed_at
    size = plan.kernel_rows * plan.kernel_columns * plan.channels
    blank = plan.chunk_rows * plan.unit
    if plan.way == PATCHES:
        _patches(plan, first, places, bits, scratch + plan.patches_at)
    at = listed
    for start in range(0, size, plan.chunk_rows):
        count = min(plan.chunk_rows, size - start)
        sample, row, column = _position(plan, first)
        for place in range(places):
            element = _element(plan, sample, row, column)
            if plan.way == PATCHES:
                source, bit = scratch + plan.patches_at, 64 * plan.patch_words * place
            else:
                source, bit = bits, element
            begin = at
            at = point_list(source, bit + start, count, plan.word_bits, plan.table, plan.unit, at)
            if values != 0:
                list_values(
                    begin,
                    at,
                    plan.unit,
                    plan.elements + 4 * start,
                    values + 4 * element,
                    scratch + plan.held_at + 2 * (begin - listed),
                )
            write_sum(sums, listed, begin - listed, at - listed, place, 0, blank)
            sums += SUM_BYTES
            sample, row, column = _next_position(plan, sample, row, column)


@njit(**OPTIONS)
def _position(plan, place):
    """Sample, row and column of a place of the output."""
    row, column = place // plan.out_width, place % plan.out_width
    return row // plan.out_height, row % plan.out_height, column


@njit(**OPTIONS)
def _next_position(plan, sample, row, column):
    """Those of the next place."""
    column += 1
    if column == plan.out_width:
        column = 0
        row += 1
        if row == plan.out_height:
            row = 0
            sample += 1
    return sample, row, column


@njit(**OPTIONS)
def _element(plan, sample, row, column):
    """The element of the input under the first tap of an output's place; it may lie outside."""
    y = sample * plan.height + row * plan.stride_rows - plan.padding_rows
    x = column * plan.stride_columns - plan.padding_columns
    return (y * plan.width + x) * plan.channels


@njit(**OPTIONS)
def _patches(plan, first, places, bits, target):
    """What lies under the window of each place, a string of bits."""
    row_bits, row_taps = plan.width * plan.channels, plan.kernel_columns * plan.channels
    sample, row, column = _position(plan, first)
    while places > 0:
        some = min(places, plan.out_width - column)
        y = row * plan.stride_rows - plan.padding_rows
        rows = (max(0, -y), min(plan.kernel_rows, plan.height - y))
        bit = _element(plan, sample, row, 0)
        for x in range(
            column * plan.stride_columns - plan.padding_columns,
            (column + some) * plan.stride_columns - plan.padding_columns,
            plan.stride_columns,
        ):
            left, right = max(0, -x), min(plan.kernel_columns, plan.width - x)
            inside = rows if left < right else (0, 0)
            patch(
                bits,
                bit + (x + plan.padding_columns + left) * plan.channels,
                row_bits,
                inside,
                row_taps,
                left * plan.channels,
                max(1, right - left) * plan.channels,
                plan.patch_words,
                target,
            )
            target += 8 * plan.patch_words
        places -= some
        sample, row, column = _next_position(plan, sample, row, plan.out_width - 1)


@njit(**OPTIONS)
def prepare_tile(plan, tile, bits, values, scratch):
    """Make the sums (tables: the patches) of a tile. Returns its first place, and how many."""
    if plan.way != WINDOWS:
        first = tile * plan.places
        all_places = plan.samples * plan.out_height * plan.out_width
        places = min(plan.places, all_places - first)
        if plan.way == TABLES:
            _patches(plan, first, places, bits, scratch + plan.patches_at)
        else:
            _point_tile(plan, first, places, bits, values, scratch)
        return first, places
    parts = -(-plan.out_height // plan.tile_rows)
    sample, first = tile // parts * plan.tile_samples, tile % parts * plan.tile_rows
    samples = min(plan.tile_samples, plan.samples - sample)
    rows = min(plan.tile_rows, plan.out_height - first)
    _window_tile(plan, sample, samples, first, rows, bits, values, scratch)
    first_row = sample * plan.out_height + first
    return first_row * plan.out_width, samples * rows * plan.out_width


_this = sys.modules[__name__]
keep(_this, sources(_this, lists, vectors))
