"""Images left in their files: the same batches as from memory, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches, shuffled_batches
from clifctl.errors import DataError

CASES = {
    "image_folder": {"size": 16, "classes": 3, "augmentation": "plain"},
    "tiny_imagenet": {"augmentation": "plain"},
}


def load(name: str, root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    return dataset.load(dataset.options(root=str(root), **CASES[name], **options), 2)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_batches_equal_those_from_memory(name: str, workers: int, data_root: Path) -> None:
    share = {"validation_share": 0.25} if name == "image_folder" else {}
    held = load(name, data_root, **share)
    streamed = load(name, data_root, in_memory=False, workers=workers, **share)
    assert streamed.train.held_bytes == streamed.train.targets.nbytes < held.train.held_bytes
    compared = 0
    for ours, theirs in zip(streamed.splits, held.splits, strict=True):
        assert torch.equal(ours.targets, theirs.targets)
        for (a, labels), (b, expected) in zip(batches(ours, 3), batches(theirs, 3), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(labels, expected)
            compared += 1
    streams = [
        shuffled_batches(
            data.train, 5, torch.Generator().manual_seed(7), data.augment, drop_last=True
        )
        for data in (streamed, held)
    ]
    for (a, labels), (b, expected) in zip(*streams, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(labels, expected)
        compared += 1
    assert compared >= 5


def test_the_hash_follows_the_files(data_root: Path, on_disk: Any, tmp_path: Path) -> None:
    streamed = load("image_folder", data_root, in_memory=False)
    assert streamed.sha256() == load("image_folder", data_root, in_memory=False).sha256()
    on_disk.write_image_folder(tmp_path)
    before = load("image_folder", tmp_path, in_memory=False).sha256()
    image = next((tmp_path / "train").rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"x")
    assert load("image_folder", tmp_path, in_memory=False).sha256() != before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named_when_it_is_reached(
    on_disk: Any, tmp_path: Path, workers: int
) -> None:
    on_disk.write_image_folder(tmp_path)
    image = next((tmp_path / "train").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:40])
    data = load("image_folder", tmp_path, in_memory=False, workers=workers)
    with pytest.raises(DataError, match="is not an image, or is cut off") as caught:
        list(batches(data.train, 4))
    assert str(image) in caught.value.message
    assert "Traceback" not in caught.value.message
    assert caught.value.hint is not None
    assert "clifctl data check image_folder" in caught.value.hint
