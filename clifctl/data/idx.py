"""The idx format of MNIST (LeCun, Cortes and Burges): arrays of bytes behind a header in big-endian
order, as they are or in gzip.

A file declares its sizes first. They must fit what is in the file and in memory, before memory is
taken.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clifctl.data.archives import Array, BadArchive, require_memory
from clifctl.data.gzip_files import is_packed, portions, unpacked
from clifctl.reading import ALWAYS_READ_BYTES, MIB, MOST_GROWTH, open_regular, size_bytes

UNSIGNED_BYTES = 8  # the format's number for this type of elements
MOST_FILE_BYTES = 1024 * MIB  # the largest published one has 47 MB


def read_idx(path: Path, dimensions: int) -> Array:
    """The bytes of an idx file of so many dimensions. Raises BadArchive, OSError."""
    with open_regular(path) as file:
        held = size_bytes(file)
        if held > MOST_FILE_BYTES:
            raise BadArchive(f"it has {held:,} bytes, at most {MOST_FILE_BYTES:,} are read")
        packed = is_packed(file)
        content = _Content(unpacked(file) if packed else portions(file))
        shape = _shape(content.take(4 + 4 * dimensions), dimensions)
        needed = math.prod(shape)
        if packed and needed > max(ALWAYS_READ_BYTES, MOST_GROWTH * held):
            raise BadArchive(f"its {held:,} bytes would become {needed:,}: unpack it with gunzip")
        if not packed and needed != (rest := held - 4 - 4 * dimensions):
            raise BadArchive(f"it declares {list(shape)}, {needed:,} bytes, and holds {rest:,}")
        require_memory(needed)
        array = np.empty(shape, dtype=np.uint8)
        content.fill(array.reshape(-1).data)
        content.end()
        return array


def header_of(shape: tuple[int, ...]) -> bytes:
    """The header of an idx file of bytes."""
    magic = UNSIGNED_BYTES << 8 | len(shape)
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


def _shape(header: bytes, dimensions: int) -> tuple[int, ...]:
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != (wanted := UNSIGNED_BYTES << 8 | dimensions):
        raise BadArchive(f"it begins with the number {magic:#010x}, not with {wanted:#010x}")
    return tuple(shape)


class _Content:
    """What is taken of `portions`, piece by piece. Raises BadArchive where they end too early."""

    def __init__(self, portions: Iterator[bytes]) -> None:
        self._portions = portions
        self._left = memoryview(b"")

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        taken = bytearray(count)
        self.fill(memoryview(taken))
        return bytes(taken)

    def fill(self, room: memoryview) -> None:
        """Fill `room` with the next bytes."""
        while len(room):
            if not len(self._left):
                portion = next(self._portions, None)
                if portion is None:
                    raise BadArchive("it is cut off")
                self._left = memoryview(portion)
            taken = min(len(room), len(self._left))
            room[:taken] = self._left[:taken]
            room, self._left = room[taken:], self._left[taken:]

    def end(self) -> None:
        """Raise BadArchive where anything is left."""
        if len(self._left) or any(self._portions):
            raise BadArchive("it holds more than it declares")
