"""Images of any size: cropped as torchvision crops them, and what is found by looking."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from clifctl.data import DATASETS, LoadedData, batches, shuffled_batches
from clifctl.data.augment.imagenet_crops import CentralCrop, RandomCrop
from clifctl.data.sets.image_folder import found
from clifctl.errors import DataError, RecipeError
from clifctl.recipe.load import data_section, load_recipe

SIZES = ((31, 23), (23, 31), (60, 9), (200, 150), (17, 17))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two classes, five images of each in training and test, each of another size."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number, size in enumerate(SIZES):
                picture(*size, seed=number).save(folder / f"{number}.png")
    return tmp_path


def load(root: Path, **options: Any) -> LoadedData:
    dataset = DATASETS["image_folder"]
    asked = {"resize": "imagenet", "in_memory": False, "workers": 0, "size": 21, **options}
    return dataset.load(dataset.options(root=str(root), **asked), 2)


@pytest.mark.parametrize("size", [21, 224])
def test_images_are_tested_as_torchvision_crops_them(own: Path, size: int) -> None:
    theirs = v2.Compose([v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size)])
    stored, labels = next(load(own, size=size).test.read([torch.arange(10)]))
    assert labels.tolist() == [0] * 5 + [1] * 5
    for number, (width, height) in enumerate(SIZES):
        expected = np.asarray(theirs(picture(width, height, seed=number)))
        assert np.array_equal(stored[0, number].permute(1, 2, 0).numpy(), expected)


def test_images_are_trained_on_as_torchvision_crops_them(own: Path) -> None:
    data = load(own, augmentation="plain", mean=(0.0,) * 3, std=(1.0,) * 3)
    generator = torch.Generator().manual_seed(3)
    order = torch.tensor([7, 0, 3, 2, 9])
    ((seen, targets),) = shuffled_batches(data.train, 5, generator, data.augment, order=order)
    assert targets.tolist() == [1, 0, 0, 0, 1]
    drawn = torch.rand(5, 23, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for place, (number, numbers) in enumerate(zip(order.tolist(), drawn.tolist(), strict=True)):
        image = picture(*SIZES[number % 5], seed=number % 5)
        left, top, right, bottom = RandomCrop(21, numbers).box(*image.size)
        part = v2.functional.resized_crop(image, top, left, bottom - top, right - left, [21, 21])
        part = v2.functional.hflip(part) if numbers[-1] < 0.5 else part
        expected = torch.from_numpy(np.array(part)).permute(2, 0, 1).to(torch.float32) / 255
        assert torch.equal(seen[0, place], expected)
    ahead = load(own, augmentation="plain", mean=(0.0,) * 3, std=(1.0,) * 3, workers=2)
    generator.manual_seed(3)
    ((again, _),) = shuffled_batches(ahead.train, 5, generator, ahead.augment, order=order)
    assert torch.equal(again, seen)


def test_parts_are_those_of_random_resized_crop() -> None:
    """Area 8 to 100 %, ratio 3:4 to 4:3, anywhere; where none fits, torchvision's centre."""
    generator = torch.Generator().manual_seed(0)
    boxes = []
    for numbers in torch.rand(500, 23, generator=generator, dtype=torch.float64).tolist():
        left, top, right, bottom = RandomCrop(8, numbers).box(90, 120)
        assert 0 <= left < right <= 90
        assert 0 <= top < bottom <= 120
        wide, tall = right - left, bottom - top
        assert 0.07 < wide * tall / (90 * 120) <= 1
        assert 0.72 < wide / tall < 1.39
        boxes.append((left, top, wide, tall))
    shares = np.array([wide * tall / (90 * 120) for _, _, wide, tall in boxes])
    assert np.all(np.diff(np.quantile(shares, (0, 0.25, 0.5, 0.75, 1))) > 0.1)
    assert len(set(boxes)) > 490
    first = [0.5, 0.5, *[0.0] * 18, 0.999, 0.0, 0.9]
    # Of 54 % of the pixels, as wide as high.
    side = round((0.54 * 90 * 120) ** 0.5)
    assert RandomCrop(8, first).box(90, 120) == (0, 120 - side, side, 120)
    large = [1 - 1e-12] * 23  # nothing fits
    for width, height in ((300, 20), (20, 300)):
        left, top, right, bottom = RandomCrop(8, large).box(width, height)
        wide, tall = (round(20 * 4 / 3), 20) if width > height else (20, round(20 / (3 / 4)))
        assert (right - left, bottom - top) == (wide, tall)
        assert (left, top) == ((width - wide) // 2, (height - tall) // 2)


def test_grey_and_what_is_too_large(own: Path, tmp_path: Path) -> None:
    stored, _ = next(load(own, channels=1).test.read([torch.arange(1)]))
    expected = CentralCrop(21)(picture(*SIZES[0]).convert("L"))
    assert np.array_equal(stored[0, 0, 0].numpy(), np.asarray(expected))
    Image.new("L", (5000, 4000)).save(own / "test/dog/4.png")
    with pytest.raises(DataError, match=r"dog/4.png' has 5000x4000 pixels, too many to be read"):
        list(batches(load(own).test, 10))
    Image.new("L", (1, 4000)).save(own / "test/dog/4.png")  # 256 x 1,024,000 to be cropped
    with pytest.raises(DataError, match=r"dog/4.png' has 1x4000 pixels: one side is more than 20"):
        list(batches(load(own).test, 10))


def test_classes_and_size_are_found_and_stand_in_the_recipe(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["data.name=image_folder", f"data.root={own}"]
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", None)  # no image is looked at
        resized = [*asked, "data.resize=imagenet", "data.in_memory=false"]
        recipe = load_recipe("digits_snn5", resized).recipe
        assert recipe.data.input_shape == (3, 224, 224)
        assert recipe.document["data"]["classes"] == recipe.data.classes == 2
        assert recipe.document["data"]["size"] == 224
        assert found({"root": str(own), "size": 8}) == {"classes": 2}
        assert found({"root": str(own), "size": 8, "classes": 5}) == {}
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits_snn5", [*asked, "data.classes=2"])
    assert "data.size: not given, and not found by looking: " in caught.value.message
    assert "images must be square: " in caught.value.message
    picture(18, 18).save(own / "train/cat/0.png")
    options, timesteps = data_section("image_folder", [f"root={own}", "view=rows"], 9)
    assert (options.model_dump()["size"], options.model_dump()["classes"]) == (18, 2)
    assert timesteps == 18
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits_snn5", ["data.name=image_folder", f"data.root={own / 'none'}"])
    assert caught.value.exit_code == 2
    for key in ("classes", "size"):
        assert f"data.{key}: not given, and not found by looking: " in caught.value.message
    assert "the folder" in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "crops images out of their files at every use: take in_memory=false"),
        (["in_memory=false", "augmentation=strong"], "'strong' is of images of one size"),
    ],
)
def test_what_cannot_be_cropped_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        data_section("image_folder", ["resize=imagenet", "size=8", "classes=2", *overrides], 2)


def test_a_net_is_trained_on_images_of_any_size(own: Path, clifctl: Callable[..., Any]) -> None:
    asked = ["data.name=image_folder", f"data.root={own}", "data.resize=imagenet", "data.size=16"]
    asked += ["data.in_memory=false", "data.augmentation=plain", "train.epochs=1"]
    small = ["model.channels=[2,2,2,2,4]", "train.batch_size=5", "timesteps=2"]
    done = clifctl("train", "digits_snn5", *asked, *small, "--out", "run", "--json")
    assert done.code == 0, done.err
    assert done.json["resolved_recipe"]["data"]["classes"] == 2
    assert clifctl("eval", "run/last.pt", "--json").json["samples"] == 10
