"""Images row by row and pixel by pixel, against the images themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches
from clifctl.errors import DataError, RecipeError
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
    assert rows["cifar100"] == ["image", "rows", "pixels", "events"]
    assert rows["dvs_gesture"] == []


def test_digits_seen_as_events_are_digits_events() -> None:
    asked: dict[str, Any] = {"contrast_threshold": 0.1, "jitter": 0.4}
    held = DATASETS["digits_events"]
    kept = held.load(held.options(seed=3, **asked), 5)
    data = load_over("digits", Path(), 5, view="events", camera_seed=3, **asked)
    for split, expected in ((data.train, kept.train), (data.test, kept.test)):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:50]
        seen = split.prepared(next(split.read([order]))[0])
        assert torch.equal(seen, expected.held[:, order])
        assert torch.equal(split.targets, expected.targets)
    said = DATASETS["digits"].shape(DATASETS["digits"].options(view="events"))
    assert (said.input_shape, said.static, said.max_timesteps) == ((2, 10, 10), False, 48)


def load_over(name: str, root: Path, timesteps: int, **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    own = {} if dataset.files is None else {"root": str(root)}
    return dataset.load(dataset.options(**own, **IMAGES[name][0], **options), timesteps)


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "digits"])
def test_every_image_is_seen_as_an_independent_camera_sees_it(name: str, data_root: Path) -> None:
    """Without jitter, pixel by pixel in float64: what the events add up to at a corner of the path
    is the change of log intensity there."""
    _, (channels, height, width) = IMAGES[name]
    asked: dict[str, Any] = {"jitter": 0.0, "contrast_threshold": 0.25, "workers": 0}
    data = load_over(name, data_root, 48, view="events", **asked)
    stored, labels = next(load(name, data_root).test.read([torch.arange(2)]))
    counts, targets = next(data.test.read([torch.arange(2)]))
    assert counts.dtype == torch.uint8
    assert torch.equal(targets, labels)
    assert counts.shape == (48, 2, 2, height + 2, width + 2)
    grey = stored[0].double() / 255
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    grey = torch.einsum("nchw,c->nhw", grey, weights) if channels == 3 else grey[:, 0]
    start, corner = (_moved(grey, x, y) for x, y in ((-0.8, -0.8), (0.0, 0.9)))
    change = (corner + 0.1).log() - (start + 0.1).log()
    events = counts[:16].double().sum(0)  # to the end of the first of three saccades
    off = (events[:, 1] - events[:, 0]) * 0.25 - change
    assert off.abs().max() < 0.25 + 1e-4
    assert change.abs().max() > 0.5
    said = DATASETS[name].shape(DATASETS[name].options(**IMAGES[name][0], view="events"))
    assert said.input_shape == counts.shape[2:]


def _moved(grey: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """What a sensor with a border of one pixel sees that has moved by (x, y) pixels: bilinear."""
    height, width = grey.shape[1:]
    padded = np.pad(grey.numpy(), ((0, 0), (3, 3), (3, 3)))
    seen = np.zeros((len(grey), height + 2, width + 2))
    for dy, weight_y in ((int(np.floor(y)), 1 - y % 1), (int(np.floor(y)) + 1, y % 1)):
        for dx, weight_x in ((int(np.floor(x)), 1 - x % 1), (int(np.floor(x)) + 1, x % 1)):
            rows = slice(2 + dy, 2 + dy + height + 2)
            seen += weight_y * weight_x * padded[:, rows, 2 + dx : 2 + dx + width + 2]
    return torch.from_numpy(seen)


def test_a_sample_moves_alike_whoever_is_beside_it(data_root: Path) -> None:
    data = load_over("mnist", data_root, 6, view="events", workers=0)
    together = next(data.train.read([torch.arange(7)]))[0]
    for number in (0, 3, 6):
        alone = next(data.train.read([torch.tensor([number])]))[0]
        assert torch.equal(alone[:, 0], together[:, number])
    ahead = load_over("mnist", data_root, 6, view="events", workers=2)
    orders = list(torch.arange(20).split(7))
    for (one, _), (other, _) in zip(data.train.read(orders), ahead.train.read(orders), strict=True):
        assert torch.equal(one, other)
    held = load_over("mnist", data_root, 6, view="events", workers=0, validation_share=0.5)
    assert held.validation is not None
    whole = next(data.train.read([torch.arange(60)]))[0]
    parts = [next(s.read([torch.arange(30)]))[0] for s in (held.train, held.validation)]
    both = torch.cat(parts, 1).transpose(0, 1).flatten(1)
    assert torch.equal(
        torch.unique(both, dim=0), torch.unique(whole.transpose(0, 1).flatten(1), dim=0)
    )
    shas = {data.sha256(), load_over("mnist", data_root, 3, view="events").sha256()}
    assert len(shas) == 1
    for options in ({"camera_seed": 1}, {"jitter": 0.1}, {"contrast_threshold": 0.5}):
        shas.add(load_over("mnist", data_root, 6, view="events", **options).sha256())
    assert len(shas) == 4


def test_frames_of_events_are_cropped_and_mirrored(data_root: Path) -> None:
    asked: dict[str, Any] = {"random_crop_padding": 1, "horizontal_flip": True, "workers": 0}
    data = load_over("mnist", data_root, 3, view="events", **asked)
    stored, labels = next(data.train.read([torch.arange(9)]))
    assert data.augment is not None
    seen, _ = data.augment(stored, labels, torch.Generator().manual_seed(5))
    drawn = torch.Generator().manual_seed(5)
    top, left = torch.randint(0, 3, (2, 9), generator=drawn).tolist()
    mirrored = (torch.rand(9, generator=drawn) < 0.5).tolist()
    for n in range(9):
        padded = np.pad(stored[:, n].numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
        one = padded[:, :, top[n] : top[n] + 30, left[n] : left[n] + 30].astype(np.float32)
        assert np.array_equal(seen[:, n].numpy(), one[..., ::-1] if mirrored[n] else one)


def test_what_a_camera_cannot_see_is_refused(tmp_path: Path) -> None:
    for name, overrides, said in (
        ("cifar10", ["view=events", "augmentation=plain"], "augmentation = 'plain' is of images"),
        ("mnist", ["jitter=0.1"], "jitter = 0.1: is of the camera of view=events, the view is im"),
        ("npz", ["view=events", "shape=[2,4,4]", "classes=2"], "images of 1 or 3 channels"),
        (
            "npz",
            ["view=events", "shape=[3,4,4]", "classes=2", "mean=[0.5]", "std=[0.1]"],
            "mean = [0.5]: is of images, and view=events shows events",
        ),
        ("mnist", ["view=events", "timesteps=49"], "data.view=events has at most 48"),
    ):
        with pytest.raises(RecipeError) as caught:
            data_section(name, overrides, 4)
        assert said in caught.value.message
    x, y = np.full((4, 1, 4, 4), 1.5), np.arange(4) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    dataset = DATASETS["npz"]
    options = dataset.options(root=str(tmp_path), shape=(1, 4, 4), classes=2, view="events")
    with pytest.raises(DataError, match=r"x_train holds 1.5 to 1.5, and view=events sees"):
        dataset.load(options, 4)


def test_a_net_learns_what_a_camera_sees(clifctl: Run, data_root: Path) -> None:
    shown = clifctl("data", "show", "digits", "view=events", "timesteps=4", "--json").json
    kept = clifctl("data", "show", "digits_events", "timesteps=4", "--json").json
    assert shown["frames"] == kept["frames"]
    assert shown["polarities"] == ["OFF", "ON"]
    options = ["data.name=mnist", f"data.root={data_root}", "data.view=events", "timesteps=2"]
    small = ["train.epochs=1", "train.batch_size=30", "model.channels=[2,2,2,2,4]"]
    done = clifctl("train", "digits_events_snn5", *options, *small, "--out", "a", "--json")
    assert done.code == 0, done.err
    again = clifctl(
        "train", "digits_events_snn5", *options, *small, "data.workers=0", "--out", "b", "--json"
    )
    assert done.json["test_loss"] == again.json["test_loss"]
