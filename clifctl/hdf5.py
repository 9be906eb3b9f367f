"""Numbers, texts and lists of numbers out of HDF5 files that anybody may have made.

h5py finds where things lie in a file; what lies there is read here, out of a map of the file: its
library makes room for as many numbers as a file declares, copies as many as another place in the
file says without comparing the two, unpacks whatever a chunk holds, and goes round for ever in some
damaged heaps. Nothing is read that a link, another file or an unknown filter would have to give.
"""

import itertools
import math
import struct
import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.devices import available_memory_bytes
from clifctl.reading import ALWAYS_READ_BYTES, MOST_GROWTH, open_regular

Array = np.ndarray[Any, np.dtype[Any]]
# How a list or a text is referred to: its length, the place of a heap, and a number in that heap
# (HDF5 file format 3.0, III.E).
REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("number", "<u4")])
# A heap: "GCOL", a version, its size [bytes]; then, for each object, its number, two fields that
# are not needed, and its size.
HEAP = struct.Struct("<4sIQ")
OBJECT = struct.Struct("<HHIQ")
HEAP_MAGIC = b"GCOL"
ALIGNED = 8  # bytes
WIDTHS = (8, 8)  # bytes of a place and of a size in the file
DEFLATE, SHUFFLE = 1, 2  # HDF5's numbers for these filters
MOST_SAID = 160  # characters of what the library says


class BadHdf5(Exception):
    """What is wrong with a file, which is not named."""


class Missing(BadHdf5):
    """A good file without what is asked for."""


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


@dataclass(frozen=True)
class _Heap:
    """Where a heap ends, and where each of its objects begins and how large it is [bytes]."""

    end: int
    objects: dict[int, tuple[int, int]]


@contextmanager
def open_hdf5(path: Path) -> Iterator["Hdf5File"]:
    """What the regular file `path` holds; lists that were read out of it can be used when it is
    closed. Raises BadHdf5 for whatever goes wrong within it, OSError where the system refuses it.
    """
    import h5py

    with open_regular(path) as file, _refusing():
        content = np.memmap(file, dtype=np.uint8, mode="r")
        # By its path: from an object of Python the library takes less than it asks for, and uses
        # memory as it was left.
        with h5py.File(path, "r", locking=False) as opened:
            yield Hdf5File(opened, content)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except BadHdf5:
        raise
    except Exception as broken:
        # The library raises whatever broken bytes make it raise; the file is refused as a whole.
        said = " ".join(str(broken).strip("'\"").split())[:MOST_SAID]
        said = said if said and said.isprintable() else type(broken).__name__
        raise BadHdf5(f"it is no HDF5 file, or cut off ({said})") from broken


class Hdf5File:
    """An open file, of which no more is read in all than an honest one of its size has. Names are
    paths in it. Every method raises BadHdf5 where it has not what is asked for."""

    def __init__(self, file: Any, content: Array) -> None:
        self._file = file
        self._content = content
        self._left = max(ALWAYS_READ_BYTES, MOST_GROWTH * len(content))
        self._heaps: dict[int, _Heap] = {}
        self._heap_places: list[int] = []  # sorted
        if file.id.get_create_plist().get_sizes() != WIDTHS or file.userblock_size:
            raise BadHdf5("it is laid out in a way that is not read: write it anew with h5py")

    def holds(self, name: str) -> bool:
        """Whether there is a dataset `name`."""
        try:
            self._dataset(name)
        except Missing:
            return False
        return True

    def holds_text(self, name: str) -> bool:
        """Whether the dataset `name` is of text."""
        import h5py

        return h5py.check_string_dtype(self._dataset(name).dtype) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the dataset `name`."""
        return tuple(self._dataset(name).shape)

    def names(self, name: str, most: int) -> list[str]:
        """What the group `name` holds, which is `most` things or fewer."""
        import h5py

        group = self._at(name)
        if not isinstance(group, h5py.Group):
            raise BadHdf5(f"'{name}' is no group")
        if len(group) > most:
            raise BadHdf5(f"'{name}' holds {len(group):,} things, at most {most:,} are read")
        return list(group)

    def array(self, name: str, kinds: str = "iuf") -> Array:
        """A copy of the numbers of the dataset `name`, which are of numpy's `kinds`."""
        dataset = self._dataset(name)
        dtype = dataset.dtype
        if dtype.kind not in kinds or not dataset.id.get_type().get_size() == dtype.itemsize <= 8:
            raise BadHdf5(f"'{name}' holds {dtype}, not {'whole ' * ('f' not in kinds)}numbers")
        return np.array(self._items(name, dataset, dtype))

    def numbers(self, name: str) -> Array:
        """The whole numbers `[N]` of the dataset `name`."""
        self._require_list(name)
        return self.array(name, "iu")

    def lists(self, name: str, kinds: str) -> Lists:
        """The lists of the dataset `name`, of numbers of numpy's `kinds`."""
        import h5py

        self._require_list(name)
        dataset = self._dataset(name)
        dtype = h5py.check_vlen_dtype(dataset.dtype)
        if not isinstance(dtype, np.dtype) or dtype.kind not in kinds:
            raise BadHdf5(f"'{name}' holds {dtype or dataset.dtype}, not lists of numbers")
        return self._lists(name, dataset, dtype)

    def texts(self, name: str) -> list[str]:
        """The texts of the dataset `name`, of any shape, one after the other."""
        import h5py

        dataset = self._dataset(name)
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None:
            raise BadHdf5(f"'{name}' holds {dataset.dtype}, not text")
        if kind.length is None:
            found = self._lists(name, dataset, np.dtype("u1"))
            texts = [found[number].tobytes() for number in range(len(found))]
        else:
            stored = self._items(name, dataset, np.dtype(f"S{kind.length}"))
            texts = stored.reshape(-1).tolist()
        return [text.rstrip(b"\0 ").decode(errors="replace") for text in texts]

    def _at(self, name: str) -> Any:
        """What lies at `name`, in this file itself."""
        import h5py

        place, parts = self._file, name.split("/")
        for depth, part in enumerate(parts, 1):
            link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if link is None:
                raise Missing(f"it has no '{name}'")
            if not isinstance(link, h5py.HardLink):
                linked = "/".join(parts[:depth])
                raise BadHdf5(f"'{linked}' is a link to somewhere else, which is not followed")
            place = place[part]
        return place

    def _dataset(self, name: str) -> Any:
        """The dataset `name`, of which nothing is read yet."""
        import h5py

        found = self._at(name)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise BadHdf5(f"'{name}' is no data")
        properties = found.id.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
            raise BadHdf5(f"'{name}' lies in another file, which is not read")
        return found

    def _require_list(self, name: str) -> None:
        if len(self.shape(name)) != 1:
            raise BadHdf5(f"'{name}' is no list")

    def _lists(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> Lists:
        references = self._items(name, dataset, REFERENCE).reshape(-1)
        lengths = references["length"].astype(np.int64)
        # Lists do not lie over each other in an honest file.
        if int(lengths.sum()) * dtype.itemsize > len(self._content):
            raise BadHdf5(f"'{name}' declares {int(lengths.sum()):,} numbers, more than it has")
        starts = np.zeros(len(lengths), dtype=np.int64)
        for place in np.unique(references["heap"][lengths > 0]).tolist():
            self._find_heap(place)
        for place in np.flatnonzero(lengths).tolist():
            _, heap, number = references[place].tolist()
            start, size = self._heaps[heap].objects.get(number, (0, -1))
            if size != lengths[place] * dtype.itemsize:
                raise BadHdf5(f"'{name}': list {place} is not where it should be, or cut off")
            starts[place] = start
        return Lists(self._content, dtype, starts, lengths)

    def _find_heap(self, place: int) -> None:
        """Look once at the heap at `place`, which lies over no other."""
        if place in self._heaps:
            return
        behind = bisect(self._heap_places, place)
        begins = self._heap_places[behind] if behind < len(self._heap_places) else math.inf
        ends = self._heaps[self._heap_places[behind - 1]].end if behind else 0
        if ends > place or (heap := _heap(self._content, place)).end > begins:
            raise BadHdf5("its heaps lie over each other")
        self._heaps[place] = heap
        self._heap_places.insert(behind, place)

    def _items(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> Array:
        """All that lies in the file for `dataset`, as items of `dtype` in its shape."""
        import h5py

        layout = dataset.id.get_create_plist().get_layout()
        if layout == h5py.h5d.CHUNKED:
            return self._chunks(name, dataset, dtype)
        needed = math.prod(dataset.shape) * dtype.itemsize
        self._take(name, needed)
        if not needed:
            return np.zeros(dataset.shape, dtype)
        if layout == h5py.h5d.COMPACT:  # within 64 KiB, as the format says
            if dtype == REFERENCE:  # the library would follow them
                raise BadHdf5(f"'{name}' is stored in a way that is not read")
            return np.asarray(dataset[()], dtype).reshape(dataset.shape)
        start = dataset.id.get_offset() if layout == h5py.h5d.CONTIGUOUS else None
        if start is None or start + needed > len(self._content):
            raise BadHdf5(f"'{name}' declares {needed:,} bytes that are not in the file")
        return self._content[start : start + needed].view(dtype).reshape(dataset.shape)

    def _chunks(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> Array:
        """As `_items`, of a dataset in chunks of one shape, the last ones filled up."""
        shape, chunk = dataset.shape, dataset.chunks
        properties = dataset.id.get_create_plist()
        count = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        size = math.prod(chunk) * dtype.itemsize
        self._take(name, count * size)
        infos: list[Any] = []

        def look(info: Any) -> bool | None:
            """Something other than None ends the walk: a damaged index may name them for ever."""
            infos.append(info)
            return len(infos) > count or None

        if count * ALIGNED <= len(self._content):  # at the least the place of each is in the file
            dataset.id.chunk_iter(look)
        found = {tuple(info.chunk_offset): info for info in infos}
        if len(infos) != count or set(found) != set(
            itertools.product(*(range(0, n, c) for n, c in zip(shape, chunk, strict=True)))
        ):
            raise BadHdf5(
                f"'{name}' declares {math.prod(shape):,} entries that are not in the file"
            )
        filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
        array = np.empty(shape, dtype)
        for offset, info in found.items():
            part = b""
            if info.size <= size + size // 8 + 1024:  # as much as packing ever adds
                packed = self._content[info.byte_offset : info.byte_offset + info.size].tobytes()
                used = [f for place, f in enumerate(filters) if not info.filter_mask >> place & 1]
                part = _unfiltered(packed, used, size, dtype.itemsize, name)
            if len(part) != size:
                raise BadHdf5(f"'{name}' holds more or less than it declares")
            place = tuple(slice(o, o + c) for o, c in zip(offset, chunk, strict=True))
            there = array[place]
            values = np.frombuffer(part, dtype).reshape(chunk)
            array[place] = values[tuple(slice(n) for n in there.shape)]
        return array

    def _take(self, name: str, needed: int) -> None:
        """Count so many bytes as read."""
        free = available_memory_bytes()
        if needed > self._left or (free is not None and needed > free):
            raise BadHdf5(
                f"'{name}' declares {needed:,} bytes, too many for a file of "
                f"{len(self._content):,}, or for memory"
            )
        self._left -= needed


def _unfiltered(
    packed: bytes, filters: Sequence[int], size: int, item_bytes: int, name: str
) -> bytes:
    """What `filters` have made `packed` of, at most one byte more than `size`."""
    for kind in reversed(filters):
        if kind == DEFLATE:
            packed = zlib.decompressobj().decompress(packed, size + 1)
        elif kind == SHUFFLE:
            planes = np.frombuffer(packed, dtype=np.uint8).reshape(item_bytes, -1)
            packed = planes.T.tobytes()
        else:
            raise BadHdf5(f"'{name}' is packed in a way that is not read: h5repack -f NONE")
    return packed


def _heap(content: Array, place: int) -> _Heap:
    """The heap at `place`. Each step goes forward, within the file."""
    if place + HEAP.size > len(content):
        raise BadHdf5("a heap of it is beyond its end: it is cut off")
    magic, _, size = HEAP.unpack_from(content.data, place)
    end = place + size
    if magic != HEAP_MAGIC or size < HEAP.size or end > len(content):
        raise BadHdf5("a heap of it is none, or cut off")
    objects: dict[int, tuple[int, int]] = {}
    place += HEAP.size
    while place + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content.data, place)
        place += OBJECT.size
        if not number:  # what is left is free
            break
        if size > end - place:
            raise BadHdf5("an object of it is cut off")
        objects[number] = (place, size)
        place += -(-size // ALIGNED) * ALIGNED
    return _Heap(end, objects)
