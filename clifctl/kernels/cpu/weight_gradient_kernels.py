"""The sums of an event-driven weight gradient.

A unit is a band of outputs (some blocks of LANES) and a span of input channels: tile by tile it
packs the outputs' gradient, and adds up, a block at a time, what the lists of its channels hit; at
the end it writes its part of the weights' gradient. No two units share a sum.
"""

import sys
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from clifctl.kernels.cpu import transposes, vectors, weight_gradient_plan
from clifctl.kernels.cpu.machine_code import keep, sources
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
)
from clifctl.kernels.cpu.weight_gradient_plan import corner_of, images_of

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Blocks of LANES outputs that are packed together, 256 bytes of each pixel: fewer at once are read
# from memory at a third of the speed.
BAND = 64 // LANES
# Rows and columns of taps whose sums are held in registers at once: the groups that a class's taps
# are cut into. The last are no taps but the blocks of a band, each block's grid a row.
GROUPS = [*((rows, columns) for rows in (1, 2, 3) for columns in (1, 2, 3)), (BAND, 1)]
_WHOLE_BAND = len(GROUPS) - 1
# Sums at least that have to be under way for none to wait for the one before.
_UNDER_WAY = 8

_int, _none = types.int64, types.none
_FLOATS = vectors.llvm_vector("f32", LANES)


def entries_together(taps: int) -> int:
    """Entries of a list that are added at once, each to sums of its own: a power of two, of which
    the list's length is best a multiple."""
    return 1 << max(1, _UNDER_WAY // taps).bit_length() - 1


def _place(b: Any, first: Any, number: int, together: int) -> Any:
    """The place of an entry of some: read several at a time."""
    at_once = min(together, 4)
    kind = ir.IntType(16 * at_once)
    word = b.load(pointer(b, b.add(first, I64(2 * (number - number % at_once))), kind), align=2)
    place = b.lshr(word, kind(16 * (number % at_once)))
    return b.and_(b.zext(place, I64) if kind != I64 else place, I64(0xFFFF))


def _add_one(
    b: Any, bases: Sequence[Any], place: Any, entry: Any, values: Any, totals: list[list[Any]]
) -> None:
    """Add what a place hits, that of an entry: `totals` of rows and columns of taps."""
    offset = b.mul(place, I64(8))
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
    together = entries_together(rows * columns)
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
        with cgutils.for_range_slice(b, entry, rest, step) as (first, _):
            for i in range(together):
                place = _place(b, first, i, together)
                _add_one(b, bases, place, b.add(first, I64(2 * i)), values, totals[i])
        entry = rest
    with cgutils.for_range_slice(b, entry, end, I64(2)) as (last, _):
        place = b.zext(b.load(pointer(b, last, I16), align=2), I64)
        _add_one(b, bases, place, last, values, totals[0])
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


def _sum_tile(valued: bool) -> Any:
    add_hits = _add_hits(valued)

    @njit(**OPTIONS)
    def sum_tile(p, tile, groups, blocks, c0, channels, grids, lists, starts, listed, sums):
        """Add to `sums`, of each block and of `channels` channels from `c0` on, what a tile gives;
        `grids` are the blocks' packed output gradients."""
        grid_bytes, sums_bytes = VECTOR_BYTES * p.grid, VECTOR_BYTES * channels * p.taps
        tap_step, channel_step = _steps(p, channels)
        row_step, column_step = p.tap_row * tap_step, p.tap_column * tap_step
        pitch, fresh = VECTOR_BYTES * p.pitch, 1 if tile == 0 else 0
        begin, values = lists + 2 * p.room * tile, listed - 2 * lists
        first_start = starts + 4 * ((p.lists + 1) * tile + c0)
        if p.joint and blocks == BAND:
            for c in range(channels):
                start = first_start + 4 * c
                add_hits(
                    _WHOLE_BAND,
                    grids + groups[0, 2],
                    -grid_bytes,
                    begin + load_u32(start),
                    begin + load_u32(start + 4),
                    sums + channel_step * c,
                    sums_bytes,
                    0,
                    fresh,
                    values,
                )
            return
        for block in range(blocks):
            for c in range(channels):
                for k in range(len(groups)):
                    start = first_start + 4 * (groups[k, 1] * p.channels + c)
                    add_hits(
                        groups[k, 0],
                        grids + grid_bytes * block + groups[k, 2],
                        pitch,
                        begin + load_u32(start),
                        begin + load_u32(start + 4),
                        sums + sums_bytes * block + channel_step * c + tap_step * groups[k, 3],
                        row_step,
                        column_step,
                        fresh,
                        values,
                    )

    return sum_tile


def _sum_units(valued: bool) -> Any:
    sum_tile = _sum_tile(valued)

    @njit(**OPTIONS)
    def sum_units(
        first,
        last,
        plan,
        groups,
        span,
        g,
        lists,
        starts,
        listed,
        scale,
        scratch,
        gradient,
        bias_gradient,
    ):
        """The gradients of weights and biases, of the units from `first` to `last`: a unit is the
        (unit % p.bands)-th BAND blocks of outputs and `span` channels. `scratch` has room for a
        grid, an output's sum, and the sums of a span for each block."""
        p = plan[0]
        for unit in range(first, last):
            first_block, c0 = BAND * (unit % p.bands), span * (unit // p.bands)
            blocks, channels = min(BAND, p.blocks - first_block), min(span, p.channels - c0)
            output_sums = scratch + VECTOR_BYTES * p.grid * blocks
            sums = output_sums + VECTOR_BYTES * blocks
            for block in range(blocks):
                store(output_sums + VECTOR_BYTES * block, zero())
            for tile in range(p.tiles):
                _pack(p, tile, tile == 0, first_block, blocks, g, scratch)
                if c0 == 0:
                    _sum_outputs(p, tile, blocks, scratch, output_sums)
                sum_tile(
                    p, tile, groups, blocks, c0, channels, scratch, lists, starts, listed, sums
                )
            if scale != 1.0:
                _multiply(sums, blocks * channels * p.taps, scale)
            _write_band(p, first_block, blocks, c0, channels, sums, scratch, gradient)
            if c0 == 0:
                output = LANES * first_block
                for i in range(min(LANES * blocks, p.outputs - output)):
                    total = load_float(output_sums + 4 * i)
                    store_float(bias_gradient + 4 * (output + i), total)

    return sum_units


sum_units_of_spikes, sum_units_of_values = _sum_units(False), _sum_units(True)


@njit(**OPTIONS)
def _steps(p, channels):
    """From a tap's sum to the next one's, and from a channel's: in the order of the gradient."""
    if p.channels_last:
        return VECTOR_BYTES * channels, VECTOR_BYTES
    return VECTOR_BYTES, VECTOR_BYTES * p.taps


@njit(**OPTIONS)
def _pack(p, tile, is_first, first_block, blocks, g, grids):
    """The output gradient of some blocks in a tile, a grid for each block, with zeros around it."""
    grid_bytes = VECTOR_BYTES * p.grid
    if is_first or (p.bordered and p.across > 1):
        for i in range(0, blocks * grid_bytes, VECTOR_BYTES):
            store(grids + i, zero())
    first, last = images_of(p, tile)
    y0, x0 = corner_of(p, tile)
    first_row, end_row = y0 - p.above, y0 + p.rows + p.below
    if p.down == 1:
        # What lies above and below is the same in every tile: zeros.
        first_row, end_row = 0, p.out_height
    first_column, end_column = max(0, x0 - p.left), min(p.out_width, x0 + p.columns + p.right)
    pixel = 4 * p.outputs
    for n in range(first, last):
        for y in range(first_row, end_row):
            place = p.origin + (n - first) * p.image_pitch + (y - y0) * p.pitch + first_column - x0
            to = grids + VECTOR_BYTES * place
            if 0 <= y < p.out_height:
                row = (n * p.out_height + y) * p.out_width
                at = g + pixel * (row + first_column) + VECTOR_BYTES * first_block
                _pack_row(p, at, g, end_column - first_column, blocks, to)
            else:
                for block in range(blocks):
                    for i in range(0, VECTOR_BYTES * (end_column - first_column), VECTOR_BYTES):
                        store(to + block * grid_bytes + i, zero())


@njit(**OPTIONS)
def _pack_row(p, at, g, pixels, blocks, to):
    grid_bytes, pixel = VECTOR_BYTES * p.grid, 4 * p.outputs
    # Behind the last number of all, a vector may not be read.
    end = g + pixel * p.samples * p.out_height * p.out_width
    whole = max(0, min(pixels, (end - VECTOR_BYTES * blocks - at) // pixel + 1))
    for _ in range(whole):
        for block in range(blocks):
            store(to + block * grid_bytes, load(at + VECTOR_BYTES * block))
        at += pixel
        to += VECTOR_BYTES
    for _ in range(pixels - whole):
        for i in range(0, end - at, 4):
            block, lane = i // VECTOR_BYTES, i % VECTOR_BYTES
            store_float(to + block * grid_bytes + lane, load_float(at + i))
        at += pixel
        to += VECTOR_BYTES


@njit(**OPTIONS)
def _sum_outputs(p, tile, blocks, grids, sums):
    """Add the output gradient at the outputs that are counted as a tile's, each of one alone."""
    first, last = images_of(p, tile)
    y0, x0 = corner_of(p, tile)
    end_row = p.out_height if y0 + p.rows >= p.rows * p.down else y0 + p.rows
    end_column = p.out_width if x0 + p.columns >= p.columns * p.across else x0 + p.columns
    for block in range(blocks):
        grid, to = grids + VECTOR_BYTES * p.grid * block, sums + VECTOR_BYTES * block
        if p.down * p.across == 1:
            # Its images with the zeros between them.
            _add_places(grid, min(p.places, p.origin + (last - first) * p.image_pitch), to)
        else:
            for y in range(y0, min(end_row, p.out_height)):
                place = p.origin + (y - y0) * p.pitch
                columns = min(end_column, p.out_width) - x0
                _add_places(grid + VECTOR_BYTES * place, columns, to)


@njit(**OPTIONS)
def _add_places(at, places, sums):
    a, b, c, d = load(sums), zero(), zero(), zero()
    for _ in range(places // 4):
        a, b = add(a, load(at)), add(b, load(at + VECTOR_BYTES))
        c, d = add(c, load(at + 2 * VECTOR_BYTES)), add(d, load(at + 3 * VECTOR_BYTES))
        at += 4 * VECTOR_BYTES
    for _ in range(places % 4):
        a = add(a, load(at))
        at += VECTOR_BYTES
    store(sums, add(add(a, c), add(b, d)))


@njit(**OPTIONS)
def _multiply(sums, count, scale):
    for i in range(0, VECTOR_BYTES * count, VECTOR_BYTES):
        store(sums + i, mul(load(sums + i), splat(scale)))


@njit(**OPTIONS)
def _write_band(p, first_block, blocks, c0, channels, sums, scratch, gradient):
    """The sums of a unit as the gradient of its weights."""
    tap_step, _ = _steps(p, channels)
    for block in range(blocks):
        output = LANES * (first_block + block)
        at = sums + VECTOR_BYTES * channels * p.taps * block
        if p.channels_last:
            for tap in range(p.taps):
                column = tap * p.channels + c0
                _write(p, output, at + tap_step * tap, channels, column, scratch, gradient)
        else:
            _write(p, output, at, channels * p.taps, c0 * p.taps, scratch, gradient)


@njit(**OPTIONS)
def _write(p, output, sums, count, column, scratch, gradient):
    """`count` vectors as columns of the gradient: its rows are outputs, from `output` on."""
    row = 4 * p.channels * p.taps
    to = gradient + row * output + 4 * column
    lanes = min(LANES, p.outputs - output)
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


_this = sys.modules[__name__]
keep(_this, sources(_this, vectors, transposes, weight_gradient_plan))
