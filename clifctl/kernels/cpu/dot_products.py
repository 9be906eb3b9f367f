"""Dot products at listed places of a grid: what lies there, and at fixed distances from it, times
the same weights."""

import sys
from typing import Any

from numba import njit

from clifctl.kernels.cpu import groups, vectors
from clifctl.kernels.cpu.groups import Group
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES, add, load, store

# Python calls none of them.
INNER: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def _dot_products(size):
    group = Group(size)
    zeros, listed, moved, totals = group.zeros, group.listed, group.moved, group.totals
    four, two, one = (group.products[n] for n in (4, 2, 1))

    @njit(**INNER)
    def dot_products(grid, places, unit, rows, run, row_bytes, weights):
        """`rows` runs (of bytes) of weights times those that start in `grid` at each listed
        place, `row_bytes` apart."""
        at = listed(grid, places, unit)
        sums = zeros()
        fours = run // (4 * VECTOR_BYTES) * (4 * VECTOR_BYTES)
        for _ in range(rows):
            for offset in range(0, fours, 4 * VECTOR_BYTES):
                sums = four(sums, weights + offset, at, offset)
            rest = fours
            if run - rest >= 2 * VECTOR_BYTES:
                sums = two(sums, weights + rest, at, rest)
                rest += 2 * VECTOR_BYTES
            if run > rest:
                sums = one(sums, weights + rest, at, rest)
            weights += run
            at = moved(at, row_bytes)
        return totals(sums)

    return dot_products


_many, _some, _few = (_dot_products(LANES // part) for part in (1, 2, 4))


@njit(**INNER)
def dots(grid, places, count, unit, rows, run, row_bytes, weights, values, more):
    """The dot products at all places of a list, added to `values` where there are `more`."""
    while count > 0:
        if count > LANES // 2:
            found = _many(grid, places, unit, rows, run, row_bytes, weights)
        elif count > LANES // 4:
            found = _some(grid, places, unit, rows, run, row_bytes, weights)
        else:
            found = _few(grid, places, unit, rows, run, row_bytes, weights)
        if more:
            found = add(found, load(values))
        store(values, found)
        count -= LANES
        places += 2 * LANES
        values += VECTOR_BYTES


_this = sys.modules[__name__]
keep(_this, sources(_this, groups, vectors))
