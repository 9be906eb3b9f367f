"""The passes over memory that stand around a neuron's kernels on the CPU: the statistics of batch
norm, the correction of its gradient, and spikes as bits.

Plain numba functions, written by hand: no neuron is in them. Every one works on units from `first`
to `last` (see `clifctl.kernels.threads`), and no result depends on how units are shared out.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from clifctl.kernels.machine_code import keep

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Sums over a row may be added up in lanes: the order is fixed when the code is compiled.
SUMS: dict[str, Any] = {**OPTIONS, "fastmath": {"reassoc", "contract"}}
# Elements that are added up in single precision before they join a sum in double precision.
CHUNK = 32
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
def moments_of_rows(first, last, x, like, channels, groups, count, mean, spread):
    """`x` is of floats, or bfloat16 as whole numbers; `like` has the dtype of the arithmetic.

    Channels innermost, `x` `[T, positions * channels]`: for unit t * groups + group the number
    of positions, their mean `[unit, C]` and the sum of squares of the distances from it."""
    positions = x.shape[1] // channels
    middle = np.empty(channels, like.dtype)
    offset = np.empty(channels, like.dtype)
    squares = np.empty(channels, like.dtype)
    for unit in range(first, last):
        t, group = unit // groups, unit % groups
        begin, end = group * positions // groups, (group + 1) * positions // groups
        done = 0
        mean[unit, :] = 0.0
        spread[unit, :] = 0.0
        for start in range(begin, end, CHUNK):
            n = min(CHUNK, end - start)
            # Distances are taken from the mean so far; for the first chunk, from its own.
            if done == 0:
                _mean_of_rows(x[t], start, n, channels, middle)
            else:
                for c in range(channels):
                    middle[c] = mean[unit, c]
            offset[:] = 0
            squares[:] = 0
            for r in range(start, start + n):
                row = x[t, r * channels : (r + 1) * channels]
                for c in range(channels):
                    distance = as_float(row[c]) - middle[c]
                    offset[c] += distance
                    squares[c] += distance * distance
            for c in range(channels):
                # What rounding has left out of the middle, and the merge of two sets of numbers.
                rest = np.float64(offset[c]) / n
                found = np.float64(middle[c]) + rest
                apart = found - mean[unit, c]
                both = done + n
                spread[unit, c] += squares[c] - n * rest * rest
                spread[unit, c] += apart * apart * (np.float64(done) * n / both)
                mean[unit, c] += apart * n / both
            done += n
        count[unit] = done


@njit(**SUMS)
def _mean_of_rows(x, start, n, channels, mean):
    mean[:] = 0
    for r in range(start, start + n):
        row = x[r * channels : (r + 1) * channels]
        for c in range(channels):
            mean[c] += as_float(row[c])
    share = mean.dtype.type(1.0 / n)
    for c in range(channels):
        mean[c] *= share


@njit(**SUMS)
def moments_of_runs(first, last, x, like, channels, inner, count, mean, spread):
    """Channels in runs of `inner` elements, `x` `[T, N * channels * inner]`: the same for unit
    t * channels + channel, into `[unit, 1]`."""
    period = channels * inner
    samples = x.shape[1] // period
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
        count[unit] = done
        mean[unit, 0] = average
        spread[unit, 0] = squares_of_all


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
def correct(first, last, g, x, out, mean, level, slope, chunks, groups, block):
    """out = g - level - slope * (x - mean); the last three `[T, period]`. A unit is one block
    of a group of periods of one step."""
    size, period = x.shape[1], mean.shape[1]
    periods = (size + period - 1) // period
    for unit in range(first, last):
        t, rest = unit // (chunks * groups), unit % (chunks * groups)
        offset, group = rest // groups * block, rest % groups
        for number in range(group * periods // groups, (group + 1) * periods // groups):
            start = number * period + offset
            n = min(block, period - offset, size - start)
            if n <= 0:
                continue
            g_row, x_row = g[t, start : start + n], x[t, start : start + n]
            out_row = out[t, start : start + n]
            m, a, b = mean[t, offset:], level[t, offset:], slope[t, offset:]
            for j in range(n):
                value = g_row[j] - (a[j] + b[j] * (as_float(x_row[j]) - m[j]))
                out_row[j] = stored(value, out)


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
    """The inverse, into whole numbers: `one` where a bit is set, else 0."""
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


keep(sys.modules[__name__], Path(__file__).read_text(encoding="utf-8"))
