"""Pickles of other people, read without running anything: numpy arrays and plain values alone."""

import io
import pickle
from typing import Any

import numpy as np


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are written as {encoding}")
    return text.encode("latin1")


# numpy's own constructors of arrays, by the names under which its versions 1 and 2 pickle them.
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): constructor
        for core in ("core", "_core")
        for module, name, constructor in (
            ("multiarray", "_reconstruct", _RECONSTRUCT),
            ("numeric", "_frombuffer", _FROM_BUFFER),
        )
    },
}


class _PlainUnpickler(pickle.Unpickler):
    """Builds arrays, bytes, text, numbers, lists, tuples and dicts, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not run") from None


def load_plain(content: bytes) -> Any:
    """What the pickle `content` holds; Python 2's text is read as latin-1, as torchvision does.

    Raises whatever broken bytes make the unpickler raise, UnpicklingError for anything but arrays
    and plain values.
    """
    return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
