"""Files that are packed with gzip, a portion at a time."""

import zlib
from collections.abc import Iterator
from io import BufferedReader

from clifctl.data.archives import BadArchive

MAGIC = b"\x1f\x8b"
PORTION_BYTES = 256 * 1024


def is_packed(file: BufferedReader) -> bool:
    """Whether an open file begins as gzip does."""
    return file.peek(2)[:2] == MAGIC


def portions(file: BufferedReader) -> Iterator[bytes]:
    """What a file holds, packed or not."""
    while portion := file.read(PORTION_BYTES):
        yield portion


def unpacked(file: BufferedReader) -> Iterator[bytes]:
    """What a packed file holds, its checksum compared at the end. Raises BadArchive."""
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for portion in portions(file):
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
