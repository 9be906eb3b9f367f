"""NIR graphs of other programs, out of HDF5 files that anybody may have made.

The package nir reads whatever a file declares. Here only the arrays that a node of a known type has
are read, each after its declared size was held against what lies in the file: links to other files
or places are not followed, storage elsewhere and filters but gzip's (and its shuffle) are refused,
chunks and words are read by ourselves: of a chunk the library would unpack all that was packed into
it, and in a heap of words that is damaged it may go round for ever.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.convert.hdf5_words import POINTER_BYTES, words_at
from clifctl.devices import available_memory_bytes
from clifctl.errors import ConversionError, unknown_name
from clifctl.reading import ALWAYS_READ_BYTES, MOST_GROWTH, open_regular, size_bytes

SUFFIX = ".nir"
MOST_NODES = 10_000
MOST_EDGES = 4 * MOST_NODES
MOST_NAME = 128  # characters
_VALUES_8_BYTES = 8

_FIRING = ("r", "v_threshold", "v_reset?")
_CUBA = ("tau_mem", "tau_syn", "r", "v_leak", "w_in?")
_CONVOLUTION = ("weight", "bias", "stride", "padding", "dilation", "groups", "input_shape?")
_POOL = ("kernel_size", "stride", "padding")
# type of a node -> what it holds; `?`: an older version of NIR, or another writer, may leave it out
FIELDS: dict[str, tuple[str, ...]] = {
    "Input": ("shape",),
    "Output": ("shape",),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Conv1d": _CONVOLUTION,
    "Conv2d": _CONVOLUTION,
    "SumPool2d": _POOL,
    "AvgPool2d": _POOL,
    "Flatten": ("start_dim", "end_dim"),
    "Threshold": ("threshold",),
    "Delay": ("delay",),
    "IF": _FIRING,
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "v_leak", *_FIRING),
    "CubaLI": _CUBA,
    "CubaLIF": (*_CUBA, "v_threshold", "v_reset?"),
}


@dataclass(frozen=True)
class NirNode:
    """A node: its values are arrays of finite numbers (or a word, as a padding may be)."""

    name: str
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class NirFile:
    """A graph as a file has it: nodes by name, and edges between them, each once."""

    nodes: Mapping[str, NirNode]
    edges: tuple[tuple[str, str], ...]


class BadGraph(Exception):
    """What is wrong with a graph; the file is not named."""

    def __init__(self, what: str, hint: str | None = "docs/from-nir.md says what is read") -> None:
        super().__init__(what)
        self.hint = hint


@contextmanager
def of_file(path: Path) -> Iterator[None]:
    """Within it, what is wrong with a graph is said of the file `path`."""
    try:
        yield
    except BadGraph as wrong:
        raise ConversionError(f"'{path}': {wrong}", hint=wrong.hint) from None


def is_nir(path: str | Path) -> bool:
    """Whether a path is that of a NIR graph, by its ending."""
    return Path(path).suffix.lower() == SUFFIX


def read_nir(path: Path) -> NirFile:
    """The graph of the file `path`. Raises ConversionError with the file and the node."""
    with of_file(path):
        try:
            with open_regular(path) as file:
                return _read(file)
        except BadGraph:
            raise
        except FileNotFoundError:
            raise BadGraph("there is no such file", hint=None) from None
        except Exception as broken:
            # Of broken bytes HDF5 raises anything.
            raise BadGraph(f"it cannot be read as HDF5 ({_first_words(broken)})") from broken


def _first_words(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = " ".join(said.split())[:160]
    return words if words.isprintable() and words else type(error).__name__


def _read(file: Any) -> NirFile:
    import h5py

    with h5py.File(file, "r") as opened:
        if opened.userblock_size:
            raise BadGraph("it begins with a block that NIR's files do not have")
        reader = _Reader(file)
        graph = reader.group(opened, "node", "it")
        kind = reader.text(graph, "type", "it")
        if kind != "NIRGraph":
            raise BadGraph(f"it holds a {kind} and no graph of nodes")
        named = reader.group(graph, "nodes", "it")
        if not 0 < len(named) <= MOST_NODES:
            raise BadGraph(f"it has {len(named):,} nodes, a graph has 1 to {MOST_NODES:,}")
        nodes = {name: reader.node(named, name) for name in _names(named)}
        return NirFile(nodes, reader.edges(graph, nodes))


def _names(group: Any) -> list[str]:
    names = list(group)
    for name in names:
        if not (isinstance(name, str) and name.isprintable() and len(name) <= MOST_NAME):
            raise BadGraph(f"a node's name is not {MOST_NAME} printable characters or fewer")
    return names


class _Reader:
    """Reads parts of a file, no more in all than an honest one of its size has."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._left = max(ALWAYS_READ_BYTES, MOST_GROWTH * size_bytes(file))

    def node(self, named: Any, name: str) -> NirNode:
        """The node `name`."""
        where = f"node '{name}'"
        group = self.group(named, name, where, inside=False)
        kind = self.text(group, "type", where)
        if kind == "NIRGraph":
            raise BadGraph(
                f"{where} is a graph in the graph, as recurrent layers are written: recurrence is "
                "not read"
            )
        if kind not in FIELDS:
            raise BadGraph(f"{where}: {unknown_name('type of node', kind, FIELDS)}")
        values = {}
        for declared in FIELDS[kind]:
            key = declared.removesuffix("?")
            if key not in group and key != declared:
                continue
            values[key] = self.value(group, key, where)
        return NirNode(name, kind, values)

    def edges(self, graph: Any, nodes: Mapping[str, NirNode]) -> tuple[tuple[str, str], ...]:
        """The edges, each once."""
        dataset = self.dataset(graph, "edges", "it")
        shape = dataset.shape
        if len(shape or ()) != 2 or shape[1] != 2 or shape[0] > MOST_EDGES:
            raise BadGraph(f"its edges are {list(shape or ())}, not up to {MOST_EDGES:,} pairs")
        ends = self._words(dataset, "edges")
        for end in ends:
            if end not in nodes:
                raise BadGraph(f"an edge leads to or from '{end}', which is no node")
        return tuple(dict.fromkeys(zip(ends[::2], ends[1::2], strict=True)))

    def group(self, parent: Any, name: str, where: str, *, inside: bool = True) -> Any:
        """The group `name` of `parent`."""
        import h5py

        found = self._linked(parent, name, where)
        if not isinstance(found, h5py.Group):
            raise BadGraph(f"{where} has no group '{name}'" if inside else f"{where} is no group")
        return found

    def dataset(self, parent: Any, name: str, where: str) -> Any:
        """The data set `name` of `parent`, of which nothing is read yet."""
        import h5py

        found = self._linked(parent, name, where)
        if not isinstance(found, h5py.Dataset):
            raise BadGraph(f"{where} has no '{name}'")
        return found

    def _linked(self, parent: Any, name: str, where: str) -> Any:
        import h5py

        link = parent.get(name, getlink=True) if name in parent else None
        if link is not None and not isinstance(link, h5py.HardLink):
            raise BadGraph(f"{where}: '{name}' is a link to another place, which is not followed")
        # A link that leads nowhere is not `in` its group.
        return None if link is None else parent[name]

    def text(self, parent: Any, name: str, where: str) -> str:
        """A word."""
        return self._text(self.dataset(parent, name, where), f"{where}: {name}")

    def _text(self, dataset: Any, what: str) -> str:
        if dataset.shape != ():
            raise BadGraph(f"{what} is not a word")
        return self._words(dataset, what)[0]

    def _words(self, dataset: Any, what: str) -> list[str]:
        """The words of a data set, one after the other."""
        from h5py import check_string_dtype, h5d

        kind = check_string_dtype(dataset.dtype)
        if kind is None or (kind.length or 0) > MOST_NAME:
            raise BadGraph(f"{what} is not a word of up to {MOST_NAME} characters")
        _require_here(dataset, what)
        count = math.prod(dataset.shape)
        if kind.length is not None:
            self._take(count * kind.length, what)
            return [_as_text(word, what) for word in np.asarray(dataset[()]).flat]
        offset = dataset.id.get_offset()
        layout = dataset.id.get_create_plist().get_layout()
        held = dataset.id.get_storage_size() // POINTER_BYTES
        if layout != h5d.CONTIGUOUS or offset is None or held < count:
            raise BadGraph(f"{what} is stored in another way than NIR's")
        return [_as_text(word, what) for word in words_at(self._file, offset, count)]

    def value(self, group: Any, key: str, where: str) -> Any:
        """The array `key`, of finite numbers, or a word."""
        dataset = self.dataset(group, key, where)
        what = f"{where}: {key}"
        if dataset.dtype.kind in "OS" and key == "padding":
            return self._text(dataset, what)
        kind, size = dataset.dtype.kind, dataset.dtype.itemsize
        if dataset.shape is None or kind not in "iuf" or size > _VALUES_8_BYTES:
            raise BadGraph(f"{what} is not an array of numbers")
        array = self._array(dataset, what)
        if kind == "f" and not bool(np.isfinite(array).all()):
            raise BadGraph(f"{what} holds NaN or infinity")
        return array

    def _array(self, dataset: Any, what: str) -> Any:
        """The numbers, once it is sure that they are in the file."""
        from h5py import h5d

        _require_here(dataset, what)
        size = dataset.dtype.itemsize
        chunks = dataset.chunks
        if dataset.id.get_create_plist().get_layout() != h5d.CHUNKED:
            needed = math.prod(dataset.shape) * size
            held = dataset.id.get_storage_size()
            if needed > held:
                raise BadGraph(f"{what} declares {needed:,} bytes and holds {held:,}")
            self._take(needed, what)
            return np.asarray(dataset[()])
        count = math.prod(-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True))
        self._take(max(count, 1) * math.prod(chunks) * size, what)
        if dataset.id.get_num_chunks() != count:
            raise BadGraph(f"{what} declares more than it holds")
        return _unpacked(dataset, what)

    def _take(self, needed: int, what: str) -> None:
        free = available_memory_bytes()
        if needed > self._left or (free is not None and needed > free):
            raise BadGraph(
                f"{what} declares {needed:,} bytes, too many for a file of this size, or for memory"
            )
        self._left -= needed


def _require_here(dataset: Any, what: str) -> None:
    """Raise BadGraph for data that lie in other files."""
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual or properties.get_external_count():
        raise BadGraph(f"{what} lies in another file, which is not read")


def _as_text(value: Any, what: str) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not (isinstance(text, str) and text.isprintable() and len(text) <= MOST_NAME):
        raise BadGraph(f"{what}: names are up to {MOST_NAME} printable characters")
    return text


def _unpacked(dataset: Any, what: str) -> Any:
    """A data set in chunks, each unpacked to the size that it has and no further."""
    from h5py import h5z

    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(n)[0] for n in range(properties.get_nfilters())]
    if filters not in ([], [h5z.FILTER_DEFLATE], [h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE]):
        raise BadGraph(f"{what} is packed in another way than NIR's (gzip)")
    array = np.empty(dataset.shape, dataset.dtype)
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        if chunk.size > size + size // 8 + 1024:
            raise BadGraph(f"{what} holds more than it declares")
        skipped, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        if skipped:
            raise BadGraph(f"{what} is packed in another way than NIR's (gzip)")
        content = packed
        if h5z.FILTER_DEFLATE in filters:
            stream = zlib.decompressobj()
            content = stream.decompress(packed, size)
        if len(content) != size:
            raise BadGraph(f"{what} declares more than it holds")
        if h5z.FILTER_SHUFFLE in filters:
            by_byte = np.frombuffer(content, np.uint8).reshape(dataset.dtype.itemsize, -1)
            content = by_byte.T.tobytes()
        values = np.frombuffer(content, dataset.dtype).reshape(dataset.chunks)
        place = tuple(
            slice(first, min(first + length, whole))
            for first, length, whole in zip(
                chunk.chunk_offset, dataset.chunks, dataset.shape, strict=True
            )
        )
        array[place] = values[tuple(slice(0, one.stop - one.start) for one in place)]
    return array
