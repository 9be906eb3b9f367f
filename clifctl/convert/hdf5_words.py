"""Words in an HDF5 file: variable-length strings, out of the heaps that they lie in.

The library goes round for ever in some heaps that are damaged. A heap is a signature and a size,
then objects, each with a number and a size (HDF5 file format 3.0, III.E); a word is stored as its
length, the place of its heap and its number there. Here each step goes forward, within the file.
"""

import struct
from io import BufferedReader

from clifctl.reading import MIB, size_bytes

POINTER = struct.Struct("<IQI")  # length, place of the heap, number in it
POINTER_BYTES = POINTER.size
_HEAP = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")
_MOST_HEAP_BYTES = 64 * MIB
_MOST_WORD_BYTES = 1024


def words_at(file: BufferedReader, offset: int, count: int) -> list[bytes]:
    """The `count` words whose pointers begin at `offset`. Raises ValueError."""
    position = file.tell()
    try:
        pointers = _read(file, offset, count * POINTER_BYTES)
        heaps: dict[int, dict[int, bytes]] = {}
        found = []
        for length, place, number in POINTER.iter_unpack(pointers):
            if length > _MOST_WORD_BYTES:
                raise ValueError(f"a word of {length:,} bytes")
            if place not in heaps:
                heaps[place] = _heap(file, place)
            word = heaps[place].get(number)
            if word is None or length > len(word):
                raise ValueError("a word is missing in its heap")
            found.append(word[:length])
        return found
    finally:
        file.seek(position)


def _heap(file: BufferedReader, place: int) -> dict[int, bytes]:
    """The objects of the heap at `place`, those that may be words."""
    signature, version, size = _HEAP.unpack(_read(file, place, _HEAP.size))
    if signature != b"GCOL" or version != 1 or not _HEAP.size <= size <= _MOST_HEAP_BYTES:
        raise ValueError("a heap of words is damaged")
    content = _read(file, place + _HEAP.size, size - _HEAP.size)
    found = {}
    at = 0
    while at + _OBJECT.size <= len(content):
        number, _, _, length = _OBJECT.unpack_from(content, at)
        if number == 0:  # the free space, which is last
            break
        at += _OBJECT.size
        if length <= _MOST_WORD_BYTES:
            found[number] = content[at : at + length]
        at += -(-length // 8) * 8
    return found


def _read(file: BufferedReader, place: int, size: int) -> bytes:
    if place + size > size_bytes(file):
        raise ValueError("it points beyond the end of the file")
    file.seek(place)
    return file.read(size)
