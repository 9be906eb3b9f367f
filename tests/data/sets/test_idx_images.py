"""MNIST and Fashion-MNIST: what is read from which files, and every wrong file."""

import gzip
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData
from clifctl.data.sets import fashion_mnist, idx_images, mnist
from clifctl.errors import DataError

Edit = Callable[[bytes], bytes]


def load(root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS["mnist"]
    return dataset.load(dataset.options(root=str(root), **options), 4)


def refused(root: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load(root, **options)
    assert "\n" not in caught.value.message
    assert "clifctl data check mnist" in str(caught.value.hint)
    assert caught.value.exit_code == 2
    return caught.value


def test_files_are_read_as_torchvision_reads_them(data_root: Path) -> None:
    from torchvision import datasets

    data = load(data_root)
    for split, train in ((data.train, True), (data.test, False)):
        theirs = datasets.MNIST(data_root, train=train)
        assert torch.equal(split.held[0, :, 0], theirs.data)
        assert torch.equal(split.targets, theirs.targets)
    assert data.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    named = fashion_mnist.FORMAT.class_names
    assert list(named) == datasets.FashionMNIST.classes


def test_packed_or_not_in_every_folder_they_are_the_same(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    hashes = set()
    for number, (folder, packed) in enumerate((("MNIST/raw", False), (".", True), (".", False))):
        root = tmp_path / str(number)
        on_disk.write_mnist(root / folder, train=13, test=11, packed=packed)
        hashes.add(load(root).sha256())
        content = (root / folder / f"train-images-idx3-ubyte{'.gz' * packed}").read_bytes()
        pixels = np.frombuffer(gzip.decompress(content) if packed else content, np.uint8, -1, 16)
        assert np.array_equal(load(root).train.held.numpy().ravel(), pixels)
    assert len(hashes) == 1


def test_the_folder_of_a_package_counts_last(
    on_disk: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = on_disk.write_mnist(tmp_path / "system", train=13, packed=True)
    form = replace(fashion_mnist.FORMAT, system=system)
    options = idx_images.IdxOptions(root=str(tmp_path / "mine"))
    assert len(idx_images.load(form, options, 4).train) == 13
    states = idx_images.inspect(form, tmp_path / "mine")
    assert [(state.path.parent, state.problem) for state in states] == [(system, None)] * 4
    on_disk.write_mnist(tmp_path / "mine", train=17)
    assert len(idx_images.load(form, options, 4).train) == 17
    (tmp_path / "mine" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"'.*mine/t10k-labels-idx1-ubyte' is missing") as caught:
        idx_images.load(form, options, 4)
    assert "apt-get install dataset-fashion-mnist" in str(caught.value.hint)


def test_pixels_are_standardised() -> None:
    for form, mean, std in ((mnist.FORMAT, 0.1307, 0.3081), (fashion_mnist.FORMAT, 0.286, 0.353)):
        assert (form.mean, form.std) == (mean, std)


def test_crops_are_filled_with_black_and_mirrored_ones_are_mirrored(data_root: Path) -> None:
    data = load(data_root, random_crop_padding=2, horizontal_flip=True)
    assert data.augment is not None
    stored = data.train.held[:, :40]
    drawn = torch.Generator().manual_seed(0)
    top, left = torch.randint(0, 5, (2, 40), generator=drawn)
    mirrored = torch.rand(40, generator=drawn) < 0.5
    seen, _ = data.augment(stored, data.train.targets[:40], torch.Generator().manual_seed(0))
    padded = torch.zeros(40, 32, 32, dtype=torch.uint8)
    padded[:, 2:30, 2:30] = stored[0, :, 0]
    for n, (i, j) in enumerate(zip(top.tolist(), left.tolist(), strict=True)):
        one = padded[n, i : i + 28, j : j + 28]
        one = one.flip(-1) if mirrored[n] else one
        expected = (one.double() / 255 - 0.1307) / 0.3081
        assert torch.allclose(seen[0, n, 0].double(), expected, atol=1e-6)
    assert load(data_root).augment is None


def test_nothing_is_downloaded_unasked(
    on_disk: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST, utils

    source = on_disk.write_mnist(tmp_path / "source", packed=True)
    asked: list[tuple[str, str]] = []

    def offline(url: str, root: str, filename: str, md5: str) -> None:
        asked.append((url, md5))
        raise OSError("no route to host")

    def second_mirror(url: str, root: str, filename: str, md5: str) -> None:
        if url.startswith(MNIST.mirrors[0]):
            raise OSError("no route to host")
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / filename).write_bytes((source / filename).read_bytes())

    monkeypatch.setattr(utils, "download_url", offline)
    assert "data.download=true" in str(refused(tmp_path).hint)
    assert asked == []
    error = refused(tmp_path, download=True)
    assert error.message.count("no route to host") == len(MNIST.mirrors)
    assert asked == [(m + MNIST.resources[0][0], MNIST.resources[0][1]) for m in MNIST.mirrors]
    monkeypatch.setattr(utils, "download_url", second_mirror)
    assert len(load(tmp_path, download=True).train) == 60
    assert (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz").is_file()


def header(magic: int, *sizes: int) -> Edit:
    size = 4 + 4 * len(sizes)
    return lambda content: struct.pack(f">{size // 4}I", magic, *sizes) + content[size:]


def repacked(edit: Edit) -> Edit:
    return lambda content: gzip.compress(edit(content))


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        (IMAGES, header(0x802, 60, 28, 28), "begins with the number 0x00000802, not with 0x000008"),
        (IMAGES, header(0xD03, 60, 28, 28), "begins with the number 0x00000d03"),
        (IMAGES, header(0x803, 61, 28, 28), ""),
        (IMAGES, header(0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "bytes"),
        (IMAGES, header(0x803, 60, 56, 14), "60 images of 56x14 pixels; one or more of 28x28"),
        (IMAGES, lambda content: content[:-1], ""),
        (IMAGES, lambda content: content[:9], "cut off"),
        (IMAGES, lambda content: b"", "cut off"),
        (IMAGES, lambda content: content + b"\0", ""),
        (IMAGES, lambda content: header(0x803, 0, 28, 28)(content)[:16], "0 images"),
        (LABELS, lambda content: content[:-1] + b"\x0a", "label 10 of sample 19 is out of range"),
        (LABELS, lambda content: header(0x801, 19)(content)[:-1], "holds 20 images, and"),
    ],
)
def test_a_bad_file_is_named(
    on_disk: ModuleType, tmp_path: Path, name: str, edit: Edit, said: str, packed: bool
) -> None:
    file = on_disk.write_mnist(tmp_path) / name
    content = edit(file.read_bytes())
    if packed:
        file.unlink()
        file = file.with_name(f"{name}.gz")
        content = gzip.compress(content)
    file.write_bytes(content)
    error = refused(tmp_path)
    assert f"'{file}'" in error.message
    assert said in error.message
    states = idx_images.inspect(mnist.FORMAT, tmp_path)
    assert error.message in [f"{state.problem}" for state in states if state.path == file]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda packed: packed[:-9], "it is cut off"),
        (lambda packed: packed[:-8] + bytes(8), "cannot be unpacked: Error -3"),
        (lambda packed: packed[:40] + bytes(20) + packed[60:], "cannot be unpacked"),
        (lambda packed: packed + b"\0", "something follows"),
        (lambda packed: packed + packed, "something follows"),
        (lambda packed: packed[:3] + b"\x08" + packed[4:10] + b"x" * 2**20, "cut off"),
    ],
)
def test_what_is_packed_badly_is_named(
    on_disk: ModuleType, tmp_path: Path, edit: Edit, said: str
) -> None:
    file = on_disk.write_mnist(tmp_path, packed=True) / f"{IMAGES}.gz"
    file.write_bytes(edit(file.read_bytes()))
    error = refused(tmp_path)
    assert f"'{file}' is corrupted" in error.message
    assert said in error.message


def test_files_of_the_published_number_are_the_published_ones(
    on_disk: ModuleType, tmp_path: Path
) -> None:
    on_disk.write_mnist(tmp_path, test=10_000)
    error = refused(tmp_path)
    assert f"'{tmp_path / 't10k-images-idx3-ubyte'}' is corrupted, or of another" in error.message
    assert "the published one is 2646ac647ad5339dbf082846283269ea" in error.message


def test_the_published_sum_is_of_header_and_content(on_disk: ModuleType, tmp_path: Path) -> None:
    import hashlib

    on_disk.write_mnist(tmp_path, test=10_000)
    md5 = partial(hashlib.md5, usedforsecurity=False)
    names = [f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    sums = [md5((tmp_path / name).read_bytes()).hexdigest() for name in names]
    form = replace(mnist.FORMAT, md5=("", "", *sums))
    assert len(idx_images.load(form, idx_images.IdxOptions(root=str(tmp_path)), 4).test) == 10_000
