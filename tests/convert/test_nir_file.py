"""NIR files that somebody made to harm, or that are broken: refused before they are believed."""

import contextlib
import itertools
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from clifctl.convert.nir_file import read_nir
from clifctl.errors import ConversionError


def good(path: Path) -> Path:
    """A graph with a linear layer in gzip and neurons as they are."""
    one = np.ones(3)
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc": nir.Affine(weight=np.arange(12.0).reshape(3, 4), bias=one),
        "if": nir.IF(r=one, v_threshold=one, v_reset=0 * one),
        "output": nir.Output(np.array([3])),
    }
    names = ["input", "fc", "if", "output"]
    nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(names))))
    return path


def test_what_is_read(tmp_path: Path) -> None:
    graph = read_nir(good(tmp_path / "net.nir"))
    assert set(graph.edges) == {("fc", "if"), ("if", "output"), ("input", "fc")}
    assert graph.nodes["fc"].kind == "Affine"
    np.testing.assert_array_equal(graph.nodes["fc"].values["weight"], np.arange(12.0).reshape(3, 4))
    # Older files have no v_reset.
    with h5py.File(tmp_path / "net.nir", "a") as file:
        del file["node/nodes/if/v_reset"]
    assert set(read_nir(tmp_path / "net.nir").nodes["if"].values) == {"r", "v_threshold"}


@pytest.mark.parametrize("chunks", [(3, 4), (2, 3), (1, 1)])
@pytest.mark.parametrize("how", [{}, {"compression": 9}, {"compression": 1, "shuffle": True}])
def test_chunks_are_unpacked_to_what_h5py_reads(
    tmp_path: Path, chunks: tuple[int, int], how: dict[str, Any]
) -> None:
    path = good(tmp_path / "net.nir")
    weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    replace(path, "fc/weight", data=weight, chunks=chunks, **how)
    np.testing.assert_array_equal(read_nir(path).nodes["fc"].values["weight"], weight)


def replace(path: Path, place: str, **dataset: Any) -> None:
    with h5py.File(path, "a") as file:
        del file[f"node/nodes/{place}"]
        file.create_dataset(f"node/nodes/{place}", **dataset)


def put(place: str, **dataset: Any) -> Callable[[Path], None]:
    return lambda path: replace(path, place, **dataset)


def link(place: str, to: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            if place in file["node"]:
                del file["node"][place]
            file["node"][place] = to

    return change


def bomb(path: Path) -> None:
    """A chunk of 12 numbers in which gigabytes are packed, as a library would unpack them."""
    packed = zlib.compressobj(9)
    content = b"".join(packed.compress(bytes(2**20)) for _ in range(64)) + packed.flush()
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc/weight"]
        weight = file["node/nodes/fc"].create_dataset(
            "weight", (3, 4), np.float64, chunks=(3, 4), compression=9
        )
        weight.id.write_direct_chunk((0, 0), content)


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((3, 4), np.float64)
    layout[:] = h5py.VirtualSource("other.h5", "weight", (3, 4))
    with h5py.File(path, "a") as file:
        del file["node/nodes/fc/weight"]
        file.create_virtual_dataset("node/nodes/fc/weight", layout)


def rename(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            group = file["node"] if old != "../node" else file
            group.move(old.removeprefix("../"), new)

    return change


def long_edges(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["node/edges"]
        edges = np.array([["input", "x" * 10_000]] * 3, dtype=object)
        file["node"].create_dataset("edges", data=edges, dtype=h5py.string_dtype())


def content(of: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_bytes(of(path.read_bytes()))

    return change


HUGE = (2**20, 2**20)
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "not-hdf5": (content(lambda old: b"NIR" * 100), "it is no HDF5 file"),
    "empty": (content(lambda old: b""), "it is no HDF5 file"),
    "cut": (content(lambda old: old[:4000]), "it is no HDF5 file, or cut off"),
    "no-node": (rename("../node", "x"), "it has no 'node/type'"),
    "no-nodes": (rename("nodes", "gone"), "it has no 'node/nodes'"),
    "no-edges": (rename("edges", "gone"), "it has no 'node/edges'"),
    "unknown": (put("fc/type", data="Fancy"), "node 'fc': unknown type of node 'Fancy'"),
    "subgraph": (put("fc/type", data="NIRGraph"), "node 'fc' is a graph in the graph"),
    "no-weight": (rename("nodes/fc/weight", "nodes/fc/w"), "it has no 'node/nodes/fc/weight'"),
    "nan": (put("fc/bias", data=np.full(3, np.nan)), "node 'fc': bias holds NaN or infinity"),
    "text": (put("fc/bias", data="one"), "'node/nodes/fc/bias' holds object, not numbers"),
    "complex": (put("fc/bias", data=np.ones(3, complex)), "bias' holds complex128, not numbers"),
    "declared": (put("fc/bias", shape=HUGE, dtype="f8"), "8,796,093,022,208 bytes, too many"),
    "chunked": (
        put("fc/bias", shape=HUGE, dtype="f8", chunks=(1024, 1024), compression=9),
        "bias' declares 8,796,093,022,208 bytes, too many",
    ),
    "a-chunk": (
        put("fc/bias", shape=(3,), maxshape=(None,), dtype="f8", chunks=(2**28,), compression=9),
        "bias' declares 2,147,483,648 bytes, too many",
    ),
    "unwritten": (
        put("fc/bias", shape=(3,), dtype="f8", chunks=(3,)), "declares 3 entries that are not",
    ),
    "bomb": (bomb, "fc/weight' holds more or less than it declares"),
    "lzf": (put("fc/bias", data=np.ones(3), compression="lzf"), "packed in a way that is not read"),
    "external-data": (
        put("fc/bias", shape=(3,), dtype="f8", external=[("/etc/passwd", 0, 24)]),
        "bias' lies in another file, which is not read",
    ),
    "virtual": (virtual, "weight' lies in another file, which is not read"),
    "external-link": (
        link("nodes/fc/bias", h5py.ExternalLink("/etc/passwd", "/x")), "fc/bias' is a link",
    ),
    "soft-link": (link("nodes/fc/bias", h5py.SoftLink("/version")), "fc/bias' is a link"),
    "node-link": (link("nodes/fc", h5py.ExternalLink("other.h5", "/x")), "nodes/fc' is a link"),
    "edge-to-nothing": (rename("nodes/if", "nodes/iff"), "an edge leads to or from 'if'"),
    "name": (rename("nodes/if", "nodes/\x1b[31m"), "a node's name is not 128 printable"),
    "long-edges": (long_edges, "an edge's end is not 128 printable"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    path = good(tmp_path / "net.nir")
    change, said = HOSTILE[name]
    change(path)
    with pytest.raises(ConversionError, match=said) as refused:
        read_nir(path)
    assert refused.value.message.startswith(f"'{path}': ")
    assert "\n" not in refused.value.message


def test_a_pipe_or_a_folder_is_no_graph(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nir")
    (tmp_path / "folder.nir").mkdir()
    for name in ("pipe.nir", "folder.nir", "missing.nir"):
        with pytest.raises(ConversionError, match=name):
            read_nir(tmp_path / name)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    path = good(tmp_path / "net.nir")
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(seed)
    for _ in range(50):
        changed = content.copy()
        for place in generator.integers(0, len(content), 6):
            changed[place] = int(generator.integers(256))
        path.write_bytes(changed)
        with contextlib.suppress(ConversionError):
            read_nir(path)
