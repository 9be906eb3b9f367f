"""Transposes in registers: of LANES x LANES floats, and of 64 x 64 bits."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from clifctl.kernels.cpu.vectors import (
    I8,
    I32,
    I64,
    LANES,
    llvm_vector,
    operation,
    pointer,
    transposed,
)

_int, _none = types.int64, types.none


def _shuffled(b: Any, x: Any, y: Any, places: Sequence[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(places)), list(places)))


def _words_transposed(b: Any, rows: list[Any]) -> list[Any]:
    """n vectors of n words with rows and columns exchanged: in blocks of 1, 2, 4 ... the upper
    right is exchanged with the lower left."""
    n, block = len(rows), 1
    while block < n:
        upper = [p if p & block == 0 else n + p - block for p in range(n)]
        lower = [p + block if p & block == 0 else n + p for p in range(n)]
        for i in range(n):
            if i & block == 0:
                pair = rows[i], rows[i + block]
                rows[i], rows[i + block] = (_shuffled(b, *pair, to) for to in (upper, lower))
        block *= 2
    return rows


def _rows(b: Any, kind: ir.Type, at: Any, step: Any, count: int, align: int) -> list[Any]:
    places = (b.add(at, b.mul(step, I64(row))) for row in range(count))
    return [b.load(pointer(b, place, kind), align=align) for place in places]


def _transpose_floats(b: Any, v: Sequence[Any]) -> None:
    source, source_step, to, to_step = v
    rows = _rows(b, llvm_vector("f32", LANES), source, source_step, LANES, 4)
    for i, column in enumerate(transposed(b, rows)):
        b.store(column, pointer(b, b.add(to, b.mul(to_step, I64(i))), column.type), align=4)


def _transpose_bits(b: Any, v: Sequence[Any]) -> None:
    source, to, to_step = v
    octets, words = ir.VectorType(I8, 64), ir.VectorType(I64, 8)
    # Of eight words at a time: all first bytes, all second bytes, and so on.
    places = [8 * word + byte for byte in range(8) for word in range(8)]
    rows = _rows(b, octets, source, I64(64), 8, 1)
    rows = [b.bitcast(_shuffled(b, row, row, places), words) for row in rows]
    for byte, row in enumerate(_words_transposed(b, rows)):
        x = b.bitcast(row, octets)
        for bit in range(7, -1, -1):
            signs = b.bitcast(b.icmp_signed("<", x, ir.Constant(octets, [0] * 64)), I64)
            at = b.add(to, b.mul(to_step, I64(8 * byte + bit)))
            b.store(signs, pointer(b, at, I64), align=1)
            x = b.add(x, x)


# transpose_floats(source, source_step, to, to_step): LANES rows of LANES floats, the rows `*_step`
# bytes apart.
transpose_floats = operation(_none, (_int, _int, _int, _int), _transpose_floats)
# transpose_bits(source, to, to_step): bit j of word i of 64 words becomes bit i of word j of 64
# words that are `to_step` bytes apart.
transpose_bits = operation(_none, (_int, _int, _int), _transpose_bits)
