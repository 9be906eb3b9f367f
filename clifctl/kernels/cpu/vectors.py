"""Vectors in numba: LLVM's `<n x float>` as values that kernels load, add and store.

numba leaves it to LLVM to find vectors in loops over scalars, and LLVM finds none in a sum whose
terms lie at addresses from a list. Here a vector is a numba type of its own, and an operation on it
is an intrinsic that emits one or two instructions of LLVM, which lowers them for the processor at
hand: nothing here names an instruction set. A vector has LANES numbers, as many as the widest
register of the processor holds (8 at least; two or four registers where they are narrower).

Memory is read and written through addresses (int64), without any check: who calls it answers for
every one of them.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

# What numba compiles for, such as +avx512f.
FEATURES = frozenset(cpu_target.target_context.codegen().magic_tuple()[-1].split(","))
# float32 numbers in a vector.
LANES = 16 if "+avx512f" in FEATURES else 8
# What a vector takes in memory.
VECTOR_BYTES = 4 * LANES

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
_ELEMENTS = {"f32": F32, "f64": F64, "i1": I1}


class VectorType(types.Type):
    """A vector of `lanes` elements of a kind: f32, f64, or i1 (a mask)."""

    def __init__(self, kind: str, lanes: int) -> None:
        self.kind = kind
        self.lanes = lanes
        super().__init__(name=f"Vector({kind}, {lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, llvm_vector(vector.kind, vector.lanes))


def llvm_vector(kind: str, lanes: int) -> ir.VectorType:
    """LLVM's type."""
    return ir.VectorType(_ELEMENTS[kind], lanes)


FLOATS, DOUBLES, MASK = (VectorType(kind, LANES) for kind in ("f32", "f64", "i1"))
_FLOATS, _MASK = (llvm_vector(kind, LANES) for kind in ("f32", "i1"))
_int, _float, _none = types.int64, types.float32, types.none

# (LLVM's builder, the arguments' values) -> the result's value, or None
Build = Callable[[Any, Sequence[Any]], Any]


def operation(returns: types.Type, takes: Sequence[types.Type], build: Build) -> Any:
    """A function for numba's code: `build` writes its instructions."""

    def define(typing_context: Any, *arguments: Any) -> Any:
        if len(arguments) != len(takes):
            raise TypeError(f"{len(takes)} arguments needed, got {len(arguments)}")

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            value = build(builder, values)
            return cgutils.get_null_value(I8.as_pointer()) if returns is _none else value

        return returns(*takes), generate

    # numba asks for the names of arguments, and has no use for any number of them.
    names = ["typing_context", *(f"a{place}" for place in range(len(takes)))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(define)


# --- memory -------------------------------------------------------------------------------------


def pointer(b: Any, address: Any, to: ir.Type) -> Any:
    """An address as LLVM's pointer to a type."""
    return b.inttoptr(address, to.as_pointer())


def _loaded(returns: types.Type, held: ir.Type, align: int) -> Any:
    """Load of a whole number of fewer bits, not signed, as int64, or of anything else as it is."""

    def build(b: Any, v: Sequence[Any]) -> Any:
        value = b.load(pointer(b, v[0], held), align=align)
        return b.zext(value, I64) if held in (I8, I16, I32) else value

    return operation(returns, (_int,), build)


def _stored(takes: types.Type, held: ir.Type, align: int) -> Any:
    def build(b: Any, v: Sequence[Any]) -> None:
        value = b.trunc(v[1], held) if held in (I8, I16, I32) else v[1]
        b.store(value, pointer(b, v[0], held), align=align)

    return operation(_none, (_int, takes), build)


# load_*(address), store_*(address, value); a vector's address need not be aligned.
load, store = _loaded(FLOATS, _FLOATS, 4), _stored(FLOATS, _FLOATS, 4)
load_float, store_float = _loaded(_float, F32, 4), _stored(_float, F32, 4)
load_u8, store_u8 = _loaded(_int, I8, 1), _stored(_int, I8, 1)
load_u16, store_u16 = _loaded(_int, I16, 1), _stored(_int, I16, 1)
load_u32, store_u32 = _loaded(_int, I32, 1), _stored(_int, I32, 1)
load_u64, store_u64 = _loaded(_int, I64, 1), _stored(_int, I64, 1)


def _numbers_at(typing_context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), generate


# numbers_at(address, like): a pointer to elements of the dtype of the array `like`, for `carray`.
numbers_at: Any = intrinsic(_numbers_at)


def call(b: Any, name: str, returns: ir.Type, arguments: Sequence[Any]) -> Any:
    kind = ir.FunctionType(returns, [argument.type for argument in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)


def _prefetch(write: int, level: int) -> Build:
    def build(b: Any, v: Sequence[Any]) -> None:
        arguments = [pointer(b, v[0], I8), I32(write), I32(level), I32(1)]
        call(b, "llvm.prefetch.p0", ir.VoidType(), arguments)

    return build


# The line at an address will be written to, or read some time later: into the second-level cache.
prefetch_to_write = operation(_none, (_int,), _prefetch(1, 3))
prefetch_to_read = operation(_none, (_int,), _prefetch(0, 2))

# --- arithmetic ---------------------------------------------------------------------------------


def splat_value(b: Any, value: Any, lanes: int) -> Any:
    """A vector whose every element is `value`."""
    kind = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = b.insert_element(undefined, value, I32(0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _muladd(b: Any, v: Sequence[Any]) -> Any:
    return call(b, f"llvm.fmuladd.v{LANES}f32", _FLOATS, v)


zero = operation(FLOATS, (), lambda b, v: ir.Constant(_FLOATS, [0.0] * LANES))
splat = operation(FLOATS, (_float,), lambda b, v: splat_value(b, v[0], LANES))
add = operation(FLOATS, (FLOATS, FLOATS), lambda b, v: b.fadd(*v))
sub = operation(FLOATS, (FLOATS, FLOATS), lambda b, v: b.fsub(*v))
mul = operation(FLOATS, (FLOATS, FLOATS), lambda b, v: b.fmul(*v))
# a * b + c, rounded once where the processor can, twice elsewhere.
muladd = operation(FLOATS, (FLOATS, FLOATS, FLOATS), _muladd)


def _sum(b: Any, v: Sequence[Any]) -> Any:
    x, lanes = v[0], LANES
    while lanes > 1:
        lanes //= 2
        halves = [
            b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), _indices(range(at, at + lanes)))
            for at in (0, lanes)
        ]
        x = b.fadd(*halves)
    return b.extract_element(x, I32(0))


def _indices(of: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(of)), list(of))


# The sum of all elements: first and second half, and so on.
total = operation(_float, (FLOATS,), _sum)

# --- several vectors at once ---------------------------------------------------------------------


class Wide(NamedTuple):
    """Operations on several times LANES floats, which LLVM spreads over as many registers.

    `load_first(address, count)` and `store_first(address, floats, count)` touch the first `count`
    of them alone; those that are not loaded are 0.
    """

    zero: Any
    splat: Any
    load: Any
    store: Any
    load_first: Any
    store_first: Any
    add: Any
    muladd: Any


@lru_cache
def wide(times: int) -> Wide:
    """Operations on `times` vectors at once."""
    lanes = times * LANES
    kind, held = VectorType("f32", lanes), llvm_vector("f32", lanes)
    nothing = ir.Constant(held, [0.0] * lanes)

    def mask(b: Any, count: Any) -> Any:
        counts = splat_value(b, b.trunc(count, I32), lanes)
        return b.icmp_unsigned("<", _indices(range(lanes)), counts)

    def load_first(b: Any, v: Sequence[Any]) -> Any:
        at = pointer(b, v[0], held)
        arguments = [at, I32(4), mask(b, v[1]), nothing]
        return call(b, f"llvm.masked.load.v{lanes}f32.p0", held, arguments)

    def store_first(b: Any, v: Sequence[Any]) -> None:
        at = pointer(b, v[0], held)
        arguments = [v[1], at, I32(4), mask(b, v[2])]
        call(b, f"llvm.masked.store.v{lanes}f32.p0", ir.VoidType(), arguments)

    def muladd(b: Any, v: Sequence[Any]) -> Any:
        return call(b, f"llvm.fmuladd.v{lanes}f32", held, v)

    return Wide(
        zero=operation(kind, (), lambda b, v: nothing),
        splat=operation(kind, (_float,), lambda b, v: splat_value(b, v[0], lanes)),
        load=_loaded(kind, held, 4),
        store=_stored(kind, held, 4),
        load_first=operation(kind, (_int, _int), load_first),
        store_first=operation(_none, (_int, kind, _int), store_first),
        add=operation(kind, (kind, kind), lambda b, v: b.fadd(*v)),
        muladd=operation(kind, (kind, kind, kind), muladd),
    )


# --- transposition ------------------------------------------------------------------------------


def transposed(b: Any, rows: Sequence[Any]) -> list[Any]:
    """LANES vectors as the columns of their matrix: four by four within 128 bits, then these."""

    def shuffled(x: Any, y: Any, pattern: Sequence[int]) -> Any:
        """In each 128 bits, elements 0..3 of x's and 4..7 of y's."""
        of = [
            4 * part + (place if place < 4 else place - 4 + LANES)
            for part in range(LANES // 4)
            for place in pattern
        ]
        return b.shuffle_vector(x, y, _indices(of))

    columns: list[list[Any]] = [[] for _ in range(4)]
    for first in range(0, LANES, 4):
        p, q, r, s = rows[first : first + 4]
        low, high = ((0, 4, 1, 5), (2, 6, 3, 7)), ((0, 1, 4, 5), (2, 3, 6, 7))
        pairs = [(shuffled(p, q, half), shuffled(r, s, half)) for half in low]
        for k in range(4):
            columns[k].append(shuffled(*pairs[k // 2], high[k % 2]))
    # columns[k][g] holds, in its part l, rows 4g..4g+3 of column 4l + k.
    parted = [_parts_transposed(b, column) for column in columns]
    return [parted[column % 4][column // 4] for column in range(LANES)]


def _parts_transposed(b: Any, vectors: list[Any]) -> list[Any]:
    """Of n vectors of n parts of 128 bits, part j of vector i becomes part i of vector j."""
    step, parts = 1, LANES // 4
    while step < parts:
        for i in (i for i in range(parts) if not i & step):
            x, y = vectors[i], vectors[i + step]
            for keeps, at in ((True, i), (False, i + step)):
                of: list[int] = []
                for part in range(parts):
                    if keeps:
                        source = part if not part & step else parts + part - step
                    else:
                        source = part + step if not part & step else parts + part
                    of += range(4 * source, 4 * source + 4)
                vectors[at] = b.shuffle_vector(x, y, _indices(of))
        step *= 2
    return vectors


# --- bits ---------------------------------------------------------------------------------------


def _non_zero(b: Any, v: Sequence[Any]) -> Any:
    x = b.load(pointer(b, v[0], _FLOATS), align=4)
    mask = b.fcmp_unordered("!=", x, ir.Constant(_FLOATS, [0.0] * LANES))
    return b.zext(b.bitcast(mask, ir.IntType(LANES)), I64)


# Bit i: whether the i-th of LANES floats at an address differs from 0 (NaN does).
non_zero_bits = operation(_int, (_int,), _non_zero)
# The place of the lowest bit that is set; undefined for 0.
lowest = operation(_int, (_int,), lambda b, v: b.cttz(v[0], I1(1)))
count_bits = operation(_int, (_int,), lambda b, v: b.ctpop(v[0]))


def _shift_right(b: Any, v: Sequence[Any]) -> Any:
    return b.lshr(v[0], v[1])


# Of 64 bits, whatever their sign.
shift_right = operation(_int, (_int, _int), _shift_right)


def _select_bits(b: Any, v: Sequence[Any]) -> Any:
    mask = b.bitcast(b.trunc(v[0], ir.IntType(LANES)), _MASK)
    return b.select(mask, splat_value(b, v[1], LANES), ir.Constant(_FLOATS, [0.0] * LANES))


# A number where one of the lowest LANES bits is set, else 0.
select_bits = operation(FLOATS, (_int, _float), _select_bits)
