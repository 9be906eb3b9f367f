"""Groups of vectors: several sums at once, and the total of each."""

import numpy as np
import pytest
from numba import njit

from clifctl.kernels.cpu.groups import Group
from clifctl.kernels.cpu.vectors import LANES, store


@pytest.mark.parametrize("size", [LANES, LANES // 4])
def test_dot_products_at_listed_places(size: int) -> None:
    group = Group(size)
    listed, moved, zeros, totals = group.listed, group.moved, group.zeros, group.totals
    products = group.products[2]

    @njit
    def run(base: int, entries: int, weights: int, out: int) -> None:
        addresses = moved(listed(base, entries, 12), 8)
        store(out, totals(products(zeros(), weights, addresses, 4)))

    numbers = np.random.default_rng(0).integers(-8, 8, 20 * LANES).astype(np.float32)
    weights = np.random.default_rng(1).integers(-8, 8, 2 * LANES).astype(np.float32)
    entries = np.random.default_rng(2).integers(0, 5 * LANES, size).astype(np.uint16)
    out = np.full(LANES, 7.0, np.float32)
    run(numbers.ctypes.data, entries.ctypes.data, weights.ctypes.data, out.ctypes.data)
    starts = 3 * entries.astype(np.int64) + 3
    expected = [weights @ numbers[start : start + 2 * LANES] for start in starts]
    assert out.tolist() == expected + [0.0] * (LANES - size)
