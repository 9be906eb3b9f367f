"""Pickles of other people, read without running them: arrays of bytes and whole numbers, text,
numbers, lists, tuples and dicts.

A pickle is a program for a machine with a stack. This module is such a machine of its own, which
knows the instructions that make plain values, and for numpy's constructors has stand-ins that hold
what they were given: no constructor of numpy, and nothing else that a pickle names, is called with
its arguments. An array is made here, of bytes that are in the file, once its shape fits them.
"""

import codecs
import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# An honest batch has three instructions a sample and list; each takes 100 bytes of memory at most.
MOST_INSTRUCTIONS = 2_000_000
MOST_NAME = 80  # characters of a foreign name that an error repeats
TYPES = frozenset({"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"})

# What makes arrays and bytes, by the names that versions of numpy and Python have for it.
NDARRAY, DTYPE, RECONSTRUCT, FROM_BUFFER = "ndarray", "dtype", "_reconstruct", "_frombuffer"
ENCODE, BYTES = "encode", "bytes"
_NAMES: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): DTYPE,
    ("_codecs", "encode"): ENCODE,
    ("__builtin__", "bytes"): BYTES,
    ("builtins", "bytes"): BYTES,
    **{
        (f"numpy.{core}.{module}", name): name
        for core in ("core", "_core")
        for module, name in (("multiarray", RECONSTRUCT), ("numeric", FROM_BUFFER))
    },
}


@dataclass(frozen=True)
class _Named:
    """A name that a pickle asks for: nothing that can be called."""

    name: str


@dataclass
class _Type:
    """What stands in for a numpy.dtype: one of TYPES, and its byte order."""

    code: str
    order: str = "="

    def array(self, shape: Any, raw: Any, order: str) -> "np.ndarray[Any, np.dtype[Any]]":
        """`raw` as an array, without a copy."""
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("an array with an invalid shape")
        if isinstance(raw, str):  # Python 2 has no other bytes
            raw = raw.encode("latin1")
        dtype = np.dtype(self.order + self.code)
        if not isinstance(raw, bytes) or math.prod(shape) * dtype.itemsize != len(raw):
            raise pickle.UnpicklingError("an array whose shape does not fit its bytes")
        if order not in ("C", "F"):
            raise pickle.UnpicklingError("an array in an unknown order")
        return np.ndarray(shape, dtype, raw, order="F" if order == "F" else "C")


@dataclass
class _Array:
    """What stands in for an array until its content comes."""

    content: "np.ndarray[Any, np.dtype[Any]] | None" = None


class _Bytes:
    """The bytes of a pickle, taken from front to end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises UnpicklingError where there are fewer."""
        end = self._place + count
        if end > len(self._content):
            raise pickle.UnpicklingError("it is cut off")
        taken = self._content[self._place : end]
        self._place = end
        return taken

    def counted(self, size: int) -> bytes:
        """As many bytes as a number of `size` bytes says."""
        return self.take(self.number(size))

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> bytes:
        """The bytes until the end of a line, which is passed over."""
        end = self._content.find(b"\n", self._place)
        if end < 0:
            raise pickle.UnpicklingError("it is cut off")
        return self.take(end + 1 - self._place)[:-1]


def _whole(line: bytes) -> int | bool:
    booleans: dict[bytes, bool] = {b"00": False, b"01": True}
    return booleans[line] if line in booleans else int(line)


def _quoted(line: bytes) -> str:
    """Text of Python 2, in quotes and with escapes."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise pickle.UnpicklingError("text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def _signed(taken: bytes) -> int:
    return int.from_bytes(taken, "little", signed=True)


def _text(taken: bytes) -> str:
    return str(taken, "utf-8", "surrogatepass")


# Instructions that put a value on the stack. Python 2's text is read as latin-1, as torchvision
# does. LONG4 is not there: it is for numbers of more than 255 bytes.
_VALUES: dict[bytes, Callable[[_Bytes], Any]] = {
    pickle.NONE: lambda rest: None,
    pickle.NEWTRUE: lambda rest: True,
    pickle.NEWFALSE: lambda rest: False,
    pickle.INT: lambda rest: _whole(rest.line()),
    pickle.BININT: lambda rest: _signed(rest.take(4)),
    pickle.BININT1: lambda rest: rest.number(1),
    pickle.BININT2: lambda rest: rest.number(2),
    pickle.LONG: lambda rest: int(rest.line().removesuffix(b"L")),
    pickle.LONG1: lambda rest: _signed(rest.counted(1)),
    pickle.FLOAT: lambda rest: float(rest.line()),
    pickle.BINFLOAT: lambda rest: struct.unpack(">d", rest.take(8))[0],
    pickle.STRING: lambda rest: _quoted(rest.line()),
    pickle.BINSTRING: lambda rest: rest.counted(4).decode("latin1"),
    pickle.SHORT_BINSTRING: lambda rest: rest.counted(1).decode("latin1"),
    pickle.BINBYTES: lambda rest: rest.counted(4),
    pickle.SHORT_BINBYTES: lambda rest: rest.counted(1),
    pickle.BINBYTES8: lambda rest: rest.counted(8),
    pickle.BYTEARRAY8: lambda rest: rest.counted(8),
    pickle.UNICODE: lambda rest: rest.line().decode("raw-unicode-escape"),
    pickle.BINUNICODE: lambda rest: _text(rest.counted(4)),
    pickle.SHORT_BINUNICODE: lambda rest: _text(rest.counted(1)),
    pickle.BINUNICODE8: lambda rest: _text(rest.counted(8)),
    pickle.EMPTY_LIST: lambda rest: [],
    pickle.EMPTY_TUPLE: lambda rest: (),
    pickle.EMPTY_DICT: lambda rest: {},
}
# Where a value is kept, and where it is taken from again: by a number in so many bytes, or a line.
_PUT = {pickle.PUT: 0, pickle.BINPUT: 1, pickle.LONG_BINPUT: 4}
_GET = {pickle.GET: 0, pickle.BINGET: 1, pickle.LONG_BINGET: 4}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}


class _Machine:
    """Runs one pickle."""

    def __init__(self, content: bytes) -> None:
        self._rest = _Bytes(content)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._kept: dict[int, Any] = {}
        self._numbers = len(content)  # kept values have smaller numbers: each takes an instruction
        self._encodable = len(content)  # characters; so many are in the file
        self._steps: dict[bytes, Callable[[], None]] = {
            pickle.PROTO: self._protocol,
            pickle.FRAME: lambda: self._drop(8),
            pickle.MARK: lambda: self._marks.append(len(self._stack)),
            pickle.TUPLE: lambda: self._push(tuple(self._marked())),
            pickle.LIST: lambda: self._push(self._marked()),
            pickle.DICT: lambda: self._fill({}, self._marked()),
            pickle.APPEND: lambda: self._extend(self._popped(1)),
            pickle.APPENDS: lambda: self._extend(self._marked()),
            pickle.SETITEM: lambda: self._fill(None, self._popped(2)),
            pickle.SETITEMS: lambda: self._fill(None, self._marked()),
            pickle.MEMOIZE: lambda: self._keep(len(self._kept)),
            pickle.GLOBAL: lambda: self._name(self._rest.line(), self._rest.line()),
            pickle.STACK_GLOBAL: lambda: self._name(*self._popped(2)),
            pickle.REDUCE: self._reduce,
            pickle.BUILD: self._build,
        }

    def run(self) -> Any:
        for _ in range(MOST_INSTRUCTIONS):
            instruction = self._rest.take(1)
            if instruction in _VALUES:
                self._push(_VALUES[instruction](self._rest))
            elif instruction in _PUT:
                self._keep(self._number(_PUT[instruction]))
            elif instruction in _GET:
                self._push(self._kept_as(self._number(_GET[instruction])))
            elif instruction in _TUPLES:
                self._push(tuple(self._popped(_TUPLES[instruction])))
            elif instruction in self._steps:
                self._steps[instruction]()
            elif instruction == pickle.STOP:
                return self._popped(1)[0]
            else:
                raise pickle.UnpicklingError(f"the instruction {instruction!r} is not run")
        raise pickle.UnpicklingError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _popped(self, count: int) -> list[Any]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise pickle.UnpicklingError("its stack is empty")
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        if not self._marks:
            raise pickle.UnpicklingError("it has no mark")
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise pickle.UnpicklingError("a value of another kind is on its stack")
        return self._stack[-1]

    def _protocol(self) -> None:
        if self._rest.number(1) > pickle.HIGHEST_PROTOCOL:
            raise pickle.UnpicklingError("it is of a later protocol")

    def _drop(self, count: int) -> None:
        self._rest.take(count)

    def _number(self, size: int) -> int:
        return self._rest.number(size) if size else int(self._rest.line())

    def _keep(self, number: int) -> None:
        if not self._stack or not 0 <= number < self._numbers:
            raise pickle.UnpicklingError(f"it keeps nothing, or as number {number}")
        self._kept[number] = self._stack[-1]

    def _kept_as(self, number: int) -> Any:
        if number not in self._kept:
            raise pickle.UnpicklingError(f"it has kept nothing as number {number}")
        value = self._kept[number]
        return value.content if isinstance(value, _Array) and value.content is not None else value

    def _extend(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _fill(self, made: dict[Any, Any] | None, values: list[Any]) -> None:
        """Put keys and values in turn into a new dict, or into the one on the stack."""
        if made is not None:
            self._push(made)
        keys = values[::2]
        # Nothing else: a tuple in tuples without end cannot be hashed, and numbers can be chosen so
        # that a dict of them takes for ever.
        if len(values) % 2 or not all(type(key) in (str, bytes) for key in keys):
            raise pickle.UnpicklingError("a key of a dict is not text")
        self._top(dict).update(zip(keys, values[1::2], strict=True))

    def _name(self, module: Any, name: Any) -> None:
        module, name = (
            part.decode("latin1") if isinstance(part, bytes) else str(part)[: MOST_NAME + 1]
            for part in (module, name)
        )
        known = _NAMES.get((module, name))
        if known is None:
            asked = ascii(f"{module}.{name}"[:MOST_NAME])[1:-1]
            raise pickle.UnpicklingError(f"it asks for {asked}, which is not run")
        self._push(_Named(known))

    def _reduce(self) -> None:
        """What an honest pickle calls a constructor for, by its name."""
        called, arguments = self._popped(2)
        if not isinstance(called, _Named) or type(arguments) is not tuple:
            raise pickle.UnpicklingError("it calls what is no name")
        match called.name, arguments:
            case "dtype", (str(code), *_) if code in TYPES:
                made: Any = _Type(code)
            case "dtype", (str(code), *_):
                raise pickle.UnpicklingError(
                    f"it holds an array of '{ascii(code[:MOST_NAME])[1:-1]}', no bytes or whole "
                    "numbers"
                )
            case "_reconstruct", (_Named("ndarray"), *_):
                made = _Array()
            case "_frombuffer", (raw, _Type() as kind, shape, order):
                made = kind.array(shape, raw, order)
            case "encode", (str(text), "latin1"):
                self._encodable -= len(text)
                if self._encodable < 0:
                    raise pickle.UnpicklingError("it would make more bytes than it holds")
                made = text.encode("latin1")
            case "bytes", ():
                made = b""
            case _:
                raise pickle.UnpicklingError(f"it calls {called.name} in an unknown way")
        self._push(made)

    def _build(self) -> None:
        """The byte order of a type, or the content of an array; nothing else has a state."""
        (state,) = self._popped(1)
        target = self._stack[-1] if self._stack else None
        match target, state:
            case _Type(), (3, ("|" | "<" | ">" | "=") as order, None, None, None, -1, -1, 0):
                target.order = order
            case _Array(content=None), (1, shape, _Type() as kind, fortran, raw):
                target.content = kind.array(shape, raw, "F" if fortran else "C")
                self._stack[-1] = target.content
            case _:
                raise pickle.UnpicklingError("it sets the state of what has none")


def load_plain(content: bytes) -> Any:
    """What the pickle `content` holds. Memory is taken for what is in it, and for a few times as
    much at most.

    Raises UnpicklingError for anything but plain values and arrays of whole numbers, ValueError and
    TypeError for numbers and text that are none.
    """
    return _Machine(content).run()
