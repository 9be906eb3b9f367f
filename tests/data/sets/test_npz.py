"""Arrays of a person's own: over time, standardised, augmented, with a validation split."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches
from clifctl.data.sets.npz import NpzOptions
from clifctl.errors import DataError, RecipeError
from clifctl.recipe.load import data_section

T = 5


def written(file: Path, *, shape: tuple[int, ...], dtype: str = "float64", **more: Any) -> Any:
    """Arrays with a time axis, 11 and 7 samples of two classes; what was written."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, samples in (("train", 11), ("test", 7)):
        numbers = random.integers(0, 256, (samples, T, *shape))
        arrays[f"x_{part}"] = (numbers if dtype == "uint8" else numbers / 64).astype(dtype)
        arrays[f"y_{part}"] = np.arange(samples) % 2
    arrays |= more
    np.savez(file, **arrays)
    return arrays


def load(file: Path, timesteps: int = T, **options: Any) -> LoadedData:
    return DATASETS["npz"].load(NpzOptions(root=str(file), classes=2, **options), timesteps)


def test_samples_have_an_entry_for_each_time_step(tmp_path: Path) -> None:
    for shape, dtype in (((3, 6, 4), "uint8"), ((7,), "float64"), ((2, 3), "float32")):
        file = tmp_path / "x.npz"
        arrays = written(file, shape=shape, dtype=dtype)
        data = load(file, shape=shape, time_axis=True)
        for part, split in (("train", data.train), ("test", data.test)):
            inputs, labels = next(batches(split, 100))
            assert inputs.shape == (T, len(arrays[f"y_{part}"]), *shape)
            scale = 255 if dtype == "uint8" else 1
            for t in range(T):
                expected = (arrays[f"x_{part}"][:, t] / scale).astype(np.float32)
                assert np.allclose(inputs[t].numpy(), expected, rtol=1e-6, atol=0)
            assert labels.tolist() == arrays[f"y_{part}"].tolist()
        options = NpzOptions(root=str(file), classes=2, shape=shape, time_axis=True)
        said = DATASETS["npz"].shape(options)
        assert (said.input_shape, said.static, said.timesteps) == (shape, False, None)


def test_numbers_are_standardised(tmp_path: Path) -> None:
    arrays = written(tmp_path / "x.npz", shape=(3, 6, 4), dtype="uint8")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    asked = {"shape": (3, 6, 4), "time_axis": True, "mean": mean, "std": std}
    inputs, _ = next(batches(load(tmp_path / "x.npz", **asked).test, 7))
    exact = arrays["x_test"].transpose(1, 0, 2, 3, 4) / 255
    exact = (exact - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert np.allclose(inputs.double().numpy(), exact, atol=2e-6)
    arrays = written(tmp_path / "y.npz", shape=(2, 3))
    asked = {"shape": (2, 3), "time_axis": True, "std": (4.0,)}
    inputs, _ = next(batches(load(tmp_path / "y.npz", **asked).test, 7))
    assert np.array_equal(inputs.double().numpy(), arrays["x_test"].swapaxes(0, 1) / 4)


def test_every_time_step_of_a_sample_is_augmented_alike(tmp_path: Path) -> None:
    written(tmp_path / "x.npz", shape=(2, 6, 4), dtype="uint8")
    asked = {"shape": (2, 6, 4), "time_axis": True, "mean": (0.5,)}
    data = load(tmp_path / "x.npz", **asked, random_crop_padding=2, horizontal_flip=True)
    stored, labels = data.train.held[:, :9], data.train.targets[:9]
    assert data.augment is not None
    seen, targets = data.augment(stored, labels, torch.Generator().manual_seed(3))
    drawn = torch.Generator().manual_seed(3)
    top, left = torch.randint(0, 5, (2, 9), generator=drawn).tolist()
    mirrored = (torch.rand(9, generator=drawn) < 0.5).tolist()
    assert torch.equal(targets, labels)
    for n in range(9):
        padded = torch.zeros(T, 2, 10, 8, dtype=torch.float64)
        padded[:, :, 2:8, 2:6] = stored[:, n].double() / 255
        one = padded[:, :, top[n] : top[n] + 6, left[n] : left[n] + 4]
        one = one.flip(-1) if mirrored[n] else one
        assert torch.allclose(seen[:, n].double(), one - 0.5, atol=1e-6)
    assert load(tmp_path / "x.npz", **asked).augment is None


def test_a_file_has_a_validation_split_or_some_is_held_out(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    held = {"x_validation": np.full((3, T, 7), 2.0), "y_validation": np.array([1, 0, 1])}
    written(file, shape=(7,), **held)
    asked: dict[str, Any] = {"shape": (7,), "time_axis": True}
    data = load(file, **asked)
    assert data.validation is not None
    assert [len(split) for split in data.splits] == [11, 7, 3]
    assert data.validation.held.unique().tolist() == [2.0]
    assert data.validation.targets.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="has a validation split of its own") as caught:
        load(file, **asked, validation_share=0.2)
    assert "data.validation_share=0" in str(caught.value.hint)
    written(file, shape=(7,), x_validation=held["x_validation"])
    with pytest.raises(DataError, match="no array 'y_validation'"):
        load(file, **asked)
    arrays = written(file, shape=(7,))
    data = load(file, **asked, validation_share=0.4)
    assert [len(split) for split in data.splits] == [7, 7, 4]
    both = torch.cat([data.train.held, data.validation.held], 1).flatten(2)
    exact = arrays["x_train"].astype(np.float32).swapaxes(0, 1)
    assert np.array_equal(np.sort(both.numpy(), axis=1), np.sort(exact, axis=1))


@pytest.mark.parametrize(
    ("options", "timesteps", "said", "hint"),
    [
        ({"time_axis": True}, 4, "x_train has 5 time steps, the recipe says 4", "timesteps=5"),
        ({}, 5, r"shape \[5, 2, 6, 4\], the recipe says \[2, 6, 4\]", "data.time_axis=true takes"),
        (
            {"time_axis": True, "shape": (2, 4, 6)},
            5,
            r"shape \[5, 2, 6, 4\], the recipe says \[5, 2, 4, 6\]",
            r"samples are \[T, \*shape\], T = timesteps = 5",
        ),
    ],
)
def test_another_shape_is_told(
    tmp_path: Path, options: dict[str, Any], timesteps: int, said: str, hint: str
) -> None:
    written(tmp_path / "x.npz", shape=(2, 6, 4))
    with pytest.raises(DataError, match=said) as caught:
        load(tmp_path / "x.npz", timesteps, **{"shape": (2, 6, 4), **options})
    assert caught.match("x.npz'")
    assert re.search(hint, str(caught.value.hint))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["shape=[7]", "horizontal_flip=true"], r"horizontal_flip = True is of images"),
        (["shape=[2,3]", "random_crop_padding=1"], r"random_crop_padding = 1 is of images"),
        (["shape=[2,6,4]", "time_axis=true", "view=rows"], "view = 'rows' makes time steps of"),
        (["shape=[2,6,4]", "mean=[0.1,0.2,0.3]"], "mean has 3 numbers: one, or one for each of 2"),
        (["shape=[2,6,4]", "std=[0.0]"], "std must be greater than 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        data_section("npz", [*overrides, "classes=2"], 3)
