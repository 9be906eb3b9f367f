"""The sums of an event-driven weight gradient.

A unit is a block of LANES outputs and a span of input channels: it packs the block's output
gradient tile by tile, adds up what the lists of its channels hit, and writes its part of the
weights' gradient. No two units share a sum.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from clifctl.kernels.cpu import tiles, transposes, vectors
from clifctl.kernels.cpu.tiles import corner_of, images_of
from clifctl.kernels.cpu.transposes import transpose_floats
from clifctl.kernels.cpu.vectors import (
    F32,
    I16,
    I64,
    LANES,
    VECTOR_BYTES,
    add,
    load,
    load_float,
    load_u32,
    mul,
    operation,
    pointer,
    splat,
    splat_value,
    store,
    store_float,
    zero,
)  # fmt: skip
from clifctl.kernels.machine_code import keep

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Rows and columns of taps whose sums are held in registers at once: the groups that a class's taps
# are cut into.
GROUPS = [(rows, columns) for rows in (1, 2, 3) for columns in (1, 2, 3)]
# Sums at least that have to be under way for none to wait for the one before.
_UNDER_WAY = 8

_int, _none = types.int64, types.none
_FLOATS = vectors.llvm_vector("f32", LANES)


def _add_one(
    b: Any, bases: Sequence[Any], entry: Any, values: Any, totals: list[list[Any]]
) -> None:
    """Add what one entry hits: `totals` of rows and columns of taps."""
    offset = b.mul(b.zext(b.load(pointer(b, entry, I16), align=2), I64), I64(8))
    value = None
    if values is not None:
        address = b.add(b.mul(entry, I64(2)), values)
        value = splat_value(b, b.load(pointer(b, address, F32), align=4), LANES)
    for base, row in zip(bases, totals, strict=True):
        for column, total in enumerate(row):
            hit = b.add(b.add(base, offset), I64(-VECTOR_BYTES * column))
            x, so_far = b.load(pointer(b, hit, _FLOATS), align=4), b.load(total)
            more = b.fadd(so_far, x) if value is None else vectors._muladd(b, (value, x, so_far))
            b.store(more, total)


def _add_group(b: Any, rows: int, columns: int, v: Sequence[Any]) -> None:
    """Add what a list hits through `rows` x `columns` taps; `v` are the arguments of `add_hits`,
    the last None where there are no values."""
    at, pitch, entry, end, sums, row_step, column_step, fresh, values = v
    together = max(1, _UNDER_WAY // (rows * columns))
    nothing = ir.Constant(_FLOATS, [0.0] * LANES)
    is_fresh = b.icmp_signed("!=", fresh, I64(0))
    bases = [b.sub(at, b.mul(pitch, I64(i))) for i in range(rows)]
    held = [
        [
            b.add(sums, b.add(b.mul(row_step, I64(i)), b.mul(column_step, I64(j))))
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    held = [[pointer(b, address, _FLOATS) for address in row] for row in held]
    # Some entries at once, each with totals of its own: the first go on from what is held.
    totals = [
        [[cgutils.alloca_once_value(b, nothing) for _ in row] for row in held]
        for _ in range(together)
    ]
    for row, addresses in zip(totals[0], held, strict=True):
        for total, address in zip(row, addresses, strict=True):
            b.store(b.select(is_fresh, nothing, b.load(address, align=4)), total)
    if together > 1:
        step = I64(2 * together)
        whole = b.mul(b.sdiv(b.sub(end, entry), step), step)
        rest = b.add(entry, whole)
        with cgutils.for_range_slice(b, entry, rest, step) as (place, _):
            for i in range(together):
                _add_one(b, bases, b.add(place, I64(2 * i)), values, totals[i])
        entry = rest
    with cgutils.for_range_slice(b, entry, end, I64(2)) as (place, _):
        _add_one(b, bases, place, values, totals[0])
    for i, row in enumerate(held):
        for j, address in enumerate(row):
            parts = [b.load(total[i][j]) for total in totals]
            while len(parts) > 1:
                half = len(parts) // 2
                parts = [b.fadd(parts[k], parts[k + half]) for k in range(half)]
            b.store(parts[0], address, align=4)


def _add_hits(valued: bool) -> Any:
    """Add to a vector for each tap of a group the vectors that a list hits through it:

    group         which of GROUPS
    at            address of what place 0 hits through the first tap; through the next of its row it
                  hits the vector before, through the next row what lies `pitch` bytes before
    entry, end    the list
    sums          the first tap's sum; the others `row_step` and `column_step` bytes further
    fresh         not 0: nothing has been added to the sums, whatever they hold
    values        what to add to twice an entry's address for that of its value, by which what it
                  hits is multiplied
    """

    def build(b: Any, v: Sequence[Any]) -> None:
        done = b.append_basic_block("added")
        choice = b.switch(v[0], done)
        for group, (rows, columns) in enumerate(GROUPS):
            block = b.append_basic_block(f"add_{rows}_{columns}")
            choice.add_case(I64(group), block)
            b.position_at_end(block)
            _add_group(b, rows, columns, v[1:] if valued else (*v[1:-1], None))
            b.branch(done)
        b.position_at_end(done)

    return operation(_none, (_int,) * 10, build)


def _sum_blocks(valued: bool) -> Any:
    add_hits = _add_hits(valued)

    @njit(**OPTIONS)
    def sum_blocks(
        first, last, plan, groups, channels_last, span, g, lists, starts, listed, scale, scratch,
        gradient, bias_gradient,
    ):  # fmt: skip
        """The gradients of weights and biases, of the units from `first` to `last`: a unit is block
        unit % p.blocks of outputs, and `span` channels. `scratch` has room for a grid, and for the
        sums of a span."""
        p = plan[0]
        outputs_sum = scratch + VECTOR_BYTES * p.grid
        sums = outputs_sum + VECTOR_BYTES
        pitch, values = VECTOR_BYTES * p.pitch, listed - 2 * lists
        for unit in range(first, last):
            block, c0 = unit % p.blocks, unit // p.blocks * span
            channels = min(span, p.channels - c0)
            tap_step = VECTOR_BYTES * (channels if channels_last else 1)
            channel_step = VECTOR_BYTES * (1 if channels_last else p.taps)
            row_step, column_step = p.tap_row * tap_step, p.tap_column * tap_step
            store(outputs_sum, zero())
            for tile in range(p.tiles):
                _pack(p, tile, block, g, scratch)
                if c0 == 0:
                    _sum_outputs(p, tile, block, g, outputs_sum)
                begin = lists + 2 * p.room * tile
                start_of_span = starts + 4 * ((p.lists + 1) * tile + c0)
                for c in range(channels):
                    to = sums + channel_step * c
                    for k in range(len(groups)):
                        start = start_of_span + 4 * (groups[k, 1] * p.channels + c)
                        add_hits(
                            groups[k, 0], scratch + groups[k, 2], pitch, begin + load_u32(start),
                            begin + load_u32(start + 4), to + groups[k, 3] * tap_step, row_step,
                            column_step, 1 if tile == 0 else 0, values,
                        )  # fmt: skip
            if scale != 1.0:
                _multiply(sums, channels * p.taps, scale)
            if channels_last:
                for tap in range(p.taps):
                    column = tap * p.channels + c0
                    _write(p, block, sums + tap * tap_step, channels, column, scratch, gradient)
            else:
                _write(p, block, sums, channels * p.taps, c0 * p.taps, scratch, gradient)
            if c0 == 0:
                for lane in range(min(LANES, p.outputs - LANES * block)):
                    at = bias_gradient + 4 * (LANES * block + lane)
                    store_float(at, load_float(outputs_sum + 4 * lane))

    return sum_blocks


sum_blocks_of_spikes, sum_blocks_of_values = _sum_blocks(False), _sum_blocks(True)


@njit(**OPTIONS)
def _pack(p, tile, block, g, grid):
    """A block's output gradient in a tile, with zeros around it."""
    if p.bordered:
        for i in range(p.places):
            store(grid + VECTOR_BYTES * i, zero())
    first, last = images_of(p, tile)
    y0, x0 = corner_of(p, tile)
    first_column, end_column = max(0, x0 - p.left), min(p.out_width, x0 + p.columns + p.right)
    pixel = 4 * p.outputs
    # Behind the last number of all, a vector may not be read.
    end = g + pixel * p.samples * p.out_height * p.out_width - VECTOR_BYTES
    for n in range(first, last):
        for y in range(max(0, y0 - p.above), min(p.out_height, y0 + p.rows + p.below)):
            row = (n * p.out_height + y) * p.out_width
            at = g + pixel * (row + first_column) + VECTOR_BYTES * block
            place = p.origin + (n - first) * p.image_pitch + (y - y0) * p.pitch + first_column - x0
            to = grid + VECTOR_BYTES * place
            for _ in range(end_column - first_column):
                if at <= end:
                    store(to, load(at))
                else:
                    for i in range(0, end + VECTOR_BYTES - at, 4):
                        store_float(to + i, load_float(at + i))
                at += pixel
                to += VECTOR_BYTES


@njit(**OPTIONS)
def _sum_outputs(p, tile, block, g, sums):
    """Add a block's output gradient at the rows of output that are counted as a tile's."""
    first, last = images_of(p, tile)
    y0, x0 = corner_of(p, tile)
    first_row, end_row = min(y0, p.out_height), min(y0 + p.rows, p.out_height)
    if y0 + p.rows >= p.rows * p.down:
        end_row = p.out_height
    if x0 > 0:
        end_row = first_row
    pixel = 4 * p.outputs
    # Behind the last number of all, a vector may not be read.
    end = g + pixel * p.samples * p.out_height * p.out_width - VECTOR_BYTES
    # A tile of several images has all of their rows.
    at = g + pixel * (first * p.out_height + first_row) * p.out_width + VECTOR_BYTES * block
    rows = (last - 1 - first) * p.out_height + end_row - first_row
    behind = at + pixel * rows * p.out_width
    last_four = min(behind - 4 * pixel, end - 3 * pixel)
    a, b, c, d = load(sums), zero(), zero(), zero()
    while at <= last_four:
        a, b = add(a, load(at)), add(b, load(at + pixel))
        c, d = add(c, load(at + 2 * pixel)), add(d, load(at + 3 * pixel))
        at += 4 * pixel
    while at < behind and at <= end:
        a = add(a, load(at))
        at += pixel
    store(sums, add(add(a, c), add(b, d)))
    while at < behind:
        for i in range(0, end + VECTOR_BYTES - at, 4):
            store_float(sums + i, load_float(sums + i) + load_float(at + i))
        at += pixel


@njit(**OPTIONS)
def _multiply(sums, count, scale):
    for i in range(0, VECTOR_BYTES * count, VECTOR_BYTES):
        store(sums + i, mul(load(sums + i), splat(scale)))


@njit(**OPTIONS)
def _write(p, block, sums, count, column, scratch, gradient):
    """`count` vectors as columns of the gradient, a row an output, from `column` on."""
    row = 4 * p.channels * p.taps
    to = gradient + row * LANES * block + 4 * column
    lanes = min(LANES, p.outputs - LANES * block)
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        if lanes == LANES:
            transpose_floats(sums + VECTOR_BYTES * i, VECTOR_BYTES, to + 4 * i, row)
        else:
            transpose_floats(sums + VECTOR_BYTES * i, VECTOR_BYTES, scratch, VECTOR_BYTES)
            for lane in range(lanes):
                store(to + lane * row + 4 * i, load(scratch + VECTOR_BYTES * lane))
    for i in range(whole, count):
        for lane in range(lanes):
            store_float(to + lane * row + 4 * i, load_float(sums + VECTOR_BYTES * i + 4 * lane))


keep(
    sys.modules[__name__],
    "".join(
        Path(source).read_text(encoding="utf-8")
        for source in (__file__, *(str(m.__file__) for m in (vectors, transposes, tiles)))
    ),
)
