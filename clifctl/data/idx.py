"""The idx format of MNIST (LeCun, Cortes and Burges): arrays of bytes behind a header in big-endian
order, as they are or in gzip.

A file declares its sizes first. They must fit what is in the file and in memory, before memory is
taken.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from clifctl.data.archives import Array, BadArchive, require_memory
from clifctl.reading import ALWAYS_READ_BYTES, MIB, MOST_GROWTH, open_regular, size_bytes

GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 8  # the format's number for this type of elements
MOST_FILE_BYTES = 1024 * MIB  # the largest published one has 47 MB
PORTION_BYTES = 256 * 1024


def read_idx(path: Path, dimensions: int) -> Array:
    """The bytes of an idx file of so many dimensions. Raises BadArchive, OSError."""
    with open_regular(path) as file:
        held = size_bytes(file)
        if held > MOST_FILE_BYTES:
            raise BadArchive(f"it has {held:,} bytes, at most {MOST_FILE_BYTES:,} are read")
        packed = file.peek(2)[:2] == GZIP
        content = _Content(_unpacked(file) if packed else _portions(file))
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


def _portions(file: BufferedReader) -> Iterator[bytes]:
    while portion := file.read(PORTION_BYTES):
        yield portion


def _unpacked(file: BufferedReader) -> Iterator[bytes]:
    """What a file of gzip holds, its checksum compared at the end. Raises BadArchive."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for portion in _portions(file):
        while portion:
            if unpacker.eof:
                raise BadArchive("something follows behind the end of what is packed")
            try:
                yield unpacker.decompress(portion, PORTION_BYTES)
            except zlib.error as broken:
                raise BadArchive(f"it cannot be unpacked: {broken}") from None
            portion = unpacker.unconsumed_tail or unpacker.unused_data
    if not unpacker.eof:
        raise BadArchive("it is cut off")


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
