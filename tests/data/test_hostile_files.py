"""Files that somebody made to do harm: none runs code, takes memory without end, or is waited
for."""

import copy
import gzip
import io
import json
import os
import pickle
import random
import re
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin

from clifctl.data import DATASETS, unpickling
from clifctl.data.archives import BadArchive, map_array, read_array, read_arrays
from clifctl.data.decoding import decode
from clifctl.data.events.aedat import read_aedat2, read_aedat3
from clifctl.data.events.camera_files import CameraRecording
from clifctl.data.events.frame_cache import BadCache, Cache, Settings
from clifctl.data.events.recordings import BadRecording, NpzRecording
from clifctl.data.hdf5 import open_hdf5
from clifctl.data.idx import header_of, read_idx
from clifctl.data.images import Place
from clifctl.data.sets.n_mnist import read_bin
from clifctl.data.unpickling import load_plain
from clifctl.errors import CheckpointError, ClifctlError, DataError
from clifctl.training import checkpoint
from clifctl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clifctl.training.seal import sealed

# Mutated inputs for each reader: CLIFCTL_FUZZ=1000 for a long look.
MUTATED = int(os.environ.get("CLIFCTL_FUZZ", "40"))
BOUND = 200 * 2**20  # what a process may take beside what it has
FOLDER = {"size": 16, "classes": 3}
ARRAYS = {"shape": [3, 8, 8], "classes": 4}
PLACE = Place("x", Path("data"))
T = 3


def bounded(work: Callable[[], object]) -> str:
    """What `work` raises, by type and message, in a process that may take BOUND bytes of memory;
    "done" where it raises nothing."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        told = "ended"
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + BOUND
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            work()
            told = "done"
        except BaseException as raised:
            told = f"{type(raised).__name__}: {raised}"

        finally:
            os.write(writing, told.encode()[:4000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        told = file.read()
    os.waitpid(process, 0)
    return told


def load(name: str, root: Path, **options: Any) -> Any:
    dataset = DATASETS[name]
    return dataset.load(dataset.options(root=str(root), **options), T)


def pickled(state: Any) -> bytes:
    """A type of bytes that is given `state`, as numpy pickles it."""
    begun = pickle.dumps(np.dtype("u1"), protocol=2)
    return begun[: begun.rindex(b"(K\x03")] + pickle.dumps(state, protocol=2)[2:-1] + b"b."


HONEST = (3, "|", None, None, None, -1, -1, 0)


HOSTILE = (
    pickled((*HONEST[:-1], 63)),  # flags: its elements are pointers
    pickled((*HONEST[:5], 8, 8, 63)),
    pickled((3, "|", (np.dtype("u1"), (2,)), None, None, -1, -1, 0)),
    pickle.dumps(np.dtype("O"), protocol=2),
    pickle.dumps(np.array([None]), protocol=2),
    pickle.dumps(np.array([1.5]), protocol=2),
    b"cnumpy\nndarray\n(K\x04\x85tR.",  # memory as it was left
    b"cnumpy\nndarray\n)\x81.",
    b"cos\nsystem\n(S'true'\ntR.",
    b"(S'true'\nios\nsystem\n.",
    b"]}S'x'\nK\x01sb.",
    b"(dK\x01K\x02s.",
    b"\x80\x02]r\x00\x00\x00\x10.",  # kept as number 2**28
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"I1\n" * 3,
    b"0.",
    b"a.",
    b"t.",
    b"",
)


def test_no_pickle_is_run() -> None:
    def work() -> None:
        for content in HOSTILE:
            with pytest.raises(pickle.UnpicklingError):
                load_plain(content)

    assert bounded(work) == "done"


def test_an_array_of_a_pickle_has_the_bytes_that_its_shape_says() -> None:
    begun = pickle.dumps(np.arange(6, dtype=np.uint8), protocol=2)
    assert load_plain(begun).tolist() == [0, 1, 2, 3, 4, 5]
    for shape in (b"K\x07\x85", b"J\xff\xff\xff\xff\x85", b"J\xff\xff\xff\x7f\x85"):
        wrong = begun.replace(b"K\x01K\x06\x85", b"K\x01" + shape)
        assert wrong != begun
        with pytest.raises(pickle.UnpicklingError, match="shape"):
            load_plain(wrong)


def test_text_is_not_made_bytes_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = b"c_codecs\nencode\nq\x01h\x00U\x06latin1\x86R"
    many = b"\x80\x02(X\x00\x00\x10\x00" + b"x" * 2**20 + b"q\x00" + encoded
    many += b"h\x01h\x00U\x06latin1\x86R" * 1000 + b"t."
    assert "more bytes than it holds" in bounded(lambda: load_plain(many))
    monkeypatch.setattr(unpickling, "MOST_INSTRUCTIONS", 1000)
    assert load_plain(b"]" + b"]a" * 499 + b".")
    with pytest.raises(pickle.UnpicklingError, match="more than 1,000 instructions"):
        load_plain(b"]" + b"]a" * 500 + b".")


def test_a_batch_of_the_published_size_is_first_the_published_one(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    file = on_disk.write_cifar10(tmp_path) / "data_batch_1"
    file.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(DataError, match="which is not run"):
        load("cifar10", tmp_path)
    os.truncate(file, 31_035_704)
    with pytest.raises(DataError, match=r"its MD5 is .*, the published one is c99cafc1"):
        load("cifar10", tmp_path)
    os.truncate(file, 2**36)
    told = bounded(lambda: load("cifar10", tmp_path))
    assert told.startswith("DataError: ")
    assert "it has 68,719,476,736 bytes, at most" in told


def test_an_image_starts_no_other_program(
    on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho > '{marker}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    root = on_disk.write_image_folder(tmp_path / "own")
    image = root / "test/class1/1.png"
    image.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="not an image"):
        load("image_folder", root, **FOLDER)
    streamed = load("image_folder", root, **FOLDER, in_memory=False, workers=0).test
    with pytest.raises(DataError, match="not an image"):
        next(streamed.read([torch.arange(6)]))
    assert not marker.exists()


def test_an_image_that_is_replaced_by_a_pipe_is_not_waited_for(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    root = on_disk.write_image_folder(tmp_path / "own")
    data = load("image_folder", root, **FOLDER, in_memory=False, workers=0)
    image = root / "test/class1/1.png"
    image.unlink()
    os.mkfifo(image)
    for use in (data.sha256, lambda: next(data.test.read([torch.arange(6)]))):
        with pytest.raises(DataError, match=r"1\.png' .*it is no regular file"):
            use()


def chunk(kind: bytes, content: bytes) -> bytes:
    sum_ = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + sum_


def test_an_image_of_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    side = 9000
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    told = bounded(lambda: decode([bomb], PLACE, channels=3, size=16, threads=1))
    assert "has 9000x9000 pixels, 16x16 are needed" in told
    os.truncate(bomb, 2**33)
    told = bounded(lambda: decode([bomb], PLACE, channels=3, size=16, threads=1))
    assert "it has 8,589,934,592 bytes, at most" in told


def zeros(count: int, dtype: str = "uint8", shape: str | None = None) -> bytes:
    """An array of zeros as numpy writes it, `shape` as its header says."""
    header = f"{{'descr': '{np.dtype(dtype).str}', 'fortran_order': False, "
    header += f"'shape': {shape or (count,)}, }}\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    return start + bytes(count * np.dtype(dtype).itemsize)


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_that_a_net_is_asked_about(tmp_path: Path) -> None:
    dataset = DATASETS["image_folder"]
    options = dataset.options(root=str(tmp_path), size=16, classes=3)
    readers = dataset.unlabelled(options, T).readers
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.npy").symlink_to("/dev/zero")
    (tmp_path / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%EndComments\nshowpage\n")
    (tmp_path / "objects.npy").write_bytes(pickle.dumps(np.array([None])))
    (tmp_path / "declared.npy").write_bytes(zeros(64, shape="(1000000000000, 3, 16, 16)"))
    write_zip(tmp_path / "bomb.npz", {"x.npy": zeros(BOMB)})
    for name in (
        "pipe.png",
        "endless.npy",
        "program.png",
        "objects.npy",
        "declared.npy",
        "bomb.npz",
    ):
        file = tmp_path / name
        told = bounded(lambda file=file: next(readers[file.suffix](file, 4)))  # type: ignore[misc]
        assert told.startswith(f"DataError: '{file}' "), told


def test_an_archive_is_read_as_far_as_it_is_needed(on_disk: ModuleType, tmp_path: Path) -> None:
    file = on_disk.write_npz(tmp_path / "data.npz")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("other.npy", zeros(BOUND))
        archive.writestr("notes.txt", "no array")
        archive.writestr("old.npy", pickle.dumps(np.array([None])))
    assert bounded(lambda: load("npz", tmp_path, **ARRAYS)) == "done"


BOMB = 80 * 2**20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zeros(BOMB), "bytes would become 83,8"),
        (zeros(64, shape="(10**12,)"), ""),
        (zeros(64, shape="(1000000000000,)"), "declares 1,000,000,000,000 bytes and holds 64"),
        (zeros(64, shape="(63,)"), "declares 63 bytes and holds 64"),
        (zeros(64, shape="(-1, -64)"), "not a plain numpy array"),
        (zeros(64, shape="(" * 900 + "64" + ")" * 900), ""),
        (zeros(64, shape="-" * 4000 + "64"), ""),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100), "a header of 4,294,967,295 bytes"),
        (b"\x93NUMPY\x03\x00\x76\x00\x00\x00" + bytes(100), "not a plain numpy array"),
        (b"\x93NUMPY\x01\x00", ""),
        (b"plain text", "not a plain numpy array"),
        (b"", "not a plain numpy array"),
    ],
    ids=range(12),
)
def test_an_array_that_is_not_what_it_says_is_refused(
    on_disk: ModuleType, tmp_path: Path, content: bytes, said: str
) -> None:
    file = on_disk.write_npz(tmp_path / "data.npz")
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    write_zip(file, {**members, "x_train.npy": content})
    events = {f"{key}.npy": content[:300] for key in "txyp"}
    recording = NpzRecording(write_zip(tmp_path / "e.npz", events), "e", 0)
    for work in (lambda: load("npz", tmp_path, **ARRAYS), recording.read):
        told = bounded(work)
        assert told.startswith(("DataError: ", "BadRecording: ")), told
        assert said in told or work == recording.read
        assert "not an .npz of plain arrays" in told
    plain = tmp_path / "x.npy"
    if 0 < len(content) < BOMB:
        plain.write_bytes(content)
        for read in (read_array, map_array):
            with pytest.raises(BadArchive):
                read(plain)


def test_events_that_become_more_than_their_file_holds(tmp_path: Path) -> None:
    members = {f"{key}.npy": zeros(3 * 2**20) for key in "txyp"}
    recording = NpzRecording(write_zip(tmp_path / "e.npz", members), "e", 0)
    with pytest.raises(BadRecording, match="would become 100,663,296: write them uncompressed"):
        recording.read()
    np.savez(tmp_path / "plain.npz", **{key: np.zeros(3 * 2**20, np.uint8) for key in "txyp"})
    assert len(NpzRecording(tmp_path / "plain.npz", "e", 0).read()[0]) == 3 * 2**20


def test_a_directory_of_an_archive_that_takes_memory_is_refused(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *(0,) * 16)
    count = 1_000_000
    size = count * len(entry)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, size, 0, 0)
    file = tmp_path / "many.npz"
    with file.open("wb") as stream:
        for _ in range(count // 100_000):
            stream.write(entry * 100_000)
        stream.write(end)
    told = bounded(lambda: read_arrays(file, ("t",)))
    assert told.startswith("BadArchive: "), told
    assert "at once" in told


def torch_archive(tmp_path: Path) -> dict[str, bytes]:
    torch.save({"net": {"a": torch.arange(4.0)}}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_checkpoint_becomes_no_larger_than_its_file(tmp_path: Path) -> None:
    records = torch_archive(tmp_path)
    description, data = (next(n for n in records if part in n) for part in ("data.pkl", "data/0"))
    bomb = records[description].replace(b"K\x04t", b"J\x00\x00\x00\x04t")
    bomb = bomb.replace(b"K\x04\x85", b"J\x00\x00\x00\x04\x85")
    bombs = {
        "packed": {**records, description: bomb, data: bytes(2**28)},
        "nested": {**records, description: b"\x80\x02" + b"]" * 10_000_000 + b"."},
    }
    for name in list(bombs):
        file = write_zip(tmp_path / f"{name}.pt", bombs.pop(name))
        for path in (file, tmp_path / f"sealed-{name}.pt"):
            if path != file:
                path.write_bytes(b"".join(sealed(file.read_bytes())))
            told = bounded(lambda path=path: load_checkpoint(path))  # type: ignore[misc]
            assert told.startswith("CheckpointError: "), told
            assert "its records are packed" in told


def test_a_checkpoint_says_what_it_holds_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = torch_archive(tmp_path)
    file = tmp_path / "made.pt"
    description = next(name for name in records if name.endswith("data.pkl"))
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, b"]" * (8 * 2**20 + 1) if name == description else content)
    with pytest.raises(CheckpointError, match=r"data.pkl' has 8,388,609 bytes"):
        load_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
        for number in range(1000):
            doubled = copy.copy(archive.filelist[-1])
            doubled.filename = f"archive/data/{number + 1}"
            doubled.file_size = doubled.compress_size = 1000
            archive.filelist.append(doubled)
    with pytest.raises(CheckpointError, match="records lie over each other"):
        load_checkpoint(file)
    monkeypatch.setattr(checkpoint, "available_memory_bytes", lambda: 2 * 2**20)
    os.truncate(file, 2**20 + 1)
    with pytest.raises(CheckpointError, match="has 1,048,577 bytes, at most 1,048,576 are read"):
        load_checkpoint(file)


def test_a_checkpoint_has_one_directory(tmp_path: Path) -> None:
    """Python and torch look for it in other ways: what one has checked the other must read."""
    torch_archive(tmp_path)
    good = (tmp_path / "good.pt").read_bytes()
    small = write_zip(tmp_path / "small.zip", {"x": b""}).read_bytes()
    for name, content in (("before", good[:-22] + small), ("after", small + good)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"two directories|no archive of torch"):
            load_checkpoint(tmp_path / name)


def test_no_other_format_of_torch_is_read(tmp_path: Path) -> None:
    """torch's reader of its older formats knows no bounds; it takes what does not begin as zip."""
    torch.save({"x": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch_archive(tmp_path)
    both = (tmp_path / "old.pt").read_bytes() + (tmp_path / "good.pt").read_bytes()
    (tmp_path / "both.pt").write_bytes(both)
    for name in ("old.pt", "both.pt"):
        with pytest.raises(CheckpointError, match="no archive of torch"):
            load_checkpoint(tmp_path / name)


def test_a_description_is_bounded_under_any_name(tmp_path: Path) -> None:
    content = b"\x80\x02" + b"N0" * (5 * 2**20) + b"}."
    for name in ("data.pkl", "data.PKL"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"archive/{name}", content)
        with pytest.raises(CheckpointError, match="10,485,764 bytes"):
            load_checkpoint(tmp_path / name)


# --- pipes, devices, links that lead nowhere, names ------------------------------------------


@pytest.fixture
def everything(on_disk: ModuleType, recorded: ModuleType, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    on_disk.write_mnist(root, packed=True)
    on_disk.write_cifar10(root)
    on_disk.write_tiny_imagenet(root / "tiny-imagenet-200", classes=3, test_samples=3)
    on_disk.write_image_folder(root)
    on_disk.write_npz(root / "data.npz")
    on_disk.write_shd(root)
    recorded.write_dvs_gesture(root / "DvsGesture", train=1)
    recorded.write_n_mnist(root / "n_mnist", train=1)
    recorded.write_event_files(root / "own", train=1, test=1)
    return root


OWN: dict[str, Any] = {"classes": 3, "sensor": (24, 32)}


@pytest.mark.parametrize("kind", ["pipe", "zeros", "loop", "folder"])
def test_what_is_no_file_is_refused_at_once(
    everything: Path, recorded: ModuleType, tmp_path: Path, kind: str
) -> None:
    recorded.prepare(
        "event_files", f"root={everything}/own", "classes=3", "sensor=[24,32]", "timesteps=3"
    )
    cache = next((everything / "own/prepared").iterdir())
    cases: dict[str, Callable[[], object]] = {
        "t10k-images-idx3-ubyte.gz": lambda: load("mnist", everything),
        "train-labels-idx1-ubyte.gz": lambda: load("mnist", everything),
        "cifar-10-batches-py/test_batch": lambda: load("cifar10", everything),
        "tiny-imagenet-200/wnids.txt": lambda: load("tiny_imagenet", everything, classes=3),
        "tiny-imagenet-200/val/images/val_1.JPEG": lambda: load(
            "tiny_imagenet", everything, classes=3
        ),
        "train/class1/1.png": lambda: load("image_folder", everything, **FOLDER),
        "data.npz": lambda: load("npz", everything, **ARRAYS),
        "shd_test.h5": lambda: load("shd", everything),
        "DvsGesture/trials_to_test.txt": lambda: recorded.prepare(
            "dvs_gesture", f"root={everything}", "timesteps=3"
        ),
        "DvsGesture/user24_led_labels.csv": lambda: recorded.prepare(
            "dvs_gesture", f"root={everything}", "timesteps=3"
        ),
        "n_mnist/Test/3/00001.bin": lambda: recorded.prepare(
            "n_mnist", f"root={everything}", "timesteps=2"
        ),
        "own/train/class1/0.npz": lambda: recorded.prepare(
            "event_files", f"root={everything}/own", "classes=3", "sensor=[24,32]", "timesteps=2"
        ),
        f"own/prepared/{cache.name}/cache.json": lambda: load(
            "event_files", everything / "own", **OWN
        ),
        f"own/prepared/{cache.name}/train.npy": lambda: load(
            "event_files", everything / "own", **OWN
        ),
    }
    for name, work in cases.items():
        path = everything / name
        if kind == "folder" and "train/class1" in name:
            continue  # a folder within a class, whatever its name is
        content = path.read_bytes()
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if kind == "zeros" else path.name)
        with pytest.raises(DataError) as caught:
            work()
        assert path.name in caught.value.message or path.parent.name in caught.value.message, name
        if kind == "folder":
            path.rmdir()
        else:
            path.unlink()
        path.write_bytes(content)


def test_what_is_named_has_an_end(clifctl: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").symlink_to("/dev/zero")
    (tmp_path / "x.npy").symlink_to("/dev/zero")
    for command, said in (
        (["recipes", "check", "x.yaml"], "it has more than 8,388,608 bytes"),
        (["energy", "digits_snn5", "--rates", "/dev/zero"], "it has more than 8,388,608 bytes"),
        (["dynamics", "--input", "x.npy"], "it is no regular file"),
        (["eval", "/dev/zero"], "is not a regular file"),
    ):
        done = clifctl(*command)
        assert (done.code, said in done.err) == (2, True), done.err


def test_names_that_are_no_text(recorded: ModuleType, tmp_path: Path) -> None:
    root = recorded.write_event_files(tmp_path / "own", train=2, test=1)
    name = os.fsdecode(b"\xff\xfe")
    (root / "train/class0/0.npz").rename(root / "train/class0" / f"{name}.npz")
    (root / "train/class0/1.npz").rename(root / "train/class0/\u00b2.npz")
    (root / "train/class1").rename(root / "train" / name)
    (root / "test/class1").rename(root / "test" / name)
    prepare = ("event_files", f"root={root}", "classes=3", "sensor=[24,32]", "timesteps=3")
    done = recorded.prepare(*prepare)
    assert [split.samples for split in done.splits] == [6, 3]
    assert recorded.prepare(*prepare).already_prepared
    assert len(load("event_files", root, **OWN).sha256()) == 64


@pytest.mark.parametrize("root", ["a\0b", "\ud800", "~nobody-of-this-name/data"])
@pytest.mark.parametrize("name", ["cifar10", "npz", "image_folder", "event_files"])
def test_a_root_that_names_no_folder(name: str, root: str) -> None:
    needed = {"npz": ARRAYS, "image_folder": FOLDER, "event_files": OWN}.get(name, {})
    with pytest.raises(
        (ClifctlError, ValueError), match=r"zero byte|unicode string|no home folder"
    ):
        load(name, root, **needed)


def test_what_is_skipped_leaves_something(
    recorded: ModuleType, tmp_path: Path, clifctl: Callable[..., Any]
) -> None:
    root = recorded.write_event_files(tmp_path / "own", train=1, test=2)
    for file in (root / "train").rglob("*.npz"):
        file.write_bytes(b"PK")
    options = [f"root={root}", "classes=3", "sensor=[24,32]", "timesteps=3"]
    done = clifctl("data", "prepare", "event_files", *options, "--skip-bad", "--workers", "1")
    assert done.code == 2
    assert "no recording of the train split can be used: '" in done.err
    assert "--skip-bad" not in done.err
    assert not list((root / "prepared").glob("event_files*"))


def test_times_without_measure(tmp_path: Path) -> None:
    settings = Settings("event_files", T, 24, 32, {"frames_by": "time"})
    one = np.ones(4, dtype=np.int64)
    for t in (
        np.array([-(2**63), 0, 1, 2**63 - 1]),
        np.array([0, 1, 2, 2**64 - 1], dtype=np.uint64),
        np.array([0, 1, 2, 2**63 - 1]),
    ):
        np.savez(tmp_path / "t.npz", t=t, x=one, y=one, p=one)
        with pytest.raises(BadRecording, match=r"t holds .*, which is beyond 2\*\*62"):
            settings.counts(NpzRecording(tmp_path / "t.npz", "t", 0).read()[0])


def test_gestures_that_lie_over_each_other(recorded: ModuleType, tmp_path: Path) -> None:
    folder = recorded.write_dvs_gesture(tmp_path / "DvsGesture", train=1)
    labels = folder / "user01_led_labels.csv"
    line = f"1,0,{2**40}\n"
    prepare = ("dvs_gesture", "timesteps=2", f"root={tmp_path}")
    for text, said in (
        ("class,start,end\n" + line * 900, "its gestures overlap"),
        ("class,start,end\n" + line * 2000, "names 2,000 gestures"),
        (f"class,start,end\n{'1' * 5000},0,1\n", "is not a list of class"),
        (f"class,start,end\n{'x' * 200_000},0,1\n", "is not a list of class"),
        ("class,start,end\n1\0,0,1\n", "is not a list of class"),
    ):
        labels.write_text(text)
        with pytest.raises(DataError, match=said):
            recorded.prepare(*prepare)


# --- idx files --------------------------------------------------------------------------------


def test_an_idx_file_takes_no_more_than_it_holds(tmp_path: Path) -> None:
    """Headers that declare more than there is, packed zeros without end, and a name of a packed
    file without end: in time and memory of an honest file."""
    bomb = gzip.compress(header_of((10**9, 28, 28)) + bytes(2**26))
    behind = gzip.compress(header_of((1, 28, 28)) + bytes(2**28))
    named = b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 2**24
    for content, said in (
        (header_of((2**32 - 1,) * 3), "BadArchive: it declares"),
        (bomb, "BadArchive: its .* would become 784,000,000,000: unpack it"),
        (behind, "BadArchive: it holds more than it declares"),
        (named, "BadArchive: it is cut off"),
    ):
        (tmp_path / "x").write_bytes(content)
        assert re.match(said, bounded(lambda: read_idx(tmp_path / "x", 3)))
    (tmp_path / "x").write_bytes(b"")
    os.truncate(tmp_path / "x", 2**40)
    assert "at most" in bounded(lambda: read_idx(tmp_path / "x", 3))


# --- HDF5 files -------------------------------------------------------------------------------


def hdf5_file(path: Path, lengths: tuple[int, ...] = (3, 5), **how: Any) -> Path:
    """Lists of so many numbers, and a list of numbers."""
    with h5py.File(path, "w") as made:
        lists = made.create_dataset(
            "lists", (len(lengths),), dtype=h5py.vlen_dtype(np.uint16), **how
        )
        for number, length in enumerate(lengths):
            lists[number] = np.arange(length)
        made["numbers"] = np.arange(len(lengths), dtype=np.uint16)
    return path


def read_hdf5(path: Path) -> tuple[list[list[int]], list[int]]:
    with open_hdf5(path) as opened:
        lists, numbers = opened.lists("lists", "iu"), opened.numbers("numbers")
    return [lists[number].tolist() for number in range(len(lists))], numbers.tolist()


def test_hdf5_is_read_out_of_the_file_itself(tmp_path: Path) -> None:
    file, other = hdf5_file(tmp_path / "x.h5"), hdf5_file(tmp_path / "other.h5")
    assert read_hdf5(file) == ([[0, 1, 2], [0, 1, 2, 3, 4]], [0, 1])
    np.arange(2, dtype=np.uint16).tofile(tmp_path / "outside")
    layout = h5py.VirtualLayout((2,), "u2")
    layout[:] = h5py.VirtualSource(other, "numbers", (2,))
    replacements: dict[str, Callable[[Any], object]] = {
        "is a link to somewhere else": lambda made: made.update(x=h5py.SoftLink("/lists")),
        "is a link to somewhere else, ": lambda made: made.update(
            x=h5py.ExternalLink(str(other), "numbers")
        ),
        "lies in another file": lambda made: made.create_dataset(
            "x", (2,), "u2", external=[(str(tmp_path / "outside"), 0, 4)]
        ),
        "lies in another file, ": lambda made: made.create_virtual_dataset("x", layout),
    }
    for said, put in replacements.items():
        with h5py.File(file, "a") as made:
            made.pop("x", None)
            put(_Updated(made))
        with pytest.raises(BadArchive, match=said), open_hdf5(file) as opened:
            opened.numbers("x")


class _Updated:
    """A file of h5py, with the links of `update` in place."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def update(self, **links: Any) -> None:
        for name, link in links.items():
            self._made[name] = link


def test_an_hdf5_file_takes_no_more_than_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "x.h5"
    bomb = gzip.compress(bytes(2**29), 1)
    for said, kind, how in (
        (
            "declares .* bytes, too many for a file of",
            "u2",
            {"shape": (10**12,), "chunks": (1024,)},
        ),
        ("entries that are not in the file", "u2", {"shape": (10**6,), "chunks": (1024,)}),
        (
            "declares .* bytes, too many for a file of",
            "u2",
            {"shape": (9,), "chunks": (2**28,), "maxshape": (None,)},
        ),
        ("bytes that are not in the file", "u2", {"shape": (10**6,)}),
        ("bytes that are not in the file", h5py.vlen_dtype("u2"), {"shape": (10**6,)}),
        ("declares .* bytes, too many for a file of", h5py.vlen_dtype("u2"), {"shape": (10**9,)}),
    ):
        with h5py.File(file, "w") as made:
            made.create_dataset("numbers", dtype=kind, **how)

        def read(lists: bool = not isinstance(kind, str)) -> object:
            with open_hdf5(file) as opened:
                return opened.lists("numbers", "iu") if lists else opened.numbers("numbers")

        assert re.match(f"BadArchive: .*{said}", told := bounded(read)), told
    with h5py.File(file, "w") as made:  # a part that becomes more than its size
        packed = made.create_dataset("numbers", (64,), "u1", chunks=(64,), compression="gzip")
        packed.id.write_direct_chunk((0,), zlib.compress(bytes(2**28)))
    told = bounded(lambda: opened_numbers(file))
    assert told == "BadArchive: 'numbers' holds more or less than it declares"
    (tmp_path / "bomb.h5").write_bytes(bomb)
    assert "far larger than it is" in bounded(lambda: opened_numbers(tmp_path / "bomb.h5"))


def opened_numbers(path: Path) -> Any:
    with open_hdf5(path) as opened:
        return opened.numbers("numbers")


def test_lists_of_an_hdf5_file_that_lie_are_refused(tmp_path: Path) -> None:
    """What refers to a list says how long it is, and so does the heap that the list is in."""
    file = hdf5_file(tmp_path / "x.h5", (3, 4000))
    content = file.read_bytes()
    heap = content.index(b"GCOL")
    first = content.index(struct.pack("<IQI", 3, heap, 1))
    for at, put, said in (
        (first, struct.pack("<I", 2**32 - 1), "declares .* numbers, more than it has"),
        (first, struct.pack("<I", 4), "list 0 is not where it should be"),
        (first + 4, struct.pack("<Q", 2**63), "a heap of it is beyond its end"),
        (first + 4, struct.pack("<Q", heap + 16), "its heaps lie over each other"),
        (first + 12, struct.pack("<I", 77), "list 0 is not where it should be"),
        (heap + 8, struct.pack("<Q", 2**62), "a heap of it is none, or cut off"),
        (heap + 16 + 8, struct.pack("<Q", 2**62), "an object of it is cut off"),
    ):
        file.write_bytes(content[:at] + put + content[at + len(put) :])
        assert re.match(f"BadArchive: .*{said}", told := bounded(lambda: read_hdf5(file))), told


def test_lists_in_the_header_of_a_dataset_are_not_followed_by_the_library(tmp_path: Path) -> None:
    file = hdf5_file(tmp_path / "x.h5")
    with h5py.File(file, "a") as made:
        del made["lists"]
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_layout(h5py.h5d.COMPACT)
        kind = h5py.h5t.py_create(h5py.vlen_dtype(np.uint16), logical=True)
        h5py.h5d.create(made.id, b"lists", kind, h5py.h5s.create_simple((2,)), how)
    with pytest.raises(BadArchive, match="'lists' is stored in a way that is not read"):
        read_hdf5(file)


# --- prepared frames --------------------------------------------------------------------------


@pytest.fixture
def prepared(recorded: ModuleType, tmp_path: Path) -> Path:
    root = recorded.write_event_files(tmp_path / "own", train=2, test=1)
    recorded.prepare("event_files", f"root={root}", "classes=3", "sensor=[24,32]", f"timesteps={T}")
    return next((root / "prepared").iterdir())


SETTINGS = Settings("event_files", T, 24, 32, {"frames_by": "number"}, by_time=True)


def test_frames_of_another_size_are_noticed_at_the_start(prepared: Path) -> None:
    file = prepared / "train.npy"
    size = file.stat().st_size
    for other in (size + 1, size - 1, size + 4096):
        os.truncate(file, other)
        with pytest.raises(BadCache, match=r"declares .* bytes and holds"):
            Cache.open(prepared, SETTINGS)
    os.truncate(file, 2**36)
    assert "BadCache" in bounded(lambda: Cache.open(prepared, SETTINGS))


def test_a_flipped_bit_is_found_by_data_check(prepared: Path, clifctl: Callable[..., Any]) -> None:
    root = prepared.parent.parent
    check = ["data", "check", "event_files", "--root", str(root), "--json"]
    done = clifctl(*check)
    assert (done.code, [row["state"] for row in done.json["files"]]) == (0, ["good"] * 4)
    content = bytearray((prepared / "test.npy").read_bytes())
    content[-1000] ^= 1
    (prepared / "test.npy").write_bytes(content)
    done = clifctl(*check)
    assert (done.code, [row["state"] for row in done.json["files"]]) == (
        2,
        ["good", "good", "good", "bad"],
    )
    assert "are not those that were prepared" in done.json["files"][3]["problem"]
    moved = root.parent / "elsewhere"
    prepared.parent.rename(moved)
    assert clifctl(*check).code == 0
    assert clifctl(*check, f"cache={moved}").code == 2
    assert clifctl("data", "check", "npz", f"cache={moved}").code == 2


def change(document: Any, part: str) -> None:
    row = document["samples"]["test"][0]
    match part:
        case "label":
            row[1] = 2
        case "huge":
            row[1] = 10**400
        case "infinite":
            row[1] = float("inf")
        case "text":
            row[0] = 5
        case "short":
            del row[3]
        case "samples":
            document["samples"] = [1]
        case "settings":
            document["settings"] = []
        case "skipped":
            document["skipped"] = [1]


@pytest.mark.parametrize(
    "part", ["label", "huge", "infinite", "text", "short", "samples", "settings", "skipped"]
)
def test_a_list_of_samples_that_was_changed_is_refused(prepared: Path, part: str) -> None:
    index = prepared / "cache.json"
    document = json.loads(index.read_text())
    change(document, part)
    index.write_text(json.dumps(document))
    with pytest.raises(BadCache, match="cannot be read"):
        Cache.open(prepared, SETTINGS)


def test_lists_of_samples_that_take_memory_are_refused(prepared: Path) -> None:
    index = prepared / "cache.json"
    for content, said in (
        ("[" * 1_000_000, "no list of samples"),
        ("[" * 2000 + " " * 100_000, "nested too deeply"),
        ("[" + "[]," * 5_000_000, "no list of samples"),
        ("", "cannot be read"),
        ("{}", "cannot be read"),
    ):
        index.write_text(content)
        told = bounded(lambda: Cache.open(prepared, SETTINGS))
        assert told.startswith("BadCache: "), told
        assert said in told


def test_what_an_earlier_clifctl_prepared_is_taken(prepared: Path) -> None:
    index = prepared / "cache.json"
    document = json.loads(index.read_text())
    del document["sha256"]
    index.write_text(json.dumps(document))
    assert len(Cache.open(prepared, SETTINGS).labels("train")) == 6


def test_a_part_that_was_damaged_is_made_again(
    recorded: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = recorded.write_event_files(tmp_path / "own", train=1, test=1)
    parts: list[Path] = []
    watcher = recorded.Silent()

    def assembling(part: str, samples: int) -> None:
        if not parts:
            parts.extend(sorted(root.glob("prepared/.*.parts/*.npz")))
            parts[0].write_bytes(parts[0].read_bytes()[:-100])

    watcher.assembling = assembling
    options = ("event_files", f"root={root}", "classes=3", "sensor=[24,32]", "timesteps=3")
    done = recorded.prepare(*options, watcher=watcher)
    assert len(parts) == 6
    digests = [split.sha256 for split in done.splits]
    again = recorded.prepare(*options, f"cache={tmp_path / 'again'}")
    assert digests == [split.sha256 for split in again.splits]


# --- mutated inputs ---------------------------------------------------------------------------


def mutated(content: bytes, seed: int) -> bytes:
    """`content` with some bytes changed, cut, doubled, or set to what overflows."""
    drawn = random.Random(seed)
    changed = bytearray(content)
    for _ in range(drawn.randint(1, 4)):
        place = drawn.randrange(len(changed) + 1)
        # The heads of files are where it is decided how they are read.
        if drawn.random() < 0.6:
            place = min(place, drawn.randrange(256))
        length = drawn.choice((1, 1, 2, 4, 8, 64))
        match drawn.randrange(6):
            case 0:
                del changed[place : place + length]
            case 1:
                changed[place:place] = drawn.randbytes(length)
            case 2:
                changed[place : place + length] = b"\xff" * length
            case 3:
                changed[place : place + length] = bytes(length)
            case 4:
                other = drawn.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + length]
            case _:
                changed[place : place + length] = drawn.randbytes(length)
    if drawn.random() < 0.1:
        del changed[drawn.randrange(len(changed) + 1) :]
    return bytes(changed)


def saved(write: Callable[..., object], *arguments: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, *arguments, **options)
    return buffer.getvalue()


def camera_files(cameras: ModuleType) -> Iterator[tuple[str, bytes]]:
    """A name with its ending, and the content, in every format of a camera."""
    size = (24, 32)
    events = cameras.draw(60, size, seed=0, most_gap=900)
    for ending, form in (("raw", "evt2"), ("raw", "evt3"), ("csv", "csv"), ("dat", "dat")):
        yield f"{form}.{ending}", getattr(cameras, form)(events, size)
    if find_spec("faery"):
        for ending, form in (("es", "es"), ("es", "es_of_atis"), ("aedat4", "aedat4")):
            yield f"{form}.{ending}", getattr(cameras, form)(events, size)


def originals(
    recorded: ModuleType, cameras: ModuleType, folder: Path
) -> Iterator[tuple[str, bytes, Any, Any]]:
    """A name, an honest content, what reads it, and what the reader may raise."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    rows = {"data": pixels.reshape(3, 64), "labels": [1, 2, 3], "filenames": ["a", "b"]}
    for protocol in (0, 2, 5):
        yield (
            f"pickle{protocol}",
            pickle.dumps(rows, protocol=protocol),
            lambda path: load_plain(path.read_bytes()),
            (pickle.UnpicklingError, ValueError, TypeError),
        )
    image = Image.fromarray(pixels.transpose(1, 2, 0).copy())
    for form in ("png", "jpeg", "bmp", "webp", "gif", "tiff", "ppm"):
        yield (
            f"x.{form}",
            saved(image.save, form),
            lambda path: decode([path], PLACE, channels=3, size=8, threads=1),
            DataError,
        )
    events = {key: np.arange(20) % (2 if key == "p" else 20) for key in "txyp"}
    for write in (np.savez, np.savez_compressed):
        yield (
            f"{write.__name__}.npz",
            saved(write, **events),
            lambda path: SETTINGS.counts(NpzRecording(path, "x", 0).read()[0]),
            (BadRecording, OSError),
        )
    idx = header_of(pixels.shape) + pixels.tobytes()
    for name, content in (("x.idx", idx), ("x.idx.gz", gzip.compress(idx, mtime=0))):
        yield name, content, lambda path: read_idx(path, 3), (BadArchive, OSError)
    for name, how in (("x.h5", {}), ("parts.h5", {"chunks": (3,), "compression": "gzip"})):
        honest = hdf5_file(folder / f"honest-{name}", tuple(range(9)), **how).read_bytes()
        yield name, honest, read_hdf5, (BadArchive, OSError)
    yield "x.npy", saved(np.save, np.arange(60)), read_array, (BadArchive, OSError)
    for name, write in (("2", recorded.write_aedat2), ("3", recorded.write_aedat3)):
        file = folder / "honest.aedat"
        write(file, recorded.draw_events(1, events=300, seed=0))
        read = read_aedat2 if name == "2" else read_aedat3
        yield f"aedat{name}", file.read_bytes(), read, (BadRecording, OSError)
    for name, content in camera_files(cameras):
        yield (
            name,
            content,
            lambda path: SETTINGS.counts(CameraRecording(path, "x", 0, (24, 32)).read()[0]),
            (BadRecording, OSError),
        )
    digit = recorded.write_n_mnist(folder) / "Train/3/00000.bin"
    yield "x.bin", digit.read_bytes(), read_bin, (BadRecording, OSError)
    document = Checkpoint("x", {"a": 1}, 1, 5.0, {"w": torch.arange(9.0)}, 0, {"s": [1, 2]})
    save_checkpoint(document, folder / "honest.pt")
    content = (folder / "honest.pt").read_bytes()
    yield "x.pt", content, load_checkpoint, CheckpointError
    unsealed = saved(lambda file: torch.save({"format": 1, **vars(document)}, file))

    def load_sealed(path: Path) -> object:
        path.write_bytes(b"".join(sealed(path.read_bytes())))
        return load_checkpoint(path)

    yield "sealed.pt", unsealed, load_sealed, CheckpointError


def test_mutated_files_are_read_or_refused(
    recorded: ModuleType, cameras: ModuleType, tmp_path: Path
) -> None:
    """Under a bound of memory, in a process of their own: a crash would be told too."""

    def work() -> None:
        for name, content, read, errors in originals(recorded, cameras, tmp_path):
            path = tmp_path / name
            path.write_bytes(content)
            read(path) if name != "sealed.pt" else None
            refused = 0
            for seed in range(MUTATED):
                path.write_bytes(mutated(content, seed))
                try:
                    read(path)
                except errors:
                    refused += 1
                except Exception as other:
                    raise AssertionError(f"{name}, seed {seed}: {other!r}") from other
            assert refused > 0, name

    assert bounded(work) == "done"


def test_mutated_caches_are_read_or_refused(prepared: Path) -> None:
    def work() -> None:
        for name in ("cache.json", "train.npy"):
            content = (prepared / name).read_bytes()
            for seed in range(MUTATED):
                (prepared / name).write_bytes(mutated(content, seed))
                try:
                    cache = Cache.open(prepared, SETTINGS)
                except BadCache:
                    continue
                cache.frames("train").digest()
                cache.frames("train").take(torch.arange(6))
                cache.damage("train")
            (prepared / name).write_bytes(content)

    assert bounded(work) == "done"


def test_mutated_lists_are_read_or_refused(everything: Path) -> None:
    def work() -> None:
        for name, data, options in (
            ("tiny-imagenet-200/wnids.txt", "tiny_imagenet", {"classes": 3}),
            ("tiny-imagenet-200/val/val_annotations.txt", "tiny_imagenet", {"classes": 3}),
        ):
            content = (everything / name).read_bytes()
            for seed in range(MUTATED // 2):
                (everything / name).write_bytes(mutated(content, seed))
                try:
                    load(data, everything, **options)
                except ClifctlError:
                    continue
            (everything / name).write_bytes(content)

    assert bounded(work) == "done"
