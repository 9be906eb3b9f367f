"""Images row by row and pixel by pixel, against the images themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches
from clifctl.errors import RecipeError
from clifctl.recipe.load import data_section, load_recipe

Run = Callable[..., Any]
# name -> options beside the root, shape of an image
IMAGES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "digits": ({}, (1, 8, 8)),
    "mnist": ({}, (1, 28, 28)),
    "cifar10": ({}, (3, 32, 32)),
    "tiny_imagenet": ({}, (3, 64, 64)),
    "image_folder": ({"size": 16, "classes": 3, "in_memory": False}, (3, 16, 16)),
    "npz": ({"shape": [3, 8, 8], "classes": 4}, (3, 8, 8)),
}


def load(name: str, root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    own = {} if dataset.files is None else {"root": str(root)}
    return dataset.load(dataset.options(**own, **IMAGES[name][0], **options), 4)


@pytest.mark.parametrize("name", IMAGES)
def test_rows_and_pixels_are_those_of_the_images(name: str, data_root: Path) -> None:
    _, (channels, height, width) = IMAGES[name]
    whole = load(name, data_root)
    (images, labels), *_ = batches(whole.test, 5)
    order = np.random.RandomState(7).permutation(height * width)
    for view, seed, shape in (
        ("rows", None, (height, 5, channels * width)),
        ("pixels", None, (height * width, 5, channels)),
        ("pixels", 7, (height * width, 5, channels)),
    ):
        data = load(name, data_root, view=view, permutation_seed=seed)
        assert data.sha256() == whole.sha256()  # what is held are images
        (seen, targets), *_ = batches(data.test, 5)
        assert torch.equal(targets, labels)
        assert seen.shape == shape
        assert seen.is_contiguous()
        for t in range(0, len(seen), 7):
            place = t if seed is None else int(order[t])
            row, column = divmod(place, width)
            expected = images[0, :, :, row, column]
            if view == "rows":
                expected = torch.cat([images[0, :, c, t] for c in range(channels)], 1)
            assert torch.equal(seen[t], expected)
        dataset = DATASETS[name]
        own = {} if dataset.files is None else {"root": str(data_root)}
        options = dataset.options(**own, **IMAGES[name][0], view=view, permutation_seed=seed)
        said = dataset.shape(options)
        assert (said.timesteps, said.input_shape, said.static) == (len(seen), shape[2:], False)


def test_a_validation_split_is_seen_as_the_others(data_root: Path) -> None:
    data = load("mnist", data_root, view="rows", validation_share=0.5)
    assert data.validation is not None
    for split in data.splits:
        assert next(batches(split, 3))[0].shape == (28, 3, 28)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits", {"random_crop_padding": 2}),
        ("mnist", {"random_crop_padding": 3, "horizontal_flip": True}),
        ("cifar10", {"augmentation": "plain"}),
        ("cifar10", {"augmentation": "strong"}),
    ],
)
def test_images_are_augmented_before_they_are_cut(
    name: str, options: dict[str, Any], data_root: Path
) -> None:
    whole, pixels = (load(name, data_root, view=view, **options) for view in ("image", "pixels"))
    stored, labels = whole.train.held[:, :9], whole.train.targets[:9]
    assert whole.augment is not None
    assert pixels.augment is not None
    images, targets = whole.augment(stored, labels, torch.Generator().manual_seed(1))
    seen, theirs = pixels.augment(stored, labels, torch.Generator().manual_seed(1))
    assert torch.equal(seen, images[0].flatten(2).permute(2, 0, 1))
    assert torch.equal(theirs, targets)
    assert not torch.equal(images, whole.train.prepared(stored))


def test_the_view_decides_the_time_steps() -> None:
    rows = ["data.name=digits", "data.view=rows"]
    assert load_recipe("digits_rows_mlp", rows).recipe.data.input_shape == (8,)
    for name, overrides, said in (
        (
            "digits_rows_mlp",
            [*rows, "timesteps=4"],
            "timesteps = 4: data set 'digits' with data.view=rows has 8 time steps",
        ),
        (
            "digits_rows_mlp",
            [*rows, "data.view=pixels"],
            "timesteps = 8: data set 'digits' with data.view=pixels has 64 time steps",
        ),
        ("digits_rows_mlp", ["timesteps=7"], "timesteps = 7: data set 'digits_rows' has 8"),
        (
            "digits_rows_mlp",
            [*rows, "data.permutation_seed=3"],
            "permutation_seed = 3: permutes the pixels of view=pixels, the view is rows",
        ),
        ("digits_snn5", ["data.view=columns"], "data.view = 'columns'"),
    ):
        with pytest.raises(RecipeError) as caught:
            load_recipe(name, overrides)
        assert said in caught.value.message
    with pytest.raises(RecipeError, match=r"view = 'rows' is of images, of shape \[C, H, W\]"):
        data_section("npz", ["view=rows", "shape=[7,5]", "classes=2"], 7)
    assert data_section("npz", ["view=rows", "shape=[2,7,5]", "classes=2"], 3)[1] == 7


def test_a_net_trains_on_rows_as_on_digits_rows(clifctl: Run) -> None:
    options = ["model.hidden=[5]", "train.epochs=1", "--target", "reference", "--json"]
    kept = clifctl("train", "digits_rows_mlp", *options, "--out", "a")
    seen = clifctl(
        "train", "digits_rows_mlp", "data.name=digits", "data.view=rows", *options, "--out", "b"
    )
    assert (kept.code, seen.code) == (0, 0)
    assert kept.json["test_loss"] == seen.json["test_loss"]
    assert clifctl("eval", "b/last.pt", "--json", "--target", "reference").code == 0


def test_one_sample_is_shown_in_its_view(clifctl: Run) -> None:
    for view, shape in (("image", [8, 1, 8, 8]), ("rows", [8, 8]), ("pixels", [64, 1])):
        done = clifctl("data", "show", "digits", f"view={view}", "--json", "--plot", f"{view}.png")
        assert (done.code, done.json["shape"]) == (0, [1, *shape[1:]] if len(shape) == 4 else shape)
    rows = {row["data"]: row["views"] for row in clifctl("data", "ls", "--json").json["data"]}
    assert rows["cifar100"] == ["image", "rows", "pixels"]
    assert rows["dvs_gesture"] == []
