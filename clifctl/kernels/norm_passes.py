"""The passes of batch norm that are not part of a step: statistics before it, a correction of the
gradient after it. Both over rows `[T, M]` (see `clifctl.kernels.layout`)."""

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.blocks import cut
from clifctl.kernels.cpu.neuron import address, array
from clifctl.kernels.cpu.numba_target import DTYPES
from clifctl.kernels.cpu.parts import parts_of
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.eager import is_eager
from clifctl.kernels.flat import SampleLayout
from clifctl.kernels.layout import Layout


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
    from clifctl.kernels.cpu import norm

    rows = layout.rows(x, x.dtype if x.dtype in DTYPES else dtype)
    parts = parts_of(*rows.shape, layout.sample, rows.dtype)
    found, columns = parts.room(), np.empty((2, parts.counts.shape[1]))
    parts.find(address(rows), found)
    merged = np.empty((2, 1 if together else steps, channels))
    norm.merge(parts.counts, found, parts.inner, columns, merged)
    return [torch.from_numpy(each).to(dtype) for each in merged]


_moments = torch.library.custom_op("clifctl::moments", moments, mutates_args=())


def batch_moments(x: Tensor, together: bool = False) -> list[Tensor]:
    """See `moments`."""
    return (moments if is_eager(x) else _moments)(x, together)


@_moments.register_fake
def _(x: Tensor, together: bool = False) -> list[Tensor]:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    shape = (1 if together else len(x), Layout.of(x).sample.channels)
    return [x.new_empty(shape, dtype=dtype) for _ in range(2)]


def corrected(
    g: Tensor, x: Tensor, mean: Tensor, level: Tensor, slope: Tensor, sample: SampleLayout
) -> Tensor:
    """g - level - slope * (x - mean) in the dtype of `x`: `g` and `x` `[T, M]`, the others
    `[T, C]`. `g` may be written to."""
    if x.device.type != CPU:
        shape = (len(x), -1, sample.channels, sample.inner)
        m, a, b = (t[:, None, :, None] for t in (mean, level, slope))
        g.view(shape).sub_(a + b * (x.view(shape) - m))
        return g.to(x.dtype)
    from clifctl.kernels.cpu import norm, numba_passes

    blocks = cut(x.shape[1], sample.period, steps=1, rows_per_step=1, itemsize=g.element_size())
    terms = np.empty((3, len(x), blocks.period), array(g).dtype)
    for values, spread in zip((mean, level, slope), terms, strict=True):
        numba_passes.spread_out(array(values.to(g.dtype).contiguous()), sample.inner, spread)
    out = g if g.dtype == x.dtype else torch.empty_like(x)
    correct = getattr(norm, f"correct_{DTYPES[x.dtype]}")
    given = (address(g), address(x), address(out), len(x), *g.shape, terms)
    cut_of_work = (blocks.chunks, blocks.groups, blocks.block)
    run_units(
        lambda first, last: correct(first, last, *given, *cut_of_work),
        len(x) * blocks.units,
        x.numel(),
    )
    return out
