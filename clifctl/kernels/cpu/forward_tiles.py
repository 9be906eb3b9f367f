"""What a tile of a connection's output adds up: the first of two steps of its forward.

What they compute is described in `clifctl.kernels.cpu.forward`; `ForwardPlan` says how.
"""

import sys
from typing import Any

from numba import njit

from clifctl.kernels.cpu import forward_plan, lists, vectors
from clifctl.kernels.cpu.forward_plan import PATCHES, TABLES, WINDOWS
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
    """Sample, row and column of the next place of the output."""
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
keep(_this, sources(_this, forward_plan, lists, vectors))
