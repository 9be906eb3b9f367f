"""How the statistics of batch norm are cut into parts, for one shape."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from clifctl.kernels.cpu.neuron import Array
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.flat import SampleLayout

# Elements of one channel side by side that are worth a loop of their own.
LONG = 64
# Positions of columns that a part has at least; parts of all rows together that keep every core
# busy, and are not much to put together.
LEAST_POSITIONS, ENOUGH_PARTS = 128, 64
# What an element is in memory, by numpy's name.
DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "uint16"}


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows `[rows, size]` in parts of `counts` `[parts, columns]` elements; column j is of channel
    j // inner % C. `run(first, last, x, found)` finds the means and the sums of squared distances
    from them, `found` `[2, rows, parts, columns]`, of rows at an address, in units of work."""

    run: Callable[[int, int, int, Array], None]
    units: int
    rows: int
    size: int
    inner: int
    counts: Array

    def room(self) -> Array:
        """Room for what `find` writes."""
        return np.empty((2, self.rows, *self.counts.shape))

    def find(self, x: int, found: Array) -> None:
        """Means and sums of squares of the rows at the address `x`."""
        run = self.run
        work = self.rows * self.size
        run_units(lambda first, last: run(first, last, x, found), self.units, work)


@lru_cache(maxsize=1024)
def parts_of(rows: int, size: int, sample: SampleLayout, dtype: torch.dtype) -> Parts:
    """The parts of rows `[rows, size]`."""
    if sample.inner > LONG:
        return _in_runs(rows, size, sample, dtype)
    return _in_columns(rows, size, sample, dtype)


def _in_columns(rows: int, size: int, sample: SampleLayout, dtype: torch.dtype) -> Parts:
    """Whole samples side by side until they are whole vectors; each element of them is a column."""
    from clifctl.kernels.cpu import moments
    from clifctl.kernels.cpu.vectors import LANES

    moments_of_columns = {
        torch.float32: moments.float32_moments,
        torch.bfloat16: moments.bfloat16_moments,
        torch.float64: moments.float64_moments,
    }[dtype]
    columns = math.lcm(sample.period, LANES)
    columns *= max(1, moments.SIDE * LANES // columns)
    positions, rest = divmod(size, columns)
    groups = max(1, min(-(-ENOUGH_PARTS // rows), positions // LEAST_POSITIONS))
    counts = np.diff(np.arange(groups + 1) * positions // groups).astype(np.float64)
    left = (np.arange(columns) < rest).astype(np.float64)

    def run(first: int, last: int, x: int, found: Array) -> None:
        moments_of_columns(first, last, x, size, found)

    every = np.vstack((np.repeat(counts[:, None], columns, 1), left))
    return Parts(run, rows * groups, rows, size, sample.inner, every)


def _in_runs(rows: int, size: int, sample: SampleLayout, dtype: torch.dtype) -> Parts:
    """Each channel's long runs of elements."""
    from clifctl.kernels.cpu import numba_passes

    channels, inner = sample.channels, sample.inner
    low = np.empty(0, DTYPES[dtype])
    like = np.empty(0, "float64" if dtype == torch.float64 else "float32")

    def run(first: int, last: int, x: int, found: Array) -> None:
        mean, squares = found.reshape(2, -1)
        numba_passes.moments_of_runs(
            first, last, x, low, like, rows, size, channels, inner, mean, squares
        )

    counts = np.full((1, channels), size / channels)
    return Parts(run, rows * channels, rows, size, 1, counts)
