"""The passes over memory that stand around a neuron's kernels on the CPU: the statistics of batch
norm, the correction of its gradient, and spikes as bits.

Plain numba functions, written by hand: no neuron is in them. Every one works on units from `first`
to `last` (see `clifctl.kernels.cpu.threads`), and no result depends on how units are shared out.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import overload

from clifctl.kernels.cpu import vectors
from clifctl.kernels.cpu.machine_code import keep
from clifctl.kernels.cpu.vectors import numbers_at

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Sums over a row may be added up in lanes: the order is fixed when the code is compiled.
SUMS: dict[str, Any] = {**OPTIONS, "fastmath": {"reassoc", "contract"}}
# Elements that are added up in single precision before they join a sum in double precision.
RUN = 1024


def as_float(x):
    """A float as it is; a whole number as the bfloat16 of these bits."""


def stored(x, into):
    """The float `x` as an element of `into`: rounded to even where that holds bfloat16."""


@overload(as_float)
def _as_float(x):
    if isinstance(x, types.Integer):
        return lambda x: np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)
    return lambda x: x


@overload(stored)
def _stored(x, into):
    if not isinstance(into.dtype, types.Integer):
        return lambda x, into: x

    def rounded(x, into):
        whole = np.float32(x).view(np.uint32)
        up = whole + np.uint32(0x7FFF) + ((whole >> np.uint32(16)) & np.uint32(1))
        return np.uint16(up >> np.uint32(16)) if x == x else np.uint16(0x7FC0)

    return rounded


@njit(**SUMS)
def moments_of_runs(first, last, address, low, like, rows, size, channels, inner, mean, spread):
    """Channels in runs of `inner` elements of the rows `[rows, size]` at an address: for unit
    row * channels + channel the mean `[unit]` and the sum of squares of the distances from it.
    Elements are those of the empty array `low`, arithmetic is in the dtype of `like`."""
    x = carray(numbers_at(address, low), (rows, size))
    period = channels * inner
    samples = size // period
    for unit in range(first, last):
        t, channel = unit // channels, unit % channels
        done = 0
        average, squares_of_all = 0.0, 0.0
        for sample in range(samples):
            at = sample * period + channel * inner
            for start in range(at, at + inner, RUN):
                n = min(RUN, at + inner - start)
                run = x[t, start : start + n]
                total = like.dtype.type(0)
                for j in range(n):
                    total += as_float(run[j])
                middle = like.dtype.type(np.float64(total) / n)
                offset = like.dtype.type(0)
                squares = like.dtype.type(0)
                for j in range(n):
                    distance = as_float(run[j]) - middle
                    offset += distance
                    squares += distance * distance
                rest = np.float64(offset) / n
                apart = np.float64(middle) + rest - average
                both = done + n
                squares_of_all += squares - n * rest * rest
                squares_of_all += apart * apart * (np.float64(done) * n / both)
                average += apart * n / both
                done = both
        mean[unit] = average
        spread[unit] = squares_of_all


@njit(**OPTIONS)
def spread_out(values, inner, out):
    """`values` `[rows, C]` at every element of a period: `out` `[rows, period]`."""
    rows, channels = values.shape
    for r in range(rows):
        for start in range(0, out.shape[1], channels * inner):
            for c in range(channels):
                for i in range(inner):
                    out[r, start + c * inner + i] = values[r, c]


@njit(**OPTIONS)
def by_channel(parts, inner, total):
    """The sums over groups and over the elements of each channel of `parts`
    `[groups, rows, period]`, in float64, in a fixed order: `total` `[rows, C]`."""
    groups, rows, period = parts.shape
    channels = total.shape[1]
    added = np.empty(period, np.float64)
    for r in range(rows):
        added[:] = 0.0
        for group in range(groups):
            part = parts[group, r]
            for j in range(period):
                added[j] += part[j]
        for c in range(channels):
            sum_of_channel = 0.0
            for start in range(c * inner, period, channels * inner):
                for i in range(inner):
                    sum_of_channel += added[start + i]
            total[r, c] = sum_of_channel


@njit(**OPTIONS)
def pack(first, last, block, x, bits):
    """Bit b of byte i is whether element 8 * i + b of the whole numbers `x` differs from 0."""
    # Written out: a loop over eight is not vectorised, this is.
    for i in range(first * block, min(last * block, x.size // 8)):
        k = 8 * i
        bits[i] = (
            np.uint8(x[k] != 0)
            | np.uint8(x[k + 1] != 0) << 1
            | np.uint8(x[k + 2] != 0) << 2
            | np.uint8(x[k + 3] != 0) << 3
            | np.uint8(x[k + 4] != 0) << 4
            | np.uint8(x[k + 5] != 0) << 5
            | np.uint8(x[k + 6] != 0) << 6
            | np.uint8(x[k + 7] != 0) << 7
        )
    if x.size % 8 and last * block >= bits.size > first * block:
        bits[bits.size - 1] = 0
        for b in range(x.size % 8):
            bits[bits.size - 1] |= np.uint8(x[x.size // 8 * 8 + b] != 0) << b


@njit(**OPTIONS)
def unpack(first, last, block, bits, one, x):
    """The inverse of `pack`, into whole numbers: `one` where a bit is set, else 0."""
    bit = x.dtype.type(1)
    for i in range(first * block, min(last * block, x.size // 8)):
        k = 8 * i
        byte = x.dtype.type(bits[i])
        x[k] = one & -(byte & bit)
        x[k + 1] = one & -((byte >> 1) & bit)
        x[k + 2] = one & -((byte >> 2) & bit)
        x[k + 3] = one & -((byte >> 3) & bit)
        x[k + 4] = one & -((byte >> 4) & bit)
        x[k + 5] = one & -((byte >> 5) & bit)
        x[k + 6] = one & -((byte >> 6) & bit)
        x[k + 7] = one & -((byte >> 7) & bit)
    if x.size % 8 and last * block >= bits.size > first * block:
        for b in range(x.size % 8):
            x[x.size // 8 * 8 + b] = one & -((x.dtype.type(bits[bits.size - 1]) >> b) & bit)


_SOURCES = (__file__, str(vectors.__file__))
keep(
    sys.modules[__name__],
    "".join(Path(source).read_text(encoding="utf-8") for source in _SOURCES),
)
