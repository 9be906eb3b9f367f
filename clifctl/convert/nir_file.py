"""NIR graphs of other programs, out of HDF5 files that anybody may have made.

The package nir reads whatever a file declares. Here only the arrays that a node of a known type has
are read, as `clifctl.hdf5` reads them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.errors import ConversionError, unknown_name
from clifctl.hdf5 import BadHdf5, Hdf5File, open_hdf5

SUFFIX = ".nir"
MOST_NODES = 10_000
MOST_EDGES = 4 * MOST_NODES
MOST_NAME = 128  # characters
NODES = "node/nodes"

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


class BadGraph(BadHdf5):
    """What is wrong with a graph, or with the file that it is in, which is not named."""

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
            with open_hdf5(path) as opened:
                return _graph(opened)
        except BadGraph:
            raise
        except BadHdf5 as bad:
            raise BadGraph(str(bad)) from bad
        except FileNotFoundError:
            raise BadGraph("there is no such file", hint=None) from None
        except OSError as refused:
            raise BadGraph(f"it cannot be read: {refused.strerror or refused}") from refused


def _graph(opened: Hdf5File) -> NirFile:
    kind = _word(opened, "node/type")
    if kind != "NIRGraph":
        raise BadGraph(f"it holds a {kind} and no graph of nodes")
    names = opened.names(NODES, MOST_NODES)
    if not names:
        raise BadGraph("it has no nodes")
    for name in names:
        _require_word(name, "a node's name")
    nodes = {name: _node(opened, name) for name in names}
    return NirFile(nodes, _edges(opened, nodes))


def _node(opened: Hdf5File, name: str) -> NirNode:
    where = f"node '{name}'"
    kind = _word(opened, f"{NODES}/{name}/type")
    if kind == "NIRGraph":
        raise BadGraph(
            f"{where} is a graph in the graph, as recurrent layers are written: recurrence is not "
            "read"
        )
    if kind not in FIELDS:
        raise BadGraph(f"{where}: {unknown_name('type of node', kind, FIELDS)}")
    values: dict[str, Any] = {}
    for declared in FIELDS[kind]:
        key = declared.removesuffix("?")
        place = f"{NODES}/{name}/{key}"
        if key != declared and not opened.holds(place):
            continue
        if key == "padding" and opened.holds_text(place):
            values[key] = _word(opened, place)
            continue
        values[key] = array = opened.array(place)
        if not np.isfinite(array).all():
            raise BadGraph(f"{where}: {key} holds NaN or infinity")
    return NirNode(name, kind, values)


def _edges(opened: Hdf5File, nodes: Mapping[str, NirNode]) -> tuple[tuple[str, str], ...]:
    """The edges, each once."""
    shape = opened.shape("node/edges")
    if len(shape) != 2 or shape[1] != 2 or shape[0] > MOST_EDGES:
        raise BadGraph(f"its edges are {list(shape)}, not up to {MOST_EDGES:,} pairs")
    ends = opened.texts("node/edges")
    for end in ends:
        _require_word(end, "an edge's end")
        if end not in nodes:
            raise BadGraph(f"an edge leads to or from '{end}', which is no node")
    return tuple(dict.fromkeys(zip(ends[::2], ends[1::2], strict=True)))


def _word(opened: Hdf5File, name: str) -> str:
    if opened.shape(name) != ():
        raise BadGraph(f"'{name}' is not a word")
    (word,) = opened.texts(name)
    _require_word(word, f"'{name}'")
    return word


def _require_word(word: str, what: str) -> None:
    if not (word.isprintable() and len(word) <= MOST_NAME):
        raise BadGraph(f"{what} is not {MOST_NAME} printable characters or fewer")
