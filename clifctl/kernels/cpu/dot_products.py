"""Dot products at listed places of a grid: what lies there, and at fixed distances from it, times
the same weights."""

import sys
from typing import Any

from numba import njit

from clifctl.kernels.cpu import groups, vectors
from clifctl.kernels.cpu.groups import Group
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES, add, load, store
from clifctl.kernels.machine_code import keep, sources

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _dot_products(size, together):
    group = Group(size)
    zeros, listed, moved = group.zeros, group.listed, group.moved
    products, totals = group.products[together], group.totals

    @njit(**OPTIONS)
    def dot_products(grid, places, unit, rows, run, row_bytes, weights):
        """`rows` runs (of bytes) of weights times those that start in `grid` at each listed
        place, `row_bytes` apart."""
        at = listed(grid, places, unit)
        sums = zeros()
        for _ in range(rows):
            for offset in range(0, run, together * VECTOR_BYTES):
                sums = products(sums, weights + offset, at, offset)
            weights += run
            at = moved(at, row_bytes)
        return totals(sums)

    return dot_products


def _dots(together):
    many, some, few = (_dot_products(LANES // part, together) for part in (1, 2, 4))

    @njit(**OPTIONS)
    def dots(grid, places, count, unit, rows, run, row_bytes, weights, values, more):
        """The dot products at all places of a list, added to `values` where there are `more`."""
        while count > 0:
            if count > LANES // 2:
                found = many(grid, places, unit, rows, run, row_bytes, weights)
            elif count > LANES // 4:
                found = some(grid, places, unit, rows, run, row_bytes, weights)
            else:
                found = few(grid, places, unit, rows, run, row_bytes, weights)
            if more:
                found = add(found, load(values))
            store(values, found)
            count -= LANES
            places += 2 * LANES
            values += VECTOR_BYTES

    return dots


# For runs of a multiple of so many vectors.
dots_1, dots_2, dots_3, dots_4 = (_dots(together) for together in (1, 2, 3, 4))


@njit(**OPTIONS)
def dots(grid, places, count, unit, rows, run, row_bytes, weights, values, more):
    """The dot products at all places of a list, added to `values` where there are `more`."""
    if run % (4 * VECTOR_BYTES) == 0:
        dots_4(grid, places, count, unit, rows, run, row_bytes, weights, values, more)
    elif run % (3 * VECTOR_BYTES) == 0:
        dots_3(grid, places, count, unit, rows, run, row_bytes, weights, values, more)
    elif run % (2 * VECTOR_BYTES) == 0:
        dots_2(grid, places, count, unit, rows, run, row_bytes, weights, values, more)
    else:
        dots_1(grid, places, count, unit, rows, run, row_bytes, weights, values, more)


_this = sys.modules[__name__]
keep(_this, sources(_this, groups, vectors))
