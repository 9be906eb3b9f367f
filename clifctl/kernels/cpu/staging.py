"""A block's rows in memory: as they lie where they are whole vectors, else in a copy that is.

A block that ends in the middle of a vector (the last of a row) is worked on in a copy: its inputs
are filled up with their last number, gradients with zeros, and of its outputs only what belongs
there is written back. So no kernel reads or writes beyond a buffer.
"""

from typing import Any

from numba import njit

from clifctl.kernels.cpu.vectors import (
    LANES,
    VECTOR_BYTES,
    load,
    load_u8,
    load_u64,
    store,
    store_u8,
    store_u64,
    zero,
)

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


@njit(**OPTIONS)
def copy(to, source, size):
    """Copy `size` bytes."""
    vectors, words = size - size % VECTOR_BYTES, size - size % 8
    for at in range(0, vectors, VECTOR_BYTES):
        store(to + at, load(source + at))
    for at in range(vectors, words, 8):
        store_u64(to + at, load_u64(source + at))
    for at in range(words, size):
        store_u8(to + at, load_u8(source + at))


@njit(**OPTIONS)
def clear(to, size):
    """Write zeros to `size` bytes, a whole number of vectors."""
    for at in range(0, size, VECTOR_BYTES):
        store(to + at, zero())


@njit(**OPTIONS)
def fill_up(to, source, n, item, padding):
    """Copy `n` numbers of `item` bytes and fill the last vector up: with the last of them, or with
    zeros unless `padding`."""
    copy(to, source, n * item)
    for at in range(n * item, -(-n // LANES) * LANES * item):
        store_u8(to + at, load_u8(to + at - item) if padding else 0)


@njit(**OPTIONS)
def entered(source, stride, steps, n, item, padding, copied, room):
    """Where a block's rows can be read, and how far one is from the next: those of `n` numbers at
    `source`, `stride` bytes apart, or copies of them, `room` bytes apart. A stride of 0 is one row
    for every step."""
    if n % LANES == 0:
        return source, stride
    for t in range(steps if stride else 1):
        fill_up(copied + t * room, source + t * stride, n, item, padding)
    return copied, room if stride else 0


@njit(**OPTIONS)
def placed(to, stride, n, copied, room):
    """Where a block's rows are written, and how far one is from the next: at `to`, or in a copy."""
    if n % LANES == 0:
        return to, stride
    return copied, room


@njit(**OPTIONS)
def left(to, stride, steps, n, item, copied, room):
    """Write back what was computed in a copy."""
    if n % LANES:
        for t in range(steps):
            copy(to + t * stride, copied + t * room, n * item)


@njit(**OPTIONS)
def left_bits(to, stride, steps, n, copied, room):
    """Write `n` bits of each row, and zeros up to the end of the last byte."""
    for t in range(steps):
        copy(to + t * stride, copied + t * room, n // 8)
        if n % 8:
            rest = load_u8(copied + t * room + n // 8) & ((1 << n % 8) - 1)
            store_u8(to + t * stride + n // 8, rest)
