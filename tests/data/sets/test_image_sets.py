"""The image sets: what is read from their files, splits, hashes, and every wrong file."""

import hashlib
import io
import os
import pickle
import shlex
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clifctl.data import DATASETS, LoadedData, Split
from clifctl.data.images import held_out_per_class
from clifctl.data.unpickling import load_plain
from clifctl.errors import DataError

FOLDER = {"size": 16, "classes": 3}
ARRAYS = {"shape": [3, 8, 8], "classes": 4}


def load(name: str, root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    return dataset.load(dataset.options(root=str(root), **options), 4)


def refused(name: str, root: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load(name, root, **options)
    assert "\n" not in caught.value.message
    assert f"clifctl data check {name}" in str(caught.value.hint)
    assert caught.value.exit_code == 2
    return caught.value


def test_cifar_is_read_as_torchvision_reads_it(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    for name, published in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        monkeypatch.setattr(published, "_check_integrity", lambda self: True)
        monkeypatch.setattr(published, "_load_meta", lambda self: None)
        data = load(name, data_root)
        for split, train in ((data.train, True), (data.test, False)):
            theirs = published(data_root, train=train)
            assert np.array_equal(theirs.data.transpose(0, 3, 1, 2), split.inputs[0].numpy())
            assert theirs.targets == split.targets.tolist()


def test_normalisation_is_the_authors(data_root: Path) -> None:
    pixel = torch.full((1, 1, 3, 1, 1), 51, dtype=torch.uint8)  # 0.2
    for name, mean, std in (
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ("tiny_imagenet", (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    ):
        expected = [(0.2 - m) / s for m, s in zip(mean, std, strict=True)]
        for split in load(name, data_root).splits:
            seen = split.prepared(pixel).flatten().tolist()
            assert seen == pytest.approx(expected, abs=1e-6)


def test_tiny_imagenet_labels_go_by_sorted_wnids(data_root: Path) -> None:
    data = load("tiny_imagenet", data_root)
    assert data.train.targets.tolist() == list(range(200))
    assert data.test.targets.tolist() == list(range(20))
    file = data_root / "tiny-imagenet-200/train/n00000007/images/n00000007_0.JPEG"
    with Image.open(file) as image:
        pixels = np.asarray(image)
    assert np.array_equal(data.train.inputs[0, 7].numpy(), pixels.transpose(2, 0, 1))
    # Every fifth image is grey on disk, colour in memory.
    assert torch.equal(data.train.inputs[0, 4, 0], data.train.inputs[0, 4, 1])
    assert not torch.equal(data.train.inputs[0, 7, 0], data.train.inputs[0, 7, 1])


def test_tiny_imagenet_may_lie_in_the_root_itself_with_fewer_classes(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    on_disk.write_tiny_imagenet(tmp_path, classes=3, train_per_class=2, test_samples=6)
    data = load("tiny_imagenet", tmp_path, classes=3)
    assert data.train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.targets.tolist() == [0, 1, 2, 0, 1, 2]
    error = refused("tiny_imagenet", tmp_path)
    assert "names 3 classes, the recipe says 200" in error.message
    assert "data.classes=3" in str(error.hint)


def test_image_folder_reads_colour_and_grey(data_root: Path) -> None:
    data = load("image_folder", data_root, **FOLDER, mean=[0.2, 0.4, 0.6], std=[1.0, 2.0, 4.0])
    assert data.train.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    with Image.open(data_root / "train/class1/10.png") as image:
        first = np.asarray(image)
    # The files of a class go by their names: 1, 10, 4, 7.
    assert np.array_equal(data.train.inputs[0, 5].numpy(), first.transpose(2, 0, 1))
    seen = data.test.prepared(torch.full((1, 1, 3, 1, 1), 255, dtype=torch.uint8))
    assert seen.flatten().tolist() == pytest.approx([0.8, 0.3, 0.1])
    grey = load("image_folder", data_root, **FOLDER, channels=1)
    assert grey.train.inputs.shape == (1, 12, 1, 16, 16)
    assert grey.test.prepared(grey.test.inputs).abs().max() <= 1.0


def test_npz_takes_bytes_and_numbers(on_disk: ModuleType, tmp_path: Path) -> None:
    file = on_disk.write_npz(tmp_path / "mine.npz")
    data = load("npz", file, **ARRAYS)
    assert torch.equal(data.test.prepared(data.test.inputs), data.test.inputs.float() / 255)
    numbers = on_disk.write_npz(tmp_path / "data.npz", dtype="float64")
    as_they_are = load("npz", numbers.parent, **ARRAYS)
    assert as_they_are.test.prepare is None
    assert torch.equal(as_they_are.test.inputs, data.test.inputs.float())


def test_validation_is_drawn_per_class_by_its_own_seed(data_root: Path) -> None:
    whole = load("cifar10", data_root)
    data = load("cifar10", data_root, validation_share=0.25)
    assert data.validation is not None
    assert data.validation.targets.bincount().tolist() == [5] * 10
    assert data.train.targets.bincount().tolist() == [15] * 10
    assert torch.equal(data.test.inputs, whole.test.inputs)
    both = torch.cat([data.train.inputs, data.validation.inputs], 1)[0].flatten(1)
    assert torch.equal(
        torch.unique(both, dim=0), torch.unique(whole.train.inputs[0].flatten(1), dim=0)
    )
    hashes = {
        load("cifar10", data_root, **options).sha256()
        for options in (
            {},
            {"validation_share": 0.25},
            {"validation_share": 0.25, "split_seed": 1},
            {"validation_share": 0.3},
        )
    }
    assert len(hashes) == 4
    assert load("cifar10", data_root, validation_share=0.25).sha256() == data.sha256()
    error = refused("tiny_imagenet", data_root, validation_share=0.1)
    assert "0 would be held out" in error.message


def test_held_out_and_kept_are_disjoint_and_ascending() -> None:
    targets = torch.arange(1000) % 7
    kept, out = held_out_per_class(targets, 0.1, 3)
    assert torch.equal(torch.cat([kept, out]).sort().values, torch.arange(1000))
    assert torch.equal(kept, kept.sort().values)
    # 142 or 143 a class: 14 each.
    assert targets[out].bincount().tolist() == [14] * 7
    assert not torch.equal(held_out_per_class(targets, 0.1, 4)[1], out)


def test_the_hash_of_60000_images_is_cheap() -> None:
    pixels = torch.zeros(1, 60_000, 3, 32, 32, dtype=torch.uint8)
    data = LoadedData(
        Split(pixels[:, :50_000], torch.zeros(50_000).long()),
        Split(pixels[:, 50_000:], torch.zeros(10_000).long()),
    )
    started = time.process_time()
    before = data.sha256()
    assert time.process_time() - started < 3
    pixels[0, 59_999, 2, 31, 31] = 1
    assert data.sha256() != before


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny_imagenet", "image_folder", "npz"])
def test_missing_data_names_the_file_and_the_command(name: str, tmp_path: Path) -> None:
    options = {"image_folder": FOLDER, "npz": ARRAYS}.get(name, {})
    error = refused(name, tmp_path / "nowhere", **options)
    assert str(tmp_path / "nowhere") in error.message
    assert "missing" in error.message
    assert f"--root {shlex.quote(str(tmp_path / 'nowhere'))}" in str(error.hint)


def test_nothing_is_downloaded_unasked_and_no_network_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import utils

    asked = []

    def offline(url: str, root: Path, **options: Any) -> None:
        asked.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr(utils, "download_and_extract_archive", offline)
    assert "data.download=true" in str(refused("cifar10", tmp_path).hint)
    assert asked == []
    error = refused("cifar10", tmp_path, download=True)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]
    assert "no route to host" in error.message


def test_a_download_is_unpacked_and_read(
    on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets
    from torchvision.datasets import utils

    source = on_disk.write_cifar10(tmp_path / "source")
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=source.name)
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5)

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        (Path(root) / filename).write_bytes(archive.read_bytes())

    monkeypatch.setattr(utils, "download_url", fetch)
    (tmp_path / "target").mkdir()
    data = load("cifar10", tmp_path / "target", download=True)
    assert len(data.train) == 200
    # Present and good, but not unpacked: the error says how.
    (tmp_path / "target" / source.name).rename(tmp_path / "elsewhere")
    error = refused("cifar10", tmp_path / "target")
    assert "tar -xzf" in str(error.hint)


def test_a_corrupted_archive_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"half of it")
    error = refused("cifar10", tmp_path)
    assert f"'{archive}' is corrupted" in error.message
    assert "c58f30108f718f92721af3b95e74349a" in error.message


def damaged_pickle(content: bytes) -> bytes:
    return content[: len(content) // 2]


def hostile_pickle(content: bytes) -> bytes:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, ("hostile",)

    return pickle.dumps({"data": Hostile(), "labels": []})


def changed(**entries: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        held = pickle.loads(content)
        for key, edit in entries.items():
            held[key] = edit(held[key])
        return pickle.dumps({key: value for key, value in held.items() if value is not None})

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damaged_pickle, "corrupted"),
        (hostile_pickle, "which is not run"),
        (lambda content: b"", "corrupted"),
        (lambda content: pickle.dumps([1, 2]), "corrupted"),
        (changed(labels=lambda labels: [10, *labels[1:]]), "label 10 of sample 0"),
        (changed(labels=lambda labels: [*labels[:-1], -1]), "label -1 of sample 39"),
        (changed(labels=lambda labels: labels[:-1]), "40 images of 3072 bytes and 39 labels"),
        (changed(labels=lambda labels: None), "no entry 'labels'"),
        (changed(data=lambda rows: rows[:, :768]), "images of 768 bytes"),
        (changed(data=lambda rows: rows.astype("float32")), "an array of 'f4', no bytes"),
        (changed(data=lambda rows: rows.astype("int32")), "no rows of bytes"),
        (changed(labels=lambda labels: [0.5, *labels[1:]]), "its labels are not whole numbers"),
        (changed(labels=lambda labels: [2**64, *labels[1:]]), "corrupted"),
        (changed(labels=lambda labels: [True, *labels[1:]]), "its labels are not whole numbers"),
    ],
)
def test_a_bad_batch_of_cifar_is_named(
    on_disk: ModuleType, tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    file = on_disk.write_cifar10(tmp_path) / "data_batch_3"
    file.write_bytes(damage(file.read_bytes()))
    error = refused("cifar10", tmp_path)
    assert f"'{file}'" in error.message
    assert said in error.message
    assert not Path("hostile").exists()


def test_a_batch_as_large_as_the_published_one_must_be_it(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    on_disk.write_cifar10(tmp_path, batch_samples=10, test_samples=10_000)
    error = refused("cifar10", tmp_path)
    assert "test_batch' is corrupted: its MD5 is" in error.message
    assert "40351d587109b95175f43aff81a1287e" in error.message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_every_protocol_are_read(protocol: int) -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = {"data": rows, "bytes": b"\xff\x00", "list": [1, 2.5, "text"], "tuple": (None, True)}
    held = load_plain(pickle.dumps(content, protocol=protocol))
    assert np.array_equal(held.pop("data"), rows)
    assert held == {"bytes": b"\xff\x00", "list": [1, 2.5, "text"], "tuple": (None, True)}


def test_a_pickle_of_python_2_and_numpy_1_is_read() -> None:
    # As the published batches are: text for bytes, numpy.core.
    content = pickle.dumps({"data": np.arange(6, dtype=np.uint8)}, protocol=2)
    old = content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    assert old != content or b"cnumpy.core.multiarray" in content
    assert load_plain(old)["data"].tolist() == [0, 1, 2, 3, 4, 5]
    python2 = b"(dp0\nS'data'\np1\nS'\\xff\\x00'\np2\ns."
    assert load_plain(python2) == {"data": "\xff\x00"}


def shrink(file: Path) -> None:
    Image.new("RGB", (32, 48)).save(file)


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])


def scribble(file: Path) -> None:
    file.write_bytes(b"not an image")


@pytest.mark.parametrize(
    ("damage", "said"),
    [(cut, "is cut off"), (scribble, "not an image"), (shrink, "has 32x48 pixels")],
)
def test_a_bad_image_is_named(
    on_disk: ModuleType, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    on_disk.write_tiny_imagenet(tmp_path, classes=3, test_samples=3)
    on_disk.write_image_folder(tmp_path / "own")
    for name, root, file, options in (
        ("tiny_imagenet", tmp_path, tmp_path / "val/images/val_1.JPEG", {"classes": 3}),
        ("image_folder", tmp_path / "own", tmp_path / "own/test/class2/2.png", FOLDER),
    ):
        damage(file)
        error = refused(name, root, **options)
        assert f"'{file}'" in error.message
        assert said in error.message


def test_wrong_lists_of_tiny_imagenet_are_named(on_disk: ModuleType, tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        return Path(on_disk.write_tiny_imagenet(tmp_path / name, classes=3, test_samples=3))

    folder = fresh("a")
    (folder / "words.txt").unlink()
    assert f"'{folder / 'words.txt'}' is missing" in refused("tiny_imagenet", folder).message
    folder = fresh("b")
    annotations = folder / "val/val_annotations.txt"
    annotations.write_text(annotations.read_text().replace("n00000002", "n99"))
    message = refused("tiny_imagenet", folder, classes=3).message
    assert f"'{annotations}', line 3: 'n99' is not in wnids.txt" in message
    folder = fresh("c")
    (folder / "val/images/val_0.JPEG").unlink()
    assert "val_0.JPEG' is missing" in refused("tiny_imagenet", folder, classes=3).message
    folder = fresh("d")
    (folder / "train/n00000001/images/n00000001_0.JPEG").unlink()
    message = refused("tiny_imagenet", folder, classes=3).message
    assert f"'{folder / 'train/n00000001'}' is missing, or holds no image" in message
    folder = fresh("e")
    (folder / "wnids.txt").write_bytes(b"\xff\xfe\xff")
    assert "cannot be read as text" in refused("tiny_imagenet", folder, classes=3).message


def test_wrong_folders_are_named(on_disk: ModuleType, tmp_path: Path) -> None:
    on_disk.write_image_folder(tmp_path)
    error = refused("image_folder", tmp_path, size=16, classes=4)
    assert f"'{tmp_path / 'train'}' has 3 classes, the recipe says 4" in error.message
    assert "data.classes=3" in str(error.hint)
    error = refused("image_folder", tmp_path, size=24, classes=3)
    assert "has 16x16 pixels, 24x24 are needed" in error.message
    (tmp_path / "test/class2").rename(tmp_path / "test/other")
    error = refused("image_folder", tmp_path, **FOLDER)
    assert "class 'class2' is in" in error.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y_train": None}, "no array 'y_train'"),
        ({"x_test": np.zeros((8, 3, 9, 9), np.uint8)}, "samples of shape [3, 9, 9]"),
        ({"y_test": np.full(8, 4)}, "label 4 of sample 0 is out of range"),
        ({"y_test": np.arange(8) - 1}, "label -1 of sample 0"),
        ({"y_train": np.zeros(7, int)}, "must be 24 whole numbers"),
        ({"y_train": np.zeros(24)}, "is float64"),
        ({"x_train": np.zeros((24, 3, 8, 8), int)}, "x_train is int64"),
        ({"x_train": np.full((24, 3, 8, 8), np.nan)}, "not finite"),
        ({"x_train": np.zeros((24, 3, 8, 8))}, "must both be bytes"),
        ({"x_test": np.array([None])}, "not an .npz of plain arrays"),
        ({"x_train": np.full((24, 3, 8, 8), -1e39)}, "holds -1e+39, float32 holds up to 3.40e+38"),
        ({"x_train": np.zeros((24, 2, 2, 3, 8, 8), np.uint8)}, "one to three dimensions"),
        ({"x_train": np.zeros(24, np.uint8)}, "one to three dimensions"),
        ({"x_train": np.zeros((24, 3, 0, 8), np.uint8)}, "holds no sample"),
        ({"x_train": np.zeros((24, 65537), np.uint8)}, "each of at most 65,536"),
        ({"y_train": np.full(24, 2**63, np.uint64)}, f"holds {2**63}, which is not a label"),
    ],
)
def test_wrong_arrays_are_named(
    on_disk: ModuleType, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    file = on_disk.write_npz(tmp_path / "data.npz")
    with np.load(file) as opened:
        arrays = {**opened, **change}
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    error = refused("npz", tmp_path, **ARRAYS)
    assert f"'{file}'" in error.message
    assert said in error.message


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ((8, 8, 3), "x_train.transpose(0, 3, 1, 2) into the file, with data.shape=[3,8,8]"),
        ((28, 20, 1), "x_train.transpose(0, 3, 1, 2) into the file, with data.shape=[1,28,20]"),
        (
            (8, 7),
            "x_train[:, None] into the file, with data.shape=[1,8,7]; or, for the net 'mlp', d",
        ),
        ((3, 9, 9), "data.shape=[3,9,9]"),
        ((3, 8, 4), "data.shape=[3,8,4]"),
        ((5,), "data.shape=[5]"),
    ],
)
def test_the_shape_that_is_advised_is_one_that_works(
    on_disk: ModuleType, tmp_path: Path, given: tuple[int, ...], advice: str
) -> None:
    file = on_disk.write_npz(tmp_path / "data.npz")
    with np.load(file) as opened:
        arrays = {**opened}
    x = {part: np.zeros((len(arrays[f"x_{part}"]), *given), np.uint8) for part in ("train", "test")}
    np.savez(file, **{**arrays, "x_train": x["train"], "x_test": x["test"]})
    assert advice in str(refused("npz", tmp_path, **ARRAYS).hint)


def test_check_finds_in_arrays_what_training_would(on_disk: ModuleType, tmp_path: Path) -> None:
    files = DATASETS["npz"].files
    assert files is not None
    file = on_disk.write_npz(tmp_path / "data.npz")
    with np.load(file) as opened:
        arrays = {**opened}
    assert files.inspect(tmp_path)[0].problem is None
    for change in ({"y_test": np.zeros(7, int)}, {"x_train": np.full((24, 3, 8, 8), np.inf)}):
        np.savez(file, **{**arrays, **change})
        problem = files.inspect(tmp_path)[0].problem
        assert problem is not None
        assert refused("npz", tmp_path, **ARRAYS).message.endswith(problem.partition("': ")[2])


def test_a_corrupted_npz_is_named(on_disk: ModuleType, tmp_path: Path) -> None:
    file = on_disk.write_npz(tmp_path / "data.npz")
    content = bytearray(file.read_bytes())
    content[400:440] = bytes(40)
    for broken in (bytes(content), bytes(content[:200]), b""):
        file.write_bytes(broken)
        assert f"'{file}' is corrupted" in refused("npz", tmp_path, **ARRAYS).message
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    file.write_bytes(buffer.getvalue())
    assert f"'{file}'" in refused("npz", tmp_path, **ARRAYS).message
