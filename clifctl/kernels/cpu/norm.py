"""Batch norm around a neuron's kernels: what lies between its passes over all elements.

Everything here is small: numbers by channel, from sums over parts of the elements, and over one
period of a row (see `clifctl.kernels.blocks`), where the neuron's kernel and the correction of the
gradient read them. What differs from call to call comes as an address, and 0 stands for none;
`like` is an empty array of the dtype of what lies there. Sums are taken in float64 and rounded
once.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from clifctl.kernels.cpu import elementwise as vec
from clifctl.kernels.cpu import numba_passes, vectors
from clifctl.kernels.cpu.machine_code import keep
from clifctl.kernels.cpu.numba_passes import as_float, stored
from clifctl.kernels.cpu.vectors import LANES, numbers_at

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Like the number of updates of running averages.
WHOLE = np.empty(0, np.int64)


@njit(**OPTIONS)
def merge(counts, found, inner, columns, moments):
    """Mean and biased variance of each row and channel, `moments` `[2, rows, C]` (one row for all
    of them together), from parts of `counts` `[parts, columns]` elements: their means and the sums
    of squared distances from them, `found` `[2, rows, parts, columns]`. Column j is of channel
    j // inner % C. `columns` `[2, columns]` is scratch."""
    _, rows, parts, width = found.shape
    _, merged, channels = moments.shape
    taken = rows // merged
    number = taken * counts.sum() / channels
    for r in range(merged):
        mean, variance = moments[0, r], moments[1, r]
        columns[0, :] = 0.0
        for row in range(r * taken, (r + 1) * taken):
            for part in range(parts):
                for j in range(width):
                    columns[0, j] += counts[part, j] * found[0, row, part, j]
        _add_columns(columns[0], inner, mean)
        for c in range(channels):
            mean[c] /= number
        _repeat(mean, inner, columns[1])
        columns[0, :] = 0.0
        for row in range(r * taken, (r + 1) * taken):
            for part in range(parts):
                for j in range(width):
                    apart = found[0, row, part, j] - columns[1, j]
                    columns[0, j] += found[1, row, part, j] + counts[part, j] * apart * apart
        _add_columns(columns[0], inner, variance)
        for c in range(channels):
            variance[c] /= number


@njit(**OPTIONS)
def begin(
    counts,
    found,
    columns_inner,
    columns,
    moments,
    eps,
    like,
    tracking,
    mean,
    variance,
    tracked,
    statistics,
    inner,
    weight,
    bias,
    prologue,
):
    """From the parts of a batch (see `merge`), or from running averages where there are none, to
    what the neuron's kernel takes: `prologue`, see `spread`. Mean and one over the deviation of
    each row and channel go to `statistics` `[2, rows, C]`; `track` updates running averages."""
    if counts.size:
        merge(counts, found, columns_inner, columns, moments)
    else:
        running(mean, variance, like, moments)
    _, rows, channels = moments.shape
    result = carray(numbers_at(statistics, like), (2, rows, channels))
    for r in range(rows):
        for c in range(channels):
            result[0, r, c] = moments[0, r, c]
            result[1, r, c] = 1.0 / np.sqrt(moments[1, r, c] + eps)
    if tracking.size:
        track(moments, tracking, like, mean, variance, tracked)
    spread(statistics, rows, channels, inner, weight, bias, like, prologue)


@njit(**OPTIONS)
def track(moments, tracking, like, mean, variance, tracked):
    """Update running averages, at addresses, as updates of single steps would.

    `tracking` holds how much of them stays, the factor that makes a variance unbiased, the number
    of updates, that of updates a row, and each row's share; without shares the averages are those
    of all updates so far."""
    _, rows, channels = moments.shape
    means = carray(numbers_at(mean, like), channels)
    variances = carray(numbers_at(variance, like), channels)
    number = carray(numbers_at(tracked, WHOLE), 1)
    stays, unbiased, updates, repeats = tracking[:4]
    shares = tracking[4:]
    share = 0.0
    if shares.size == 0:
        before = np.float64(number[0])
        stays, share = before / (before + updates), repeats / (before + updates)
    for c in range(channels):
        of_mean, of_variance = 0.0, 0.0
        for r in range(rows):
            part = shares[r] if shares.size else share
            of_mean += part * moments[0, r, c]
            of_variance += part * moments[1, r, c]
        means[c] = stays * means[c] + of_mean
        variances[c] = stays * variances[c] + unbiased * of_variance
    number[0] += np.int64(updates)


@njit(**OPTIONS)
def running(mean, variance, like, moments):
    """`moments` `[2, 1, C]` from running averages."""
    channels = moments.shape[2]
    means = carray(numbers_at(mean, like), channels)
    variances = carray(numbers_at(variance, like), channels)
    for c in range(channels):
        moments[0, 0, c], moments[1, 0, c] = means[c], variances[c]


@njit(**OPTIONS)
def spread(statistics, rows, channels, inner, weight, bias, like, out):
    """Mean, factor and shift of each step over a period: `out` `[3, T, period]`, from `statistics`
    `[2, rows, C]` (one row for all steps), weight and bias `[C]`."""
    given = carray(numbers_at(statistics, like), (2, rows, channels))
    weights = carray(numbers_at(weight, like), channels if weight else 0)
    biases = carray(numbers_at(bias, like), channels if bias else 0)
    scale = np.empty(channels, like.dtype)
    shift = np.zeros(channels, like.dtype)
    if bias:
        shift[:] = biases
    steps = out.shape[1]
    for t in range(steps):
        if t >= rows:
            for which in range(3):
                _copy(out[which, 0], out[which, t])
            continue
        for c in range(channels):
            scale[c] = given[1, t, c] * weights[c] if weight else given[1, t, c]
        _repeat(given[0, t], inner, out[0, t])
        _repeat(scale, inner, out[1, t])
        _repeat(shift, inner, out[2, t])


@njit(**OPTIONS)
def corrections(
    statistics,
    rows,
    channels,
    inner,
    weight,
    count,
    scales,
    shifts,
    sums,
    like,
    g_weight,
    g_bias,
    out,
):
    """Gradients of weight and bias `[C]`, and the terms of `correct`: `out` `[3, rows, period]`.

    `scales` and `shifts` `[groups, T, period]` are the sums of the gradients of factor and shift;
    `count` elements share a mean, 0 where it is no statistic of theirs: there are no terms then.
    `sums` `[period]` is scratch."""
    steps = scales.shape[1]
    given = carray(numbers_at(statistics, like), (2, rows, channels))
    weights = carray(numbers_at(weight, like), channels if weight else 0)
    totals = np.zeros((2, steps, channels))
    for t in range(steps):
        _add_groups(scales, t, sums)
        _add_columns(sums, inner, totals[0, t])
        _add_groups(shifts, t, sums)
        _add_columns(sums, inner, totals[1, t])
    if weight:
        g_weights = carray(numbers_at(g_weight, like), channels)
        g_biases = carray(numbers_at(g_bias, like), channels)
        for c in range(channels):
            of_weight, of_bias = 0.0, 0.0
            for t in range(steps):
                of_weight += totals[0, t, c] * given[1, min(t, rows - 1), c]
                of_bias += totals[1, t, c]
            g_weights[c], g_biases[c] = of_weight, of_bias
    if count == 0.0:
        return
    level = np.empty(channels, like.dtype)
    slope = np.empty(channels, like.dtype)
    for r in range(rows):
        for c in range(channels):
            of_scale, of_shift = totals[0, r, c], totals[1, r, c]
            if rows == 1:
                for t in range(1, steps):
                    of_scale += totals[0, t, c]
                    of_shift += totals[1, t, c]
            inverse = np.float64(given[1, r, c])
            scale = inverse * weights[c] if weight else inverse
            level[c] = scale * of_shift / count
            slope[c] = scale * inverse * inverse * of_scale / count
        _repeat(given[0, r], inner, out[0, r])
        _repeat(level, inner, out[1, r])
        _repeat(slope, inner, out[2, r])
    for r in range(rows, out.shape[1]):
        for which in range(3):
            _copy(out[which, 0], out[which, r])


@njit(**OPTIONS)
def _add_groups(parts, t, total):
    total[:] = parts[0, t]
    for group in range(1, parts.shape[0]):
        part = parts[group, t]
        for j in range(total.size):
            total[j] += part[j]


@njit(**OPTIONS)
def _add_columns(columns, inner, total):
    """The sum of each channel's columns; within them, the second half is added to the first as long
    as halves are whole samples."""
    channels, size = total.size, columns.size
    while size % (2 * channels * inner) == 0:
        size //= 2
        for j in range(size):
            columns[j] += columns[size + j]
    total[:] = 0.0
    for start in range(0, size, channels * inner):
        if inner == 1:
            for c in range(channels):
                total[c] += columns[start + c]
            continue
        for c in range(channels):
            for j in range(start + c * inner, start + (c + 1) * inner):
                total[c] += columns[j]


@njit(**OPTIONS)
def _repeat(values, inner, out):
    """`values` `[C]`, each `inner` times in a row, over and over: `out` holds a whole number of
    such samples."""
    size = values.size * inner
    if inner == 1:
        _copy(values, out)
    else:
        for c in range(values.size):
            for i in range(inner):
                out[c * inner + i] = values[c]
    while size < out.size:
        more = min(size, out.size - size)
        _copy(out[:more], out[size:])
        size += more


@njit(**OPTIONS)
def _copy(values, out):
    for i in range(values.size):
        out[i] = values[i]


def _correction(dtype: Any, low: Any, read: Any, write: Any, load: Any, store: Any) -> Any:
    """`correct` for numbers of the dtype `low`, read and written as vectors of `dtype`."""
    like, low_like = np.empty(0, dtype), np.empty(0, low)
    held, item = like.itemsize, low_like.itemsize

    @njit(**OPTIONS)
    def add_rows(g, stride, steps, n):
        """Add later rows to the first."""
        whole = n - n % LANES
        for t in range(1, steps):
            for j in range(0, whole * held, LANES * held):
                store(g + j, vec.add(load(g + j), load(g + t * stride + j)))
            first = carray(numbers_at(g, like), n)
            other = carray(numbers_at(g + t * stride, like), n)
            for j in range(whole, n):
                first[j] += other[j]

    @njit(**OPTIONS)
    def correct(first, last, g, x, out, rows, steps, size, terms, chunks, groups, block):
        """out = g - level - slope * (x - mean) for rows `[rows, size]` at addresses; mean, level
        and slope are `terms` `[3, rows, period]` (none: out = g). Of one row for all `steps` g
        `[steps, size]` is added up over time, within itself. A unit is one block of a group of
        periods of one row."""
        period = terms.shape[2]
        periods = (size + period - 1) // period
        for unit in range(first, last):
            row, rest = unit // (chunks * groups), unit % (chunks * groups)
            offset, group = rest // groups * block, rest % groups
            for number in range(group * periods // groups, (group + 1) * periods // groups):
                start = row * size + number * period + offset
                n = min(block, period - offset, (row + 1) * size - start)
                if n <= 0:
                    continue
                if rows < steps:
                    add_rows(g + start * held, size * held, steps, n)
                corrected = g + start * held, x + start * item, out + start * item
                if terms.shape[1]:
                    by_place = terms[:, row, offset:]
                    correct_block(*corrected, n, by_place[0], by_place[1], by_place[2])
                else:
                    copy_block(corrected[0], corrected[2], n)

    @njit(**OPTIONS)
    def correct_block(g, x, out, n, mean, level, slope):
        whole = n - n % LANES
        means, levels, slopes = mean.ctypes.data, level.ctypes.data, slope.ctypes.data
        for j in range(0, whole, LANES):
            apart = vec.sub(read(x + j * item), load(means + j * held))
            more = vec.add(load(levels + j * held), vec.mul(load(slopes + j * held), apart))
            write(out + j * item, vec.sub(load(g + j * held), more))
        given, taken = carray(numbers_at(g, like), n), carray(numbers_at(x, low_like), n)
        into = carray(numbers_at(out, low_like), n)
        for j in range(whole, n):
            more = level[j] + slope[j] * (as_float(taken[j]) - mean[j])
            into[j] = stored(given[j] - more, into)

    @njit(**OPTIONS)
    def copy_block(g, out, n):
        whole = n - n % LANES
        for j in range(0, whole, LANES):
            write(out + j * item, load(g + j * held))
        given, into = carray(numbers_at(g, like), n), carray(numbers_at(out, low_like), n)
        for j in range(whole, n):
            into[j] = stored(given[j], into)

    return correct


_FLOATS = (vec.load_floats, vec.store_floats)
_DOUBLES = (vec.load_doubles, vec.store_doubles)
correct_float32 = _correction(np.float32, np.float32, *_FLOATS, *_FLOATS)
correct_float64 = _correction(np.float64, np.float64, *_DOUBLES, *_DOUBLES)
correct_bfloat16 = _correction(
    np.float32, np.uint16, vec.load_bfloat16, vec.store_bfloat16, *_FLOATS
)
_SOURCES = (__file__, *(str(module.__file__) for module in (numba_passes, vec, vectors)))
keep(
    sys.modules[__name__],
    "".join(Path(source).read_text(encoding="utf-8") for source in _SOURCES),
)
