"""Groups of vectors in numba: as many sums at once as there are registers for.

A dot product adds up in the lanes of a vector, which have to be added up themselves at the end. Of
LANES dot products that is done at once, by shuffles that bring each total to a lane of its own.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from clifctl.kernels.cpu.vectors import (
    FLOATS,
    I16,
    I32,
    I64,
    LANES,
    VECTOR_BYTES,
    call,
    llvm_vector,
    operation,
    pointer,
)

_int, _FLOATS = types.int64, llvm_vector("f32", LANES)


def _group(b: Any, values: Sequence[Any]) -> Any:
    group = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
    for place, value in enumerate(values):
        group = b.insert_value(group, value, place)
    return group


def _members(b: Any, group: Any) -> list[Any]:
    return [b.extract_value(group, place) for place in range(group.type.count)]


def _listed(b: Any, v: Sequence[Any], size: int) -> Any:
    base, entries, unit = v
    found = []
    for place in range(size):
        entry = b.load(pointer(b, b.add(entries, I64(2 * place)), I16), align=2)
        found.append(b.add(base, b.mul(b.zext(entry, I64), unit)))
    return _group(b, found)


def _products(b: Any, v: Sequence[Any], vectors: int) -> Any:
    sums, first, addresses, offset = _members(b, v[0]), v[1], _members(b, v[2]), v[3]

    muladd = f"llvm.fmuladd.v{LANES}f32"

    def vector(at: Any, number: int) -> Any:
        return b.load(pointer(b, b.add(at, I64(VECTOR_BYTES * number)), _FLOATS), align=4)

    weights = [vector(first, number) for number in range(vectors)]
    # Four sums at a time: enough to keep the processor busy, and few addresses in registers.
    for start in range(0, len(sums), 4):
        some = range(start, min(start + 4, len(sums)))
        at = {place: b.add(addresses[place], offset) for place in some}
        for number, weight in enumerate(weights):
            for place in some:
                x = vector(at[place], number)
                sums[place] = call(b, muladd, _FLOATS, [weight, x, sums[place]])
    return _group(b, sums)


def _folded(b: Any, x: Any, y: Any, distance: int) -> Any:
    """The sums of lanes at a distance: x's in the lanes whose number lacks this bit, y's in the
    others."""
    lanes = range(LANES)
    own = [p + LANES if p & distance else p for p in lanes]
    far = [p + LANES - distance if p & distance else p + distance for p in lanes]
    parts = (b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, LANES), p)) for p in (own, far))
    return b.fadd(*parts)


def _totals(b: Any, v: Sequence[Any]) -> Any:
    sums = _members(b, v[0])
    sums += [ir.Constant(_FLOATS, [0.0] * LANES)] * (LANES - len(sums))
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [_folded(b, sums[i], sums[i + half], half) for i in range(half)]
    return sums[0]


# Vectors of weights that are kept in registers at once, at most.
RUN = 4


class Group:
    """Operations on `size` vectors, LANES at most, that are handed on as one value.

    zeros()                                a group of zeros
    listed(base, entries, unit)            addresses: base + unit * each 16-bit number at `entries`
    moved(addresses, by)                   addresses + by
    products[n](sums, weights, addresses, offset)
        each sum + the sum of the products of the n vectors at `weights` with those at its address +
        offset
    totals(sums)                           the vector of each sum's total, 0 behind them
    """

    def __init__(self, size: int) -> None:
        sums, addresses = types.UniTuple(FLOATS, size), types.UniTuple(_int, size)
        zeros = [ir.Constant(_FLOATS, [0.0] * LANES)] * size
        self.zeros = operation(sums, (), lambda b, v: _group(b, zeros))
        self.listed = operation(addresses, (_int, _int, _int), lambda b, v: _listed(b, v, size))
        self.moved = operation(
            addresses,
            (addresses, _int),
            lambda b, v: _group(b, [b.add(address, v[1]) for address in _members(b, v[0])]),
        )
        self.products = {n: self._products(sums, addresses, n) for n in range(1, RUN + 1)}
        self.totals = operation(FLOATS, (sums,), _totals)

    @staticmethod
    def _products(sums: Any, addresses: Any, n: int) -> Any:
        takes = (sums, _int, addresses, _int)
        return operation(sums, takes, lambda b, v: _products(b, v, n))
