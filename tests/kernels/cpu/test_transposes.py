"""Rows become columns, at addresses that are aligned to nothing."""

import numpy as np
from numba import njit

from clifctl.kernels.cpu.transposes import transpose_bits, transpose_floats
from clifctl.kernels.cpu.vectors import LANES


def test_floats() -> None:
    @njit
    def run(source: int, source_step: int, to: int, to_step: int) -> None:
        transpose_floats(source, source_step, to, to_step)

    given = np.random.default_rng(0).random((LANES, LANES + 3), np.float32)
    made = np.full((LANES, LANES + 5), 7.0, np.float32)
    run(given.ctypes.data + 4, 4 * (LANES + 3), made.ctypes.data + 8, 4 * (LANES + 5))
    assert (made[:, 2:-3] == given[:, 1:-2].T).all()
    assert (made[:, :2] == 7.0).all()
    assert (made[:, -3:] == 7.0).all()


def test_bits() -> None:
    @njit
    def run(source: int, to: int, to_step: int) -> None:
        transpose_bits(source, to, to_step)

    given = np.random.default_rng(0).integers(0, 256, (64, 8), np.uint8)
    made = np.full((64, 11), 7, np.uint8)
    run(given.ctypes.data, made.ctypes.data + 1, 11)
    bits = np.unpackbits(given, axis=1, bitorder="little")
    assert (np.unpackbits(made[:, 1:9].copy(), axis=1, bitorder="little") == bits.T).all()
    assert (made[:, [0, 9, 10]] == 7).all()
