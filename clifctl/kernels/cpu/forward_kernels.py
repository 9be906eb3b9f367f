"""The weights of a connection in the blocks that its forward reads, and its sums.

What they compute is described in `clifctl.kernels.cpu.forward`; `ForwardPlan` says how.
"""

import sys
from typing import Any

from numba import njit

from clifctl.kernels.cpu import forward_plan, forward_tiles, lists, packing, vectors
from clifctl.kernels.cpu.forward_plan import (
    ENTRY_BYTES,
    PATTERNS,
    STEP_BITS,
    TABLE_BITS,
    TABLES,
    ForwardPlan,
)
from clifctl.kernels.cpu.forward_tiles import prepare_tile
from clifctl.kernels.cpu.lists import (
    SUM_BEGIN,
    SUM_BYTES,
    SUM_GROUPS,
    SUM_LAST,
    SUM_LEFT,
    SUM_PLACE,
    SUM_SHIFT,
)
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.packing import pack_rows
from clifctl.kernels.cpu.vectors import (
    LANES,
    VECTOR_BYTES,
    Wide,
    load_float,
    load_u16,
    load_u32,
    load_u64,
    lowest,
    prefetch_to_write,
    store,
    wide,
    zero,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# So many places ahead the lines of the output are fetched that will be written.
AHEAD = 2

# --- weights ------------------------------------------------------------------------------------


@njit(**OPTIONS)
def _pack_block(plan, block, weight, offsets, scale, target):
    """The weights of one block of outputs, times `scale`, with the zeros behind each chunk."""
    size = plan.kernel_rows * plan.kernel_columns * plan.channels
    for part in range(0, plan.block, LANES):
        row = block * plan.block + part
        rows = max(0, min(LANES, plan.outputs - row))
        pack_rows(weight + 4 * size * row, 4 * size, rows, size, offsets, target + 4 * part, scale)
    for chunk in range(1, plan.chunks + 1):
        for at in range(0, plan.row_bytes, VECTOR_BYTES):
            store(target + chunk * plan.chunk_bytes - plan.row_bytes + at, zero())


def _pack_tables(times: int) -> Any:
    width, row_bytes = wide(times), times * VECTOR_BYTES
    nothing, load, store_all, add = width.zero, width.load, width.store, width.add

    @njit(**OPTIONS)
    def pack_tables(plan, block, weight, offsets, scale, rows, target):
        """The tables of one block: of TABLE_BITS rows after another the sums by all patterns."""
        _pack_block(plan, block, weight, offsets, scale, rows)
        size = plan.kernel_rows * plan.kernel_columns * plan.channels
        for first in range(0, -(-size // STEP_BITS) * STEP_BITS, TABLE_BITS):
            store_all(target, nothing())
            for pattern in range(1, PATTERNS):
                row = first + lowest(pattern)
                rest = load(target + (pattern & (pattern - 1)) * row_bytes)
                if row < size:
                    rest = add(rest, load(rows + row * row_bytes))
                store_all(target + pattern * row_bytes, rest)
            target += PATTERNS * row_bytes

    return pack_tables


# --- sums ---------------------------------------------------------------------------------------


def _row_sum(width: Wide) -> Any:
    load, add = width.load, width.add

    @njit(**OPTIONS)
    def row_sum(sum_, listed, held, weights):
        """The sum of the rows of weights that a place adds up."""
        entries = load_u64(sum_ + SUM_LAST)
        a = load(weights + ((entries & 0xFFFF) << 3))
        b = load(weights + ((entries >> 16 & 0xFFFF) << 3))
        c = load(weights + ((entries >> 32 & 0xFFFF) << 3))
        d = load(weights + ((entries >> 48 & 0xFFFF) << 3))
        at = listed + load_u32(sum_ + SUM_BEGIN)
        for _ in range(load_u16(sum_ + SUM_GROUPS)):
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
    def valued_row_sum(sum_, listed, held, weights):
        """The sum of the rows of weights that a place adds up, each times its value."""
        a = b = c = d = nothing()
        begin = load_u32(sum_ + SUM_BEGIN)
        at, held = listed + begin, held + 2 * begin
        for _ in range(load_u16(sum_ + SUM_GROUPS)):
            entries = load_u64(at)
            p, q = weights + ((entries & 0xFFFF) << 3), weights + ((entries >> 16 & 0xFFFF) << 3)
            a = muladd(splat(load_float(held)), load(p), a)
            b = muladd(splat(load_float(held + 4)), load(q), b)
            p, q = entries >> 32 & 0xFFFF, entries >> 48 & 0xFFFF
            c = muladd(splat(load_float(held + 8)), load(weights + (p << 3)), c)
            d = muladd(splat(load_float(held + 12)), load(weights + (q << 3)), d)
            at += 8
            held += 16
        for _ in range(load_u16(sum_ + SUM_LEFT)):
            a = muladd(splat(load_float(held)), load(weights + (load_u16(at) << 3)), a)
            at += 2
            held += 4
        return add(add(a, b), add(c, d))

    return valued_row_sum


def _sum_block(times: int, row_sum: Any) -> Any:
    width, row_bytes = wide(times), times * VECTOR_BYTES
    nothing, load, store_all, add = width.zero, width.load, width.store, width.add
    load_first, store_first = width.load_first, width.store_first

    @njit(**OPTIONS)
    def sum_block(plan, scratch, weights, places, bias, y, count):
        """The outputs of one block, `count` of them, at all places of a tile, by lists: chunk by
        chunk, with the bias in the first."""
        listed, held = scratch + plan.listed_at, scratch + plan.held_at
        initial = load_first(bias, count) if bias != 0 else nothing()
        size, pixel_bytes = places * SUM_BYTES, 4 * plan.outputs
        for chunk in range(plan.chunks):
            sums = scratch + plan.sums_at + chunk * size
            for sum_ in range(sums, sums + size, SUM_BYTES):
                target = y + pixel_bytes * load_u32(sum_ + SUM_PLACE)
                for line in range(0, row_bytes, 64):
                    prefetch_to_write(target + AHEAD * pixel_bytes + line)
                first_row = weights - ENTRY_BYTES * load_u32(sum_ + SUM_SHIFT)
                found = row_sum(sum_, listed, held, first_row)
                if count == plan.block:
                    store_all(target, add(initial if chunk == 0 else load(target), found))
                else:
                    before = initial if chunk == 0 else load_first(target, count)
                    store_first(target, add(before, found), count)
            weights += plan.chunk_bytes

    return sum_block


def _look_up_block(times: int) -> Any:
    width, row_bytes = wide(times), times * VECTOR_BYTES
    table_bytes = PATTERNS * row_bytes
    nothing, load, store_all, add = width.zero, width.load, width.store, width.add
    load_first, store_first = width.load_first, width.store_first

    @njit(**OPTIONS)
    def look_up_block(plan, scratch, tables, places, bias, y, count):
        """`sum_block` by tables: for each TABLE_BITS of a place's patch one row."""
        source = scratch + plan.patches_at
        initial = load_first(bias, count) if bias != 0 else nothing()
        size = plan.kernel_rows * plan.kernel_columns * plan.channels
        steps = -(-size // STEP_BITS)
        for _ in range(places):
            a, table = initial, tables
            b = c = d = nothing()
            for step in range(steps):
                bits = load_u16(source + 2 * step)
                a = add(a, load(table + (bits & 15) * row_bytes))
                table += table_bytes
                b = add(b, load(table + (bits >> 4 & 15) * row_bytes))
                table += table_bytes
                c = add(c, load(table + (bits >> 8 & 15) * row_bytes))
                table += table_bytes
                d = add(d, load(table + (bits >> 12) * row_bytes))
                table += table_bytes
            found = add(add(a, b), add(c, d))
            if count == plan.block:
                store_all(y, found)
            else:
                store_first(y, found, count)
            y += 4 * plan.outputs
            source += 8 * plan.patch_words

    return look_up_block


# Of rows of one vector, and of two.
_tables_1, _tables_2 = _pack_tables(1), _pack_tables(2)
_look_up_1, _look_up_2 = _look_up_block(1), _look_up_block(2)
_sum_1, _sum_2 = (_sum_block(times, _row_sum(wide(times))) for times in (1, 2))
_valued_1, _valued_2 = (_sum_block(times, _valued_row_sum(wide(times))) for times in (1, 2))


@njit(**OPTIONS)
def _pack(plan, block, weight, offsets, scale, rows, target):
    """What a block of outputs needs of the weights; `rows` is room for those of tables."""
    if plan.way != TABLES:
        _pack_block(plan, block, weight, offsets, scale, target)
    elif plan.block == LANES:
        _tables_1(plan, block, weight, offsets, scale, rows, target)
    else:
        _tables_2(plan, block, weight, offsets, scale, rows, target)


@njit(**OPTIONS)
def _run_block(plan, with_values, scratch, weights, places, bias, y, count):
    """The outputs of a block at the places of a tile."""
    narrow = plan.block == LANES
    if plan.way == TABLES:
        if narrow:
            _look_up_1(plan, scratch, weights, places, bias, y, count)
        else:
            _look_up_2(plan, scratch, weights, places, bias, y, count)
    elif with_values:
        if narrow:
            _valued_1(plan, scratch, weights, places, bias, y, count)
        else:
            _valued_2(plan, scratch, weights, places, bias, y, count)
    elif narrow:
        _sum_1(plan, scratch, weights, places, bias, y, count)
    else:
        _sum_2(plan, scratch, weights, places, bias, y, count)


@njit(**OPTIONS)
def run(first, last, groups, numbers, bits, values, weight, offsets, scale, bias, y, scratch):
    """Units `first` to `last`: a unit is a tile and one of `groups` of the blocks. Weights are
    packed once where there are several tiles, else block by block, for they are large."""
    plan = ForwardPlan(*numbers)
    tile, rows = -1, scratch + plan.rows_at
    several = (last - 1) // groups > first // groups
    if several:
        for block in range(plan.blocks):
            packed = scratch + plan.weights_at + block * plan.block_bytes
            _pack(plan, block, weight, offsets, scale, rows, packed)
    for unit in range(first, last):
        group = unit % groups
        if unit // groups != tile:
            tile = unit // groups
            place, places = prepare_tile(plan, tile, bits, values, scratch)
        for block in range(plan.blocks * group // groups, plan.blocks * (group + 1) // groups):
            packed = scratch + plan.weights_at
            if several:
                packed += block * plan.block_bytes
            else:
                _pack(plan, block, weight, offsets, scale, rows, packed)
            channel = block * plan.block
            _run_block(
                plan,
                values != 0,
                scratch,
                packed,
                places,
                bias + 4 * channel if bias != 0 else 0,
                y + 4 * (place * plan.outputs + channel),
                min(plan.block, plan.outputs - channel),
            )


_this = sys.modules[__name__]
keep(_this, sources(_this, forward_plan, forward_tiles, lists, packing, vectors))
