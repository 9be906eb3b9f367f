"""A person's own images: `train/<class>/*` and `test/<class>/*` below the root, shown at every time
step. A label is the place of the class's folder among the sorted ones."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from clifctl.data.contract import (
    Augmentation,
    Dataset,
    DataShape,
    Files,
    FileState,
    LoadedData,
)
from clifctl.data.decoding import image_files
from clifctl.data.images import ImageFileOptions, Place, Samples, assemble
from clifctl.data.pipelines import Normalise, TrivialEraseMix, crop_cutout_flip
from clifctl.data.streaming import samples_of
from clifctl.strict import Count, Numbers

NAME = "image_folder"
PADDING_OF_SIDE = 8  # the crop's padding is an eighth of the side, as CIFAR's is


class ImageFolderOptions(ImageFileOptions):
    """What the files hold; the augmentations are those of CIFAR."""

    image_size: Count = Field(le=4096, description="width and height of every image [pixels]")
    channels: Literal[1, 3] = Field(3, description="3: colour, 1: grey")
    classes: Count = Field(ge=2, description="number of classes: folders below train and test")
    mean: Numbers | None = Field(
        None, description="mean of each channel, pixels in [0, 1] (null: 0.5)"
    )
    std: Numbers | None = Field(None, description="standard deviation of each channel (null: 0.5)")

    @model_validator(mode="after")
    def _a_number_a_channel(self) -> "ImageFolderOptions":
        for key, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) != self.channels:
                raise ValueError(f"{key} has {len(numbers)} numbers for {self.channels} channels")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self


def load(options: ImageFolderOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 `[1, N, C, size, size]`. Raises DataError naming what is wrong where."""
    place = Place.of(NAME, options.root)
    folders = _classes(place.root / "train", place)
    if len(folders) != options.classes:
        raise place.error(
            f"'{place.root / 'train'}' has {len(folders)} classes, the recipe says "
            f"{options.classes}",
            hint=f"data.classes={len(folders)}",
        )
    _same_classes(folders, _classes(place.root / "test", place), place)
    train, test = (_samples(place.root / part, folders, options, place) for part in _PARTS)
    half = (0.5,) * options.channels
    prepare = Normalise(options.mean or half, options.std or half)
    image = (options.channels, options.image_size, options.image_size)
    augmentations: dict[str, Augmentation] = {
        "plain": crop_cutout_flip(prepare, options.image_size // PADDING_OF_SIDE),
        "strong": TrivialEraseMix(prepare, options.classes, image),
    }
    return assemble(
        train,
        test,
        options,
        place,
        prepare=prepare,
        augment=augmentations.get(options.augmentation),
    )


_PARTS = ("train", "test")


def _classes(folder: Path, place: Place) -> list[str]:
    """The names of the classes in `folder`, sorted."""
    if not folder.is_dir():
        raise place.error(f"the folder '{folder}' is missing")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _same_classes(train: list[str], test: list[str], place: Place) -> None:
    different = sorted(set(train) ^ set(test))
    if different:
        has, lacks = ("train", "test") if different[0] in train else ("test", "train")
        raise place.error(
            f"class '{different[0]}' is in '{place.root / has}' and not in '{place.root / lacks}'"
        )


def _samples(
    folder: Path, classes: list[str], options: ImageFolderOptions, place: Place
) -> Samples:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = image_files(folder / name)
        if not found:
            raise place.error(f"'{folder / name}' holds no image")
        files += found
        labels += [label] * len(found)
    pixels = samples_of(
        files,
        place,
        channels=options.channels,
        size=options.image_size,
        in_memory=options.in_memory,
    )
    return Samples(pixels, torch.tensor(labels, dtype=torch.int64))


def inspect(root: Path) -> tuple[FileState, ...]:
    """Both folders below `root`; images are counted, not decoded."""
    states = []
    train: list[str] | None = None
    for part in _PARTS:
        path = root / part
        what, problem = "a folder a class, with its images", None
        if path.is_dir():
            classes = sorted(child.name for child in path.iterdir() if child.is_dir())
            empty = [name for name in classes if not image_files(path / name)]
            what = f"{len(classes)} classes, {len(image_files(path)):,} images"
            if not classes:
                problem = "no folder of a class in it"
            elif empty:
                problem = f"no image in '{empty[0]}'"
            elif train is not None and classes != train:
                different = sorted(set(classes) ^ set(train))[0]
                problem = f"class '{different}' is in one of train and test only"
            train = classes if train is None else train
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


DATASET = Dataset(
    name=NAME,
    title="images of your own: train/<class>/* and test/<class>/*, at every time step",
    source="your own files",
    classes=None,
    input_shape=None,
    static=True,
    timesteps=None,
    max_timesteps=None,
    options=ImageFolderOptions,
    load=load,
    shape_of=lambda options: DataShape(
        options.classes, (options.channels, options.image_size, options.image_size)
    ),
    files=Files(
        url=None,
        licence="your own",
        size_bytes=None,
        obtain=lambda root: (
            f"put your images into '{root}/train/<class>/' and '{root}/test/<class>/'"
        ),
        inspect=inspect,
    ),
)
