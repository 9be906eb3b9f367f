"""What a layer's output feeds back to its own input, through a matrix: rows of the matrix, added up
for those numbers alone that are not 0.

Spikes are few, so most rows are never read. The way back is the same sum with the matrix the other
way round, over the gradients of the step after.
"""

import sys
from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.machine_code import keep, sources
from clifctl.kernels.cpu.vectors import (
    LANES,
    load_float,
    lowest,
    non_zero_bits,
    numbers_at,
    wide,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Vectors of a sum that stay in registers, and floats in them.
VECTORS = 8
COLUMNS = VECTORS * LANES
_sum = wide(VECTORS)
_load, _store, _load_first, _store_first = _sum.load, _sum.store, _sum.load_first, _sum.store_first
_muladd, _splat = _sum.muladd, _sum.splat
_DOUBLES = np.empty(0)


@njit(**OPTIONS)
def add_floats(to, given, matrix, samples, size):
    """Add `given @ matrix` to the rows at `to`: `[samples, size]` both, `matrix` `[size, size]`, at
    addresses of float32."""
    row = 4 * size
    for sample in range(samples):
        x = given + sample * row
        for first in range(0, size, COLUMNS):
            count = min(size - first, COLUMNS)
            y, columns = to + sample * row + 4 * first, matrix + 4 * first
            total = _load(y) if count == COLUMNS else _load_first(y, count)
            for start in range(0, size, LANES):
                if start + LANES <= size:
                    bits = non_zero_bits(x + 4 * start)
                else:
                    bits = (1 << (size - start)) - 1
                while bits != 0:
                    at = start + lowest(bits)
                    bits &= bits - 1
                    value = _splat(load_float(x + 4 * at))
                    if count == COLUMNS:
                        total = _muladd(value, _load(columns + at * row), total)
                    else:
                        total = _muladd(value, _load_first(columns + at * row, count), total)
            if count == COLUMNS:
                _store(y, total)
            else:
                _store_first(y, total, count)


@njit(**OPTIONS)
def add_doubles(to, given, matrix, samples, size):
    """`add_floats` for float64."""
    y = carray(numbers_at(to, _DOUBLES), (samples, size))
    x = carray(numbers_at(given, _DOUBLES), (samples, size))
    rows = carray(numbers_at(matrix, _DOUBLES), (size, size))
    for sample in range(samples):
        for at in range(size):
            value = x[sample, at]
            if value != 0:
                for j in range(size):
                    y[sample, j] += value * rows[at, j]


keep(sys.modules[__name__], sources(sys.modules[__name__], vectors))
