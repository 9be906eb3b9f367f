"""What other code puts into its checkpoints beside weights, read so that nothing of it comes alive.

`torch.load(weights_only=True)` refuses every class that it does not know. The classes below are in
many checkpoints (timm's, Lightning's, whoever counts with numpy), so that their names are given
stand-ins: a number becomes Python's, anything else becomes nothing. The classes themselves are
never given to it, since pickle can call whatever it reaches: `numpy.dtype` for one.
"""

import struct
from typing import Any

# numpy's name of a type of number -> that of struct, for its bytes.
_NUMBERS = {
    **{"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "f2": "e", "f4": "f", "f8": "d"},
    **{"u1": "B", "u2": "H", "u4": "I", "u8": "Q"},
}
_ORDERS = {"<": "<", ">": ">", "|": "<"}
_Builtin = int | float | bool


class _Nothing:
    """An object of a class that is not read: it takes what it is given and keeps none of it."""

    __slots__ = ()

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _Dtype:
    """A `numpy.dtype`: how to read the bytes of one number, None where it is of no number."""

    __slots__ = ("_code", "_order")

    def __init__(self, name: object = None, *_: object) -> None:
        self._code = _NUMBERS.get(name) if isinstance(name, str) else None
        self._order: str | None = None

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        self._order = _ORDERS.get(order) if isinstance(order, str) else None

    def number(self, data: bytes) -> _Builtin | None:
        """The number that `data` is, None where it is none."""
        if self._code is None or self._order is None:
            return None
        form = struct.Struct(self._order + self._code)
        found: _Builtin | None = form.unpack(data)[0] if len(data) == form.size else None
        return found


def _scalar(dtype: object = None, data: object = None, *_: object) -> _Builtin | None:
    """A scalar of numpy as a number of Python."""
    return dtype.number(data) if isinstance(dtype, _Dtype) and isinstance(data, bytes) else None


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before numpy 2, and since
# What torch.serialization.safe_globals takes: what is built, and the name that a file calls it.
STAND_INS: list[Any] = [
    (_Dtype, "numpy.dtype"),
    (_Nothing, "numpy.ndarray"),
    *((_scalar, f"{module}.scalar") for module in _NUMPY),
    *((_Nothing, f"{module}._reconstruct") for module in _NUMPY),
    (_Nothing, "argparse.Namespace"),
    (_Nothing, "types.SimpleNamespace"),
    *(
        (_Nothing, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
]
