"""The passes of batch norm that are not part of a step: statistics before it, a correction of the
gradient after it. Both over rows `[T, M]` (see `clifctl.kernels.layout`)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.blocks import cut
from clifctl.kernels.eager import is_eager
from clifctl.kernels.flat import Sample
from clifctl.kernels.layout import Layout
from clifctl.kernels.numba_target import DTYPES, array, spread
from clifctl.kernels.threads import run_units

# Positions that one unit works on at least, and channels side by side that keep its loops long.
LEAST_POSITIONS, WIDE = 32, 1024
# Elements of one channel side by side that are worth a loop of their own.
LONG = 64
MOST_GROUPS = 32


def moments(x: Tensor, together: bool = False) -> list[Tensor]:
    """Mean and biased variance `[T, C]` of each step and channel of `x` `[T, N, C, *features]`, in
    float32 (float64 for float64); `[1, C]` over all steps `together`.

    The variance is that of the distances from the mean, not a difference of squares. On the CPU
    everything beyond a few dozen elements is added up in float64.
    """
    layout = Layout.of(x)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    steps, channels = len(x), layout.sample.channels
    if not x.numel():
        shape = (1 if together else steps, channels)
        return [x.new_full(shape, float("nan"), dtype=dtype) for _ in range(2)]
    if x.device.type != CPU:
        rows = layout.rows(x, dtype)
        by_channel = rows.view(1 if together else steps, -1, channels, layout.sample.inner)
        variance, mean = torch.var_mean(by_channel, (1, 3), correction=0)
        return [mean, variance]
    rows = layout.rows(x, x.dtype if x.dtype in DTYPES else dtype)
    parts = _partial(rows, layout.sample)
    if together:
        count, mean, squares = (part.reshape(1, -1, part.shape[2]) for part in parts)
    else:
        count, mean, squares = parts
    return [m.to(dtype) for m in _merged(count, mean, squares)]


_moments = torch.library.custom_op("clifctl::moments", moments, mutates_args=())


def batch_moments(x: Tensor, together: bool = False) -> list[Tensor]:
    """See `moments`."""
    return (moments if is_eager(x) else _moments)(x, together)


@_moments.register_fake
def _(x: Tensor, together: bool = False) -> list[Tensor]:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    shape = (1 if together else len(x), Layout.of(x).sample.channels)
    return [x.new_empty(shape, dtype=dtype) for _ in range(2)]


def _partial(rows: Tensor, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean and sum of squared distances of parts: `[T, parts, 1 or C]`."""
    from clifctl.kernels import numba_passes

    steps, size = rows.shape
    channels, inner = sample.channels, sample.inner
    if inner > LONG:
        shape, numbers = (steps * channels, 1), (channels, inner)
        run = numba_passes.moments_of_runs
    else:
        # Short runs: each of their elements is a channel at first.
        wide = channels * inner
        positions = size // wide
        # Several positions side by side are more channels, put together in the end.
        side = 1
        while wide * side * 2 <= WIDE and positions % (side * 2) == 0:
            side *= 2
        groups = max(1, min(MOST_GROUPS, positions // side // LEAST_POSITIONS))
        shape, numbers = (steps * groups, wide * side), (wide * side, groups)
        run = numba_passes.moments_of_rows
    count = torch.empty(shape[0], dtype=torch.float64)
    mean, squares = (torch.empty(shape, dtype=torch.float64) for _ in range(2))
    arrays: list[Any] = [tensor.numpy() for tensor in (count, mean, squares)]
    like = np.empty(0, "float64" if rows.dtype == torch.float64 else "float32")
    given = (array(rows), like)
    run_units(
        lambda first, last: run(first, last, *given, *numbers, *arrays), shape[0], rows.numel()
    )
    if inner > LONG:
        return tuple(t.view(steps, 1, channels) for t in (count, mean, squares))  # type: ignore[return-value]
    count = count.view(steps, groups, 1, 1, 1).expand(-1, -1, side, channels, inner)
    parts = []
    for each in (count, mean, squares):
        by_place = each.reshape(steps, groups * side, channels, inner)
        parts.append(by_place.movedim(-1, 2).reshape(steps, -1, channels))
    return tuple(parts)  # type: ignore[return-value]


def _merged(count: Tensor, mean: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance `[T, C]` from those of parts `[T, parts, C]`, in their order."""
    total = count.sum(1)
    average = (count * mean).sum(1) / total
    apart = mean - average[:, None]
    return average, (squares + count * apart * apart).sum(1) / total


def corrected(
    g: Tensor, x: Tensor, mean: Tensor, level: Tensor, slope: Tensor, sample: Sample
) -> Tensor:
    """g - level - slope * (x - mean) in the dtype of `x`: `g` and `x` `[T, M]`, the others
    `[T, C]`. `g` may be written to."""
    if x.device.type != CPU:
        shape = (len(x), -1, sample.channels, sample.inner)
        m, a, b = (t[:, None, :, None] for t in (mean, level, slope))
        g.view(shape).sub_(a + b * (x.view(shape) - m))
        return g.to(x.dtype)
    from clifctl.kernels import numba_passes

    blocks = cut(x.shape[1], sample.period, steps=1, rows_per_step=1, itemsize=g.element_size())
    by_element = [
        spread(t.to(g.dtype), sample, blocks.period).numpy() for t in (mean, level, slope)
    ]
    out = g if g.dtype == x.dtype else torch.empty_like(x)
    arrays: list[np.ndarray[Any, Any]] = [array(g), array(x), array(out), *by_element]
    cut_of_work = (blocks.chunks, blocks.groups, blocks.block)
    run_units(
        lambda first, last: numba_passes.correct(first, last, *arrays, *cut_of_work),
        len(x) * blocks.units,
        x.numel(),
    )
    return out
