"""Mean and sum of squared distances from it, of columns of numbers, by vectors.

Distances are taken from a mean of what came before, squares are never subtracted from squares, and
all but CHUNK numbers at a time are added up in float64.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from clifctl.kernels.cpu import elementwise as vec
from clifctl.kernels.cpu import numba_passes, vectors
from clifctl.kernels.cpu.machine_code import keep
from clifctl.kernels.cpu.numba_passes import as_float
from clifctl.kernels.cpu.vectors import LANES, numbers_at

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Numbers of a column that are added up in their own precision before they join a sum in float64.
CHUNK = 16
# Vectors side by side, whose sums are independent of each other: they hide each other's latency.
SIDE = 4


def _sums_of(held: int, item: int, read: Any, load: Any, store: Any, broadcast: Any) -> Any:
    """Two functions: the mean of positions of columns, and their distances from a middle and the
    squares of these added up. A number takes `item` bytes, `held` ones within."""
    step = LANES * item

    @njit(**OPTIONS)
    def mean_of(x, n, columns, mean):
        share = broadcast(1.0 / n)
        for j in range(0, columns, LANES):
            total = broadcast(0.0)
            for r in range(n):
                total = vec.add(total, read(x + (r * columns + j) * item))
            store(mean.ctypes.data + j * held, vec.mul(total, share))

    @njit(**OPTIONS)
    def add_four(x, n, columns, middle, offset, square):
        m0, m1 = load(middle), load(middle + LANES * held)
        m2, m3 = load(middle + 2 * LANES * held), load(middle + 3 * LANES * held)
        o0 = o1 = o2 = o3 = s0 = s1 = s2 = s3 = broadcast(0.0)
        for r in range(n):
            at = x + r * columns * item
            d0, d1 = vec.sub(read(at), m0), vec.sub(read(at + step), m1)
            d2, d3 = vec.sub(read(at + 2 * step), m2), vec.sub(read(at + 3 * step), m3)
            o0, o1, o2, o3 = vec.add(o0, d0), vec.add(o1, d1), vec.add(o2, d2), vec.add(o3, d3)
            s0, s1 = vec.muladd(d0, d0, s0), vec.muladd(d1, d1, s1)
            s2, s3 = vec.muladd(d2, d2, s2), vec.muladd(d3, d3, s3)
        vec.add_to_doubles(offset, o0)
        vec.add_to_doubles(offset + 8 * LANES, o1)
        vec.add_to_doubles(offset + 16 * LANES, o2)
        vec.add_to_doubles(offset + 24 * LANES, o3)
        vec.add_to_doubles(square, s0)
        vec.add_to_doubles(square + 8 * LANES, s1)
        vec.add_to_doubles(square + 16 * LANES, s2)
        vec.add_to_doubles(square + 24 * LANES, s3)

    @njit(**OPTIONS)
    def add_up(x, n, columns, middle, offset, square):
        """Distances of `n` positions from `middle`, and their squares, added up."""
        wide = columns // (SIDE * LANES) * (SIDE * LANES)
        middles, offsets, squares = middle.ctypes.data, offset.ctypes.data, square.ctypes.data
        for start in range(0, n, CHUNK):
            chunk = min(CHUNK, n - start)
            at = x + start * columns * item
            for j in range(0, wide, SIDE * LANES):
                to = (middles + j * held, offsets + 8 * j, squares + 8 * j)
                add_four(at + j * item, chunk, columns, *to)
            for j in range(wide, columns, LANES):
                m = load(middles + j * held)
                o = s = broadcast(0.0)
                for r in range(chunk):
                    d = vec.sub(read(at + (r * columns + j) * item), m)
                    o, s = vec.add(o, d), vec.muladd(d, d, s)
                vec.add_to_doubles(offsets + 8 * j, o)
                vec.add_to_doubles(squares + 8 * j, s)

    return mean_of, add_up


def _moments_of(dtype: Any, low: Any, read: Any, load: Any, store: Any, broadcast: Any) -> Any:
    """`moments_of_columns` of numbers of the dtype `low`, read as vectors of `dtype`."""
    held, item, like = np.dtype(dtype).itemsize, np.dtype(low).itemsize, np.empty(0, low)
    mean_of, add_up = _sums_of(held, item, read, load, store, broadcast)

    @njit(**OPTIONS)
    def moments_of_columns(first, last, x, size, found):
        """Of each unit row * groups + group of rows `[rows, size]` at the address `x`: that group's
        positions of columns, into `found` `[2, rows, groups + 1, columns]`, means and sums of
        squares. The columns are whole vectors. What is left of a row after whole positions is the
        last part: one number for each of the first columns."""
        mean, squares = found
        _, parts, columns = mean.shape
        groups, positions = parts - 1, size // columns
        middle = np.empty(columns, dtype)
        offset, square = np.empty(columns), np.empty(columns)
        for unit in range(first, last):
            row, group = unit // groups, unit % groups
            begin, end = group * positions // groups, (group + 1) * positions // groups
            average, spread = mean[row, group], squares[row, group]
            average[:], spread[:] = 0.0, 0.0
            at = x + row * size * item
            if begin < end:
                mean_of(at + begin * columns * item, min(CHUNK, end - begin), columns, middle)
            done = 0
            while begin + done < end:
                # As many as have been seen: their mean is a middle for what comes next.
                n = min(max(done, CHUNK), end - begin - done)
                offset[:], square[:] = 0.0, 0.0
                add_up(at + (begin + done) * columns * item, n, columns, middle, offset, square)
                _merge(done, n, middle, offset, square, average, spread)
                done += n
            if group == groups - 1:
                mean[row, groups, :], squares[row, groups, :] = 0.0, 0.0
                rest = size - positions * columns
                left = carray(numbers_at(at + positions * columns * item, like), rest)
                for j in range(rest):
                    mean[row, groups, j] = as_float(left[j])

    return moments_of_columns


@njit(**OPTIONS)
def _merge(done, n, middle, offset, square, mean, spread):
    """Join `n` numbers of each column, as sums of distances from `middle`, to `done` ones."""
    share = n / (done + n)
    weight = done * share
    for j in range(middle.size):
        # What rounding has left out of the middle, and the merge of two sets of numbers.
        rest = offset[j] / n
        apart = middle[j] + rest - mean[j]
        spread[j] += square[j] - offset[j] * rest + apart * apart * weight
        mean[j] += apart * share
        middle[j] = mean[j]


_FLOATS = (vec.load_floats, vec.store_floats, vec.floats)
float32_moments = _moments_of(np.float32, np.float32, vec.load_floats, *_FLOATS)
bfloat16_moments = _moments_of(np.float32, np.uint16, vec.load_bfloat16, *_FLOATS)
float64_moments = _moments_of(
    np.float64, np.float64, vec.load_doubles, vec.load_doubles, vec.store_doubles, vec.doubles
)
_SOURCES = (__file__, *(str(module.__file__) for module in (numba_passes, vec, vectors)))
keep(
    sys.modules[__name__],
    "".join(Path(source).read_text(encoding="utf-8") for source in _SOURCES),
)
