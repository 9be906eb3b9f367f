"""Arrays of numpy in files that somebody else may have made, .npy and .npz.

numpy reads what a file declares. Here the declared sizes are read first, and must fit what is in
the file and in memory, before memory is taken; of an archive the arrays asked for are read, and
nothing else. Nothing is unpickled.
"""

import io
import math
import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.devices import available_memory_bytes
from clifctl.reading import ALWAYS_READ_BYTES, MIB, MOST_GROWTH, open_regular, size_bytes

Array = np.ndarray[Any, np.dtype[Any]]
MAGIC = b"\x93NUMPY"
MOST_HEADER_BYTES = 4096  # numpy writes 118, its header is parsed as Python
# A zip holds its directory in memory, some hundred bytes for each 46 of the file: one of an honest
# archive has a few hundred bytes.
MOST_DIRECTORY_BYTES = 4 * MIB
PACKED_BY = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_NAMED = 8  # arrays, in an error


class BadArchive(Exception):
    """A file that is no archive of plain arrays, or whose sizes do not hold; it is not named."""


class ArrayMissing(BadArchive):
    """A good archive without an array that is asked for."""


@dataclass(frozen=True)
class Declared:
    """What the header of an array says: `offset` is the size of the header [bytes]."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements * self.dtype.itemsize


def read_arrays(path: Path, names: Collection[str], *, used_as: int = 1) -> dict[str, Array]:
    """The arrays `names` of an .npz, and no other, whose elements are to become numbers of
    `used_as` bytes or more. Raises BadArchive (ArrayMissing), OSError."""
    with _opened(path) as archive:
        members = _members(archive)
        for name in names:
            if name not in members:
                held = [*list(members)[:MOST_NAMED], *(["..."] * (len(members) > MOST_NAMED))]
                raise ArrayMissing(f"no array '{name}', it has {', '.join(held) or 'none'}")
        wanted = {name: members[name] for name in names}
        found = [_member_declared(archive, info) for info in wanted.values()]
        needed = sum(one.elements * max(used_as, one.dtype.itemsize) for one in found)
        packed = sum(info.compress_size for info in wanted.values())
        if needed > max(ALWAYS_READ_BYTES, MOST_GROWTH * packed):
            raise BadArchive(
                f"its arrays of {packed:,} bytes would become {needed:,}: write them uncompressed, "
                "with numpy.savez"
            )
        require_memory(needed)
        return {name: _member(archive, info) for name, info in wanted.items()}


def array_names(path: Path) -> set[str]:
    """The names of the arrays of an .npz. Raises BadArchive, OSError."""
    with _opened(path) as archive:
        return set(_members(archive))


def read_array(path: Path) -> Array:
    """The array of an .npy file. Raises BadArchive, OSError."""
    with _refusing(), open_regular(path) as file:
        require_memory(_file_declared(file).size_bytes)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def map_array(path: Path) -> Array:
    """The array of an .npy file, mapped into memory. Raises BadArchive, OSError."""
    with _refusing(), open_regular(path) as file:
        found = _file_declared(file)
        if not found.size_bytes:
            return np.zeros(found.shape, found.dtype)
        order: Any = "F" if found.fortran else "C"
        return np.memmap(file, found.dtype, "r", found.offset, found.shape, order)


class _Portions(io.BufferedReader):
    """A file that gives no more than a portion at once: a zip reads its whole directory so."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY_BYTES:
            raise BadArchive(f"a part of {size:,} bytes that has to be read at once")
        return super().read(size)


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever goes wrong within it is BadArchive, or OSError where the system refuses."""
    try:
        yield
    except (BadArchive, OSError):
        raise
    except Exception as broken:
        # Broken bytes make zip and numpy raise anything; the file is refused as a whole.
        raise BadArchive(str(broken).partition(". ")[0] or type(broken).__name__) from broken


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with _refusing(), open_regular(path) as file:
        portions = _Portions(file.raw)
        try:
            with zipfile.ZipFile(portions) as archive:
                yield archive
        finally:
            portions.detach()


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """name of an array -> its file in the archive."""
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _member_declared(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Declared:
    """What the array `info` is, if its size is that of its file."""
    if info.compress_type not in PACKED_BY:
        raise BadArchive(f"'{info.filename}' is compressed in a way that numpy never uses")
    with archive.open(info) as member:
        found = _header(member, info.filename)
    held = info.file_size - found.offset
    if found.size_bytes != held:
        raise BadArchive(
            f"'{info.filename}' declares {found.size_bytes:,} bytes and holds {max(held, 0):,}"
        )
    return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        # To the end, where a zip compares the checksum.
        if member.read(1):
            raise BadArchive(f"'{info.filename}' holds more than it declares")
        return array


def _file_declared(file: BufferedReader) -> Declared:
    found = _header(file, "it")
    held = size_bytes(file) - found.offset
    if found.size_bytes != held:
        raise BadArchive(f"it declares {found.size_bytes:,} bytes and holds {held:,}")
    return found


def _header(file: Any, name: str) -> Declared:
    """The header of an array of numpy's formats 1.0 and 2.0. Raises BadArchive, ValueError."""
    start = file.read(8)
    size = 2 if start[6:7] == b"\x01" else 4
    if start[:6] != MAGIC or start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise BadArchive(f"'{name}' is not a plain numpy array")
    length_bytes = file.read(size)
    (length,) = struct.unpack("<H" if size == 2 else "<I", length_bytes)
    if length > MOST_HEADER_BYTES:
        raise BadArchive(f"'{name}' has a header of {length:,} bytes")
    text = io.BytesIO(length_bytes + file.read(length))
    versions: Any = np.lib.format
    read = versions.read_array_header_1_0 if size == 2 else versions.read_array_header_2_0
    shape, fortran, dtype = read(text, max_header_size=MOST_HEADER_BYTES)
    if dtype.hasobject or not all(type(n) is int and n >= 0 for n in shape):
        raise BadArchive(f"'{name}' is not a plain numpy array: {dtype} of shape {shape}")
    return Declared(shape, fortran, dtype, 8 + size + length)


def require_memory(needed: int) -> None:
    """Raise BadArchive where so many bytes are not free."""
    free = available_memory_bytes()
    if free is not None and needed > free:
        raise BadArchive(
            f"arrays of {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB of memory are free"
        )
