"""What a neuron's step may do, on vectors of float32 or float64: LANES elements at a time.

Each operation rounds as torch's does, and NaN comes out where it does there. Comparisons give
masks.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from clifctl.kernels.cpu.vectors import (
    DOUBLES,
    F32,
    F64,
    FLOATS,
    I16,
    I32,
    LANES,
    MASK,
    VectorType,
    llvm_vector,
    operation,
    pointer,
    splat_value,
)

_FLOATS, _DOUBLES = (llvm_vector(kind, LANES) for kind in ("f32", "f64"))
_WHOLE, _HALVES = (ir.VectorType(kind, LANES) for kind in (I32, I16))
_int, _none = types.int64, types.none

# (LLVM's builder, LLVM's type of the vectors, the arguments) -> the result
Build = Callable[[Any, ir.VectorType, Sequence[Any]], Any]


def _elementwise(arity: int, build: Build, *, gives: VectorType | None = None) -> Any:
    """An operation on vectors of one precision, whichever; it `gives` a mask, or the same kind."""

    def define(typing_context: Any, *arguments: Any) -> Any:
        kind = arguments[-1]
        if kind not in (FLOATS, DOUBLES) or any(a is not kind for a in arguments):
            raise TypeError(f"vectors of one precision are needed, got {arguments}")
        return (gives or kind)(*arguments), _generated(build, _llvm(kind))

    return _intrinsic(define, arity)


def _generated(build: Build, kind: ir.VectorType) -> Any:
    return lambda context, builder, signature, values: build(builder, kind, values)


def _intrinsic(define: Any, arity: int) -> Any:
    # numba asks for the names of arguments, and has no use for any number of them.
    names = ["typing_context", *(f"a{place}" for place in range(arity))]
    how = inspect.Parameter.POSITIONAL_OR_KEYWORD
    define.__signature__ = inspect.Signature([inspect.Parameter(name, how) for name in names])
    return intrinsic(define)


def _llvm(vector: VectorType) -> ir.VectorType:
    return llvm_vector(vector.kind, vector.lanes)


def _call(b: Any, name: str, kind: ir.Type, arguments: Sequence[Any]) -> Any:
    function = ir.FunctionType(kind, [argument.type for argument in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, function, name), arguments)


def _of_llvm(name: str) -> Build:
    """An operation of LLVM's own on vectors."""

    def build(b: Any, kind: ir.VectorType, v: Sequence[Any]) -> Any:
        suffix = "f32" if kind.element == F32 else "f64"
        return _call(b, f"llvm.{name}.v{LANES}{suffix}", kind, v)

    return build


def _compare(name: str) -> Any:
    """A comparison as Python's: with NaN nothing is true but !=."""

    def build(b: Any, kind: ir.VectorType, v: Sequence[Any]) -> Any:
        return (b.fcmp_unordered if name == "!=" else b.fcmp_ordered)(name, *v)

    return _elementwise(2, build, gives=MASK)


def _extreme(name: str) -> Build:
    """The smaller or larger of two; NaN if either is."""

    def build(b: Any, kind: ir.VectorType, v: Sequence[Any]) -> Any:
        first, second = v
        wins = b.or_(b.fcmp_ordered(name, *v), b.fcmp_unordered("uno", first, first))
        return b.select(wins, first, second)

    return build


def _bounded(name: str) -> Build:
    """A number, or the bound that it goes beyond; NaN of NaN."""

    def build(b: Any, kind: ir.VectorType, v: Sequence[Any]) -> Any:
        number, bound = v
        return b.select(b.fcmp_ordered(name, bound, number), bound, number)

    return build


def _spike(b: Any, kind: ir.VectorType, v: Sequence[Any]) -> Any:
    """NaN is neither: it stays what it is."""
    zero, one = (ir.Constant(kind, [number] * LANES) for number in (0.0, 1.0))
    silent = b.select(b.fcmp_ordered("<", v[0], zero), zero, v[0])
    return b.select(b.fcmp_ordered(">=", v[0], zero), one, silent)


add = _elementwise(2, lambda b, kind, v: b.fadd(*v))
sub = _elementwise(2, lambda b, kind, v: b.fsub(*v))
mul = _elementwise(2, lambda b, kind, v: b.fmul(*v))
div = _elementwise(2, lambda b, kind, v: b.fdiv(*v))
neg = _elementwise(1, lambda b, kind, v: b.fneg(*v))
absolute = _elementwise(1, _of_llvm("fabs"))
minimum, maximum = (_elementwise(2, _extreme(name)) for name in "<>")
# at_most(number, bound), at_least(number, bound); the bound is not NaN.
at_most, at_least = (_elementwise(2, _bounded(name)) for name in "<>")
spike = _elementwise(1, _spike)
gt, ge, lt, le, eq, ne = map(_compare, (">", ">=", "<", "<=", "==", "!="))
# a * b + c, rounded once where the processor can, twice elsewhere.
muladd = _elementwise(3, _of_llvm("fmuladd"))

# --- masks --------------------------------------------------------------------------------------

both = operation(MASK, (MASK, MASK), lambda b, v: b.and_(*v))
either = operation(MASK, (MASK, MASK), lambda b, v: b.or_(*v))
inverse = operation(MASK, (MASK,), lambda b, v: b.not_(v[0]))


def _define_where(typing_context: Any, mask: Any, then: Any, other: Any) -> Any:
    if mask is not MASK or then is not other or then not in (FLOATS, DOUBLES, MASK):
        raise TypeError(f"a mask and two vectors of a kind are needed, got {(mask, then, other)}")
    return then(mask, then, other), _generated(lambda b, _, v: b.select(*v), _FLOATS)


# where(mask, then, else)
where = intrinsic(_define_where)


def _bits(b: Any, mask: Any) -> Any:
    return b.bitcast(mask, ir.IntType(LANES))


def _store_bits(b: Any, v: Sequence[Any]) -> None:
    b.store(_bits(b, v[1]), pointer(b, v[0], ir.IntType(LANES)), align=1)


def _is_any(b: Any, v: Sequence[Any]) -> Any:
    return b.icmp_unsigned("!=", _bits(b, v[0]), ir.IntType(LANES)(0))


# store_bits(address, mask): LANES bits; bit i % 8 of byte i // 8 is element i.
store_bits = operation(_none, (_int, MASK), _store_bits)
is_any = operation(types.boolean, (MASK,), _is_any)

# --- numbers in and out -------------------------------------------------------------------------


def _loaded(kind: ir.VectorType) -> Any:
    return lambda b, v: b.load(pointer(b, v[0], kind), align=1)


def _store(b: Any, v: Sequence[Any]) -> None:
    b.store(v[1], pointer(b, v[0], v[1].type), align=1)


def _broadcast(element: ir.Type) -> Any:
    """The number at an address, in every element."""
    return lambda b, v: splat_value(b, b.load(pointer(b, v[0], element), align=1), LANES)


def _load_bfloat16(b: Any, v: Sequence[Any]) -> Any:
    """bfloat16 is the upper half of a float32."""
    whole = b.zext(b.load(pointer(b, v[0], _HALVES), align=1), _WHOLE)
    return b.bitcast(b.shl(whole, _all(16)), _FLOATS)


def _store_bfloat16(b: Any, v: Sequence[Any]) -> None:
    """Rounded to even; NaN to one NaN."""
    whole = b.bitcast(v[1], _WHOLE)
    odd = b.and_(b.lshr(whole, _all(16)), _all(1))
    up = b.lshr(b.add(whole, b.add(odd, _all(0x7FFF))), _all(16))
    rounded = b.select(b.fcmp_unordered("uno", v[1], v[1]), _all(0x7FC0), up)
    b.store(b.trunc(rounded, _HALVES), pointer(b, v[0], _HALVES), align=1)


def _all(number: int) -> ir.Constant:
    return ir.Constant(_WHOLE, [number] * LANES)


def _exponent(b: Any, v: Sequence[Any]) -> Any:
    return b.bitcast(b.shl(b.bitcast(v[0], _WHOLE), _all(23)), _FLOATS)


load_floats = operation(FLOATS, (_int,), _loaded(_FLOATS))
load_doubles = operation(DOUBLES, (_int,), _loaded(_DOUBLES))
load_bfloat16 = operation(FLOATS, (_int,), _load_bfloat16)
store_floats = operation(_none, (_int, FLOATS), _store)
store_doubles = operation(_none, (_int, DOUBLES), _store)
store_bfloat16 = operation(_none, (_int, FLOATS), _store_bfloat16)
broadcast_float = operation(FLOATS, (_int,), _broadcast(F32))
broadcast_double = operation(DOUBLES, (_int,), _broadcast(F64))
floats = operation(
    FLOATS, (types.float64,), lambda b, v: splat_value(b, b.fptrunc(v[0], F32), LANES)
)
doubles = operation(DOUBLES, (types.float64,), lambda b, v: splat_value(b, v[0], LANES))
# The float32 whose exponent bits, and sign, are the lowest 9 bits of its argument.
exponent = operation(FLOATS, (FLOATS,), _exponent)


def _total(b: Any, v: Sequence[Any]) -> Any:
    """Of lanes one after the other, in double precision, whatever their number."""
    total = v[1]
    for lane in map(I32, range(LANES)):
        element = b.extract_element(v[0], lane)
        total = b.fadd(total, b.fpext(element, F64) if element.type == F32 else element)
    return total


def _define_total(typing_context: Any, vector: Any, before: Any) -> Any:
    if vector not in (FLOATS, DOUBLES):
        raise TypeError(f"a vector of numbers is needed, got {vector}")
    return types.float64(vector, types.float64), _generated(lambda b, _, v: _total(b, v), _FLOATS)


# total(vector, before): `before` and all its elements.
total = intrinsic(_define_total)


def _add_to_doubles(b: Any, v: Sequence[Any]) -> Any:
    at = pointer(b, v[0], _DOUBLES)
    numbers = v[1] if v[1].type == _DOUBLES else b.fpext(v[1], _DOUBLES)
    b.store(b.fadd(b.load(at, align=8), numbers), at, align=8)
    return cgutils.get_null_value(ir.IntType(8).as_pointer())


def _define_add_to_doubles(typing_context: Any, address: Any, vector: Any) -> Any:
    if vector not in (FLOATS, DOUBLES):
        raise TypeError(f"a vector of numbers is needed, got {vector}")
    return _none(_int, vector), _generated(lambda b, _, v: _add_to_doubles(b, v), _FLOATS)


# add_to_doubles(address, vector): add its elements to as many float64 numbers at an address.
add_to_doubles: Any = intrinsic(_define_add_to_doubles)
store_double = operation(
    _none, (_int, types.float64), lambda b, v: b.store(v[1], pointer(b, v[0], F64), align=1)
)


def _by_lane(name: str) -> Any:
    """A function of the C library, once for each element."""

    def build(b: Any, v: Sequence[Any]) -> Any:
        result = v[0]
        for lane in map(I32, range(LANES)):
            value = _call(b, name, F64, [b.extract_element(v[0], lane)])
            result = b.insert_element(result, value, lane)
        return result

    return operation(DOUBLES, (DOUBLES,), build)


exp_double, tanh_double = _by_lane("exp"), _by_lane("tanh")
