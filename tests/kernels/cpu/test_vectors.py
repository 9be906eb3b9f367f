"""Vectors in numba: what each operation gives, at addresses that are aligned to nothing."""

import numpy as np
import pytest
from numba import njit

from clifctl.kernels.cpu import vectors as v
from clifctl.kernels.cpu.workspace import ALIGNMENT, borrowed

LANES = v.LANES


def test_floats_are_loaded_computed_and_stored() -> None:
    @njit
    def run(a: int, b: int, c: int, out: int) -> float:
        x, y, z = v.load(a), v.load(b), v.load(c)
        v.store(out, v.muladd(v.add(x, y), v.sub(x, z), v.mul(y, v.splat(np.float32(0.5)))))
        return v.total(v.load(out))

    a, b, c = np.random.default_rng(0).integers(-8, 8, (3, LANES + 1)).astype(np.float32)
    out = np.full(LANES + 2, 7.0, np.float32)
    address = 4 + out.ctypes.data
    found = run(a.ctypes.data + 4, b.ctypes.data + 4, c.ctypes.data + 4, address)
    expected = (a + b) * (a - c) + 0.5 * b
    assert (out[1:-1] == expected[1:]).all()
    assert out[0] == out[-1] == 7.0
    assert found == expected[1:].sum()


def test_whole_numbers_of_every_width_are_not_signed() -> None:
    @njit
    def run(a: int, out: int) -> None:
        v.store_u8(out, v.load_u8(a))
        v.store_u16(out + 1, v.load_u16(a + 1))
        v.store_u32(out + 3, v.load_u32(a + 3))
        v.store_u64(out + 7, v.load_u64(a + 7))

    @njit
    def widened(a: int) -> tuple[int, int, int]:
        return v.load_u8(a), v.load_u16(a), v.load_u32(a)

    a = np.arange(240, 255, dtype=np.uint8)
    out = np.zeros(17, np.uint8)
    run(a.ctypes.data, out.ctypes.data + 1)
    assert out.tolist() == [0, *range(240, 255), 0]
    assert widened(a.ctypes.data) == (0xF0, 0xF1F0, 0xF3F2F1F0)


def test_bits_are_found_counted_and_shifted() -> None:
    @njit
    def run(a: int) -> tuple[int, int, int, int]:
        bits = v.non_zero_bits(a)
        return bits, v.count_bits(bits), v.lowest(bits), v.shift_right(-1, 60)

    a = np.zeros(LANES, np.float32)
    a[[2, 5, LANES - 1]] = 1.0, np.nan, -3.0
    assert run(a.ctypes.data) == (1 << 2 | 1 << 5 | 1 << (LANES - 1), 3, 2, 15)


@pytest.mark.parametrize("times", [1, 2])
def test_several_vectors_at_once_and_the_first_floats_of_them(times: int) -> None:
    w, lanes = v.wide(times), times * LANES
    splat, load, store, load_first = w.splat, w.load, w.store, w.load_first
    store_first, add, muladd, zero = w.store_first, w.add, w.muladd, w.zero

    @njit
    def run(a: int, b: int, out: int, count: int) -> None:
        x, y = load(a), load_first(b, count)
        store_first(out, muladd(splat(np.float32(2)), x, add(y, zero())), count)
        store(b, y)

    a = np.arange(lanes + 1, dtype=np.float32)
    for count in (0, 1, lanes - 3, lanes):
        b, out = np.full((2, lanes + 2), 7.0, np.float32)
        run(a.ctypes.data + 4, b.ctypes.data + 4, out.ctypes.data + 4, count)
        assert (out[1 : count + 1] == 2 * a[1 : count + 1] + 7).all()
        assert (out[count + 1 :] == 7).all()
        assert (b[1 : count + 1] == 7).all()
        assert (b[count + 1 : lanes + 1] == 0).all()
        assert out[0] == b[0] == b[-1] == 7


def test_bits_choose_numbers() -> None:
    @njit
    def run(bits: int, out: int) -> None:
        v.store(out, v.select_bits(bits, np.float32(2.5)))

    out = np.zeros(LANES, np.float32)
    run(0x1_0085, out.ctypes.data)
    assert out.tolist() == [2.5 if i in (0, 2, 7) else 0 for i in range(LANES)]


def test_scratch_memory_is_aligned_given_back_and_never_lent_twice() -> None:
    with borrowed(5000) as first, borrowed(5000) as second:
        assert first % ALIGNMENT == second % ALIGNMENT == 0
        assert abs(first - second) >= 8192
    with borrowed(8000) as again:
        assert again in (first, second)
