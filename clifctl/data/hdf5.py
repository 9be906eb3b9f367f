"""Numbers, and lists of numbers of different lengths, out of HDF5 files.

h5py finds where things lie in a file; what lies there is read here, out of a map of the file: its
library makes room for as many numbers as a file declares, and copies as many as another place in
the file says, without comparing the two. Nothing is read that a link, an external file or a filter
of somebody else's would have to give.
"""

import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np

from clifctl.data.archives import Array, ArrayMissing, BadArchive
from clifctl.data.gzip_files import is_packed, unpacked
from clifctl.reading import ALWAYS_READ_BYTES, MOST_GROWTH, open_regular, size_bytes

# How a list is referred to: its length, the place of a heap, and a number in that heap.
REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("number", "<u4")])
# A heap: "GCOL", a version, its size [bytes]; then, for each object, its number, two fields that
# are not needed, and its size.
HEAP = struct.Struct("<4sIQ")
OBJECT = struct.Struct("<HHIQ")
HEAP_MAGIC = b"GCOL"
ALIGNED = 8  # bytes
WIDTHS = (8, 8)  # bytes of a place and of a size in the file
DEFLATE, SHUFFLE = 1, 2  # HDF5's numbers for these filters


@dataclass(frozen=True)
class Lists:
    """Lists of numbers of type `dtype` in a file's `content`: where each begins [bytes], and how
    many numbers it has, `[lists]`."""

    content: Array
    dtype: np.dtype[Any]
    starts: Array
    lengths: Array

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> Array:
        """One list, as it lies in the file."""
        start, length = int(self.starts[number]), int(self.lengths[number])
        return np.frombuffer(self.content, self.dtype, length, start)


class Hdf5File:
    """An open file. Every method raises BadArchive where it has not what is asked for."""

    def __init__(self, file: Any, content: Array) -> None:
        self._file = file
        self._content = content
        if file.id.get_create_plist().get_sizes() != WIDTHS or file.userblock_size:
            raise BadArchive("it is laid out in a way that is not read: write it anew with h5py")

    def holds(self, name: str) -> bool:
        """Whether there is a dataset `name`."""
        try:
            self._dataset(name)
        except ArrayMissing:
            return False
        return True

    def numbers(self, name: str) -> Array:
        """The whole numbers `[N]` of the dataset `name`."""
        dataset = self._dataset(name)
        dtype = dataset.dtype
        if dtype.kind not in "iu" or dataset.id.get_type().get_size() != dtype.itemsize:
            raise BadArchive(f"'{name}' holds {dtype}, not whole numbers")
        return self._bytes(name, dataset, dtype.itemsize).view(dtype)

    def lists(self, name: str, kinds: str) -> Lists:
        """The lists of the dataset `name`, of numbers of numpy's `kinds`."""
        import h5py

        dataset = self._dataset(name)
        dtype = h5py.check_vlen_dtype(dataset.dtype)
        if not isinstance(dtype, np.dtype) or dtype.kind not in kinds:
            raise BadArchive(f"'{name}' holds {dtype or dataset.dtype}, not lists of numbers")
        return self._lists(name, dataset, dtype)

    def texts(self, name: str) -> list[str]:
        """The texts of the dataset `name`."""
        import h5py

        dataset = self._dataset(name)
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None:
            raise BadArchive(f"'{name}' holds {dataset.dtype}, not text")
        if kind.length is None:
            found = self._lists(name, dataset, np.dtype("u1"))
            texts = [found[number].tobytes() for number in range(len(found))]
        else:
            stored = self._bytes(name, dataset, kind.length)
            texts = [row.tobytes() for row in stored.reshape(-1, kind.length)]
        return [text.rstrip(b"\0 ").decode(errors="replace") for text in texts]

    def _dataset(self, name: str) -> Any:
        """The dataset `name`, of one dimension, that lies in this file itself."""
        import h5py

        place = self._file
        for part in name.split("/"):
            link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if link is None:
                raise ArrayMissing(f"it has no '{name}'")
            if not isinstance(link, h5py.HardLink):
                raise BadArchive(f"'{name}' is a link to somewhere else, which is not followed")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or place.ndim != 1:
            raise BadArchive(f"'{name}' is no list")
        if place.id.get_create_plist().get_external_count():
            raise BadArchive(f"'{name}' lies in another file, which is not read")
        return place

    def _lists(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> Lists:
        references = self._bytes(name, dataset, REFERENCE.itemsize).view(REFERENCE)
        lengths = references["length"].astype(np.int64)
        # Lists do not lie over each other in an honest file.
        if int(lengths.sum()) * dtype.itemsize > len(self._content):
            raise BadArchive(f"'{name}' declares {int(lengths.sum()):,} numbers, more than it has")
        starts = np.zeros(len(lengths), dtype=np.int64)
        heaps = _heaps(self._content, references["heap"][lengths > 0])
        for place in np.flatnonzero(lengths).tolist():
            _, heap, number = references[place].tolist()
            start, size = heaps[heap].get(number, (0, -1))
            if size != lengths[place] * dtype.itemsize:
                raise BadArchive(f"'{name}': list {place} is not where it should be, or cut off")
            starts[place] = start
        return Lists(self._content, dtype, starts, lengths)

    def _bytes(self, name: str, dataset: Any, item_bytes: int) -> Array:
        """What lies in the file for `dataset`, all of it."""
        import h5py

        needed, held = dataset.shape[0] * item_bytes, len(self._content)
        if needed > max(ALWAYS_READ_BYTES, MOST_GROWTH * held):
            raise BadArchive(f"'{name}' declares {needed:,} bytes, and the file has {held:,}")
        layout = dataset.id.get_create_plist().get_layout()
        if not needed:
            return np.zeros(0, dtype=np.uint8)
        if layout == h5py.h5d.COMPACT:  # within 64 KiB, as the format says
            return np.frombuffer(dataset[()].tobytes(), dtype=np.uint8)
        if layout == h5py.h5d.CHUNKED:
            return self._chunks(name, dataset, item_bytes)[:needed]
        start = dataset.id.get_offset() if layout == h5py.h5d.CONTIGUOUS else None
        if start is None or start + needed > held:
            raise BadArchive(f"'{name}' declares {needed:,} bytes that are not in the file")
        return self._content[start : start + needed]

    def _chunks(self, name: str, dataset: Any, item_bytes: int) -> Array:
        """As `_bytes`, of a dataset in parts of one size, with what fills the last one up."""
        (length,), size = dataset.chunks, dataset.shape[0]
        plist, part_bytes = dataset.id.get_create_plist(), length * item_bytes
        count = -(-size // length)
        if part_bytes > max(ALWAYS_READ_BYTES, len(self._content)):
            raise BadArchive(f"'{name}' lies in parts of {part_bytes:,} bytes")
        filters = [plist.get_filter(place)[0] for place in range(plist.get_nfilters())]
        infos: list[Any] = []
        dataset.id.chunk_iter(infos.append)
        found = {info.chunk_offset[0] // length: info for info in infos}
        if sorted(found) != list(range(count)):
            raise BadArchive(f"'{name}' declares {size:,} entries that are not in the file")
        parts = np.empty((count, part_bytes), dtype=np.uint8)
        for number, info in found.items():
            packed = self._content[info.byte_offset : info.byte_offset + info.size].tobytes()
            used = [f for place, f in enumerate(filters) if not info.filter_mask >> place & 1]
            part = _unfiltered(packed, used, part_bytes, item_bytes, name)
            if len(part) != part_bytes:
                raise BadArchive(f"'{name}' is cut off")
            parts[number] = np.frombuffer(part, dtype=np.uint8)
        return parts.reshape(-1)


def _unfiltered(
    packed: bytes, filters: Sequence[int], part_bytes: int, item_bytes: int, name: str
) -> bytes:
    """What `filters` have made `packed` of, at most one byte more than `part_bytes`."""
    for kind in reversed(filters):
        if kind == DEFLATE:
            packed = zlib.decompressobj().decompress(packed, part_bytes + 1)
        elif kind == SHUFFLE:
            planes = np.frombuffer(packed, dtype=np.uint8).reshape(item_bytes, -1)
            packed = planes.T.tobytes()
        else:
            raise BadArchive(f"'{name}' is packed in a way that is not read: h5repack -f NONE")
    return packed


def _heaps(content: Array, places: Array) -> dict[int, dict[int, tuple[int, int]]]:
    """Place of a heap -> number of an object -> where that begins, and its size [bytes]."""
    found, behind = {}, 0
    for place in np.unique(places).tolist():
        if place < behind:
            raise BadArchive("its heaps lie over each other")
        found[place], behind = _heap(content, place)
    return found


def _heap(content: Array, place: int) -> tuple[dict[int, tuple[int, int]], int]:
    """The objects of one heap, and the place behind it."""
    if place + HEAP.size > len(content):
        raise BadArchive("a heap of it is beyond its end: it is cut off")
    magic, _, size = HEAP.unpack_from(content.data, place)
    end = place + size
    if magic != HEAP_MAGIC or size < HEAP.size or end > len(content):
        raise BadArchive("a heap of it is none, or cut off")
    objects: dict[int, tuple[int, int]] = {}
    place += HEAP.size
    while place + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content.data, place)
        place += OBJECT.size
        if not number:  # what is left is free
            break
        if size > end - place:
            raise BadArchive("an object of it is cut off")
        objects[number] = (place, size)
        place += -(-size // ALIGNED) * ALIGNED
    return objects, end


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """The file `path`, packed with gzip or not; lists that were read out of it can be used when it
    is closed. What is packed is unpacked into a temporary file that nobody else sees.

    Raises BadArchive for whatever is wrong with the file, OSError where the system refuses it.
    """
    import h5py

    with open_regular(path) as file, ExitStack() as stack:
        place = str(path)
        if is_packed(file):
            place = _unpack(file, stack.enter_context(tempfile.NamedTemporaryFile()))
        try:
            content = np.memmap(place, dtype=np.uint8, mode="r")
            with h5py.File(place, "r", locking=False) as opened:
                yield Hdf5File(opened, content)
        except BadArchive:
            raise
        except Exception as broken:
            # The library raises whatever broken bytes make it raise; the file is refused as whole.
            said = str(broken).strip("'\"") or type(broken).__name__
            raise BadArchive(f"it is no HDF5 file, or cut off ({said})") from broken


def _unpack(file: BufferedReader, room: IO[bytes]) -> str:
    """Write what a packed file holds into `room`; its name."""
    most = max(ALWAYS_READ_BYTES, MOST_GROWTH * size_bytes(file))
    for portion in unpacked(file):
        if (most := most - len(portion)) < 0:
            raise BadArchive("it becomes far larger than it is: unpack it with gunzip")
        room.write(portion)
    room.flush()
    return room.name
