"""Groups of vectors in numba: as many sums at once as there are registers for.

A dot product adds up in the lanes of a vector, which have to be added up themselves at the end. Of
LANES dot products that is done at once, by shuffles that bring each total to a lane of its own.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from clifctl.kernels.cpu.vectors import (
    FLOATS,
    I16,
    I32,
    I64,
    LANES,
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


def _muladd(b: Any, v: Sequence[Any]) -> Any:
    sums, x, addresses, offset = v
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    muladd = cgutils.get_or_insert_function(b.module, kind, f"llvm.fmuladd.v{LANES}f32")
    found = []
    for total, address in zip(_members(b, sums), _members(b, addresses), strict=True):
        y = b.load(pointer(b, b.add(address, offset), _FLOATS), align=4)
        found.append(b.call(muladd, [x, y, total]))
    return _group(b, found)


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


class Group:
    """Operations on `size` vectors, LANES at most, that are handed on as one value.

    zeros()                                a group of zeros
    listed(base, entries, unit)            addresses: base + unit * each 16-bit number at `entries`
    moved(addresses, by)                   addresses + by
    muladd(sums, x, addresses, offset)     each sum + x * the vector at its address + offset
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
        self.muladd = operation(sums, (sums, FLOATS, addresses, _int), _muladd)
        self.totals = operation(FLOATS, (sums,), _totals)
