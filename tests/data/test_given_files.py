"""Samples without labels: out of files a net sees what it sees of its test data."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clifctl.data import DATASETS, LoadedData, batches
from clifctl.data.events.event_set import RecordedFrames, read_recordings
from clifctl.data.sets.digits import digit_images
from clifctl.data.streaming import ImageFiles
from clifctl.errors import DataError

OPTIONS: dict[str, dict[str, Any]] = {
    "adding": {"train_samples": 3, "test_samples": 5},
    "shd": {"pool": 5},
    "image_folder": {"size": 16, "classes": 3, "mean": [0.1, 0.2, 0.3]},
    "npz": {"shape": [3, 8, 8], "classes": 4, "std": [0.5]},
    "cifar10_dvs": {"split": "tebn"},
    "event_files": {"classes": 3, "sensor": [24, 32], "size": 12, "frames_by": "time"},
}
# A view, and what makes it the same for all samples.
VIEWS: dict[str, dict[str, Any]] = {
    "rows": {},
    "pixels": {"permutation_seed": 3},
    "events": {"jitter": 0.0, "contrast_threshold": 0.1},
}


def loaded(name: str, root: Path, **more: Any) -> tuple[Any, int, LoadedData]:
    """The options of a data set, T, and the data."""
    dataset = DATASETS[name]
    place = root / "own" if name == "event_files" else root
    given = {} if dataset.files is None else {"root": str(place)}
    options = dataset.options(**{**given, **OPTIONS.get(name, {}), **more})
    steps = dataset.shape(options).timesteps or 4
    if dataset.camera is not None:
        return options, steps, read_recordings(name, dataset.camera, options, steps)
    return options, steps, dataset.load(options, steps)


def read(name: str, options: Any, steps: int, files: list[Path]) -> Tensor:
    """What the net sees of the samples in `files`."""
    found = DATASETS[name].unlabelled(options, steps)
    stored = [part for file in files for part in found.readers[file.suffix.lower()](file, 3)]
    joined = torch.cat(stored, 1)
    return joined if found.prepare is None else found.prepare(joined)


def written(name: str, data: LoadedData, folder: Path, on_disk: ModuleType) -> list[Path]:
    """The samples of the test split in files: their own, where they have some, else images where
    there are such, else one array."""
    inputs = data.test.inputs
    if isinstance(inputs, ImageFiles):
        return list(inputs.paths)
    if isinstance(inputs, RecordedFrames):
        return [recording.path for recording, _ in inputs.where]
    if name.startswith("digits"):
        images = torch.round(digit_images().test * 255).to(torch.uint8)[:7]
    elif isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and name != "npz":
        images = inputs[0]
    else:
        (order,) = (torch.arange(len(data.test)),)
        stored = next(data.test.read([order]))[0]
        array = stored[0] if name == "npz" else stored.transpose(0, 1)
        np.save(folder / "x.npy", array.numpy())
        return [folder / "x.npy"]
    files = [folder / f"{number:03d}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        on_disk.write_image(file, image.numpy())
    return files


# Others are of the same kind; recordings of dvs_gesture hold several samples: see below.
LIKE_OTHERS = {"fashion_mnist", "cifar100", "mnist1d", "ssc", "dvs_gesture"}


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in LIKE_OTHERS])
def test_a_net_sees_what_it_sees_of_its_test_data(
    name: str, data_root: Path, tmp_path: Path, on_disk: ModuleType
) -> None:
    # Images stay in their files, where a data set has any.
    in_files = {"in_memory": False} if name in ("tiny_imagenet", "image_folder") else {}
    more = {"jitter": 0.0} if name == "digits_events" else {}
    options, steps, data = loaded(name, data_root, **in_files, **more)
    files = written(name, data, tmp_path, on_disk)
    seen = read(name, options, steps, files)
    wanted = torch.cat([inputs for inputs, _ in batches(data.test, 16)], 1)
    assert seen.shape[1] > 4
    assert torch.equal(seen, wanted[:, : seen.shape[1]])
    assert seen.dtype == wanted.dtype == torch.float32
    assert DATASETS[name].unlabelled(options, steps).class_names == data.class_names


@pytest.mark.parametrize("view", VIEWS)
def test_images_are_seen_in_their_view(
    view: str, data_root: Path, tmp_path: Path, on_disk: ModuleType
) -> None:
    plain = loaded("mnist", data_root)[2]
    files = written("mnist", plain, tmp_path, on_disk)
    options, steps, data = loaded("mnist", data_root, view=view, **VIEWS[view])
    wanted = next(batches(data.test, len(files)))[0]
    assert torch.equal(read("mnist", options, steps, files), wanted)
    alone = read("mnist", options, steps, files[-1:])
    assert torch.equal(alone, wanted[:, -1:])  # whatever else was asked about


def test_images_of_any_size_are_cropped_as_to_test(data_root: Path) -> None:
    options, steps, data = loaded(
        "image_folder", data_root, resize="imagenet", size=9, in_memory=False
    )
    assert isinstance(data.test.inputs, ImageFiles)
    seen = read("image_folder", options, steps, list(data.test.inputs.paths))
    assert torch.equal(seen, next(batches(data.test, 6))[0])
    assert seen.shape == (1, 6, 3, 9, 9)


def test_arrays_of_several_shapes(tmp_path: Path, data_root: Path) -> None:
    digits = digit_images().test[:5]
    options, steps, data = loaded("digits", data_root)
    wanted = data.test.held[:, :5]
    for number, array in enumerate((digits, digits[:, 0], (digits * 255).round().byte())):
        np.save(tmp_path / f"{number}.npy", array.numpy())
        assert torch.equal(read("digits", options, steps, [tmp_path / f"{number}.npy"]), wanted)
    np.savez(tmp_path / "one.npz", only=digits[0, 0].numpy())
    np.savez(tmp_path / "x.npz", y=[1, 2], x=digits.numpy())
    assert torch.equal(read("digits", options, steps, [tmp_path / "one.npz"]), wanted[:, :1])
    assert torch.equal(read("digits", options, steps, [tmp_path / "x.npz"]), wanted)


def test_frames_of_events_are_taken_as_they_are_counted(data_root: Path, tmp_path: Path) -> None:
    options, steps, data = loaded("dvs_gesture", data_root, size=32, values="binary")
    stored, _ = next(data.test.read([torch.arange(3)]))
    np.save(tmp_path / "counts.npy", stored.transpose(0, 1).numpy().astype(np.uint8))
    seen = read("dvs_gesture", options, steps, [tmp_path / "counts.npy"])
    assert torch.equal(seen, data.test.prepared(stored))
    names = DATASETS["dvs_gesture"].unlabelled(options, steps).class_names
    assert names == data.class_names


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("digits", np.full((2, 8, 8), 1.5), "holds 1.5 to 1.5, digits are intensities from 0 to 1"),
        ("digits", np.zeros((3, 9, 9)), "has the shape [3, 9, 9], samples here are [1, 8, 8]"),
        ("digits", np.zeros((0, 8, 8)), "has the shape [0, 8, 8], samples here are"),
        ("digits", np.zeros((0, 1, 8, 8)), "holds no sample, its shape is [0, 1, 8, 8]"),
        ("digits", np.full((2, 8, 8), np.nan), "holds numbers that are not finite"),
        ("digits", np.zeros((2, 8, 8), "U3"), "holds <U3, and no numbers"),
        ("cifar10", np.zeros((2, 3, 32, 32)), "the images of this data set are bytes (uint8)"),
        ("cifar10", np.zeros((2, 32, 32, 3), "uint8"), "samples here are [3, 32, 32]"),
        ("n_mnist", np.full((4, 2, 34, 34), -1), "counts of events are whole numbers from 0 on"),
        ("adding", np.zeros((2, 5, 2)), "samples here are [4, 2]"),
    ],
)
def test_arrays_that_do_not_fit_are_told(
    name: str, array: Any, message: str, tmp_path: Path, data_root: Path
) -> None:
    np.save(tmp_path / "x.npy", array)
    dataset = DATASETS[name]
    options = dataset.options(**OPTIONS.get(name, {}))
    with pytest.raises(DataError) as caught:
        read(name, options, 4, [tmp_path / "x.npy"])
    assert str(tmp_path / "x.npy") in caught.value.message
    assert message in caught.value.message
    if array.shape[-1] == 3:
        assert caught.value.hint == "channels come first: write x.transpose(0, 3, 1, 2)"
