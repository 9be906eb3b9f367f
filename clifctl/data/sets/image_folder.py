"""A person's own images: `train/<class>/*` and `test/<class>/*` below the root, shown at every time
step. A label is the place of the class's folder among the sorted ones."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from clifctl.data.augment.pipelines import Normalise, TrivialEraseMix, crop_cutout_flip
from clifctl.data.contract import (
    PARTS,
    Augmentation,
    Dataset,
    DataShape,
    Files,
    FileState,
    LoadedData,
)
from clifctl.data.decoding import ENDINGS, Examined, examine, image_files
from clifctl.data.folders import (
    Found,
    classes_in,
    classes_of,
    counted,
    names_of_classes,
)
from clifctl.data.images import ImageFileOptions, Place, Samples, assemble
from clifctl.data.streaming import samples_of
from clifctl.errors import DataError
from clifctl.strict import Count, Numbers

NAME = "image_folder"
PADDING_OF_SIDE = 8  # the crop's padding is an eighth of the side, as CIFAR's is


class ImageFolderOptions(ImageFileOptions):
    """What the files hold; the augmentations are those of CIFAR."""

    size: Count = Field(le=4096, description="width and height of every image [pixels]")
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
    classes = classes_of(place.root, ENDINGS, place)
    if len(classes) != options.classes:
        raise place.error(
            f"'{place.root / 'train'}' has {len(classes)} classes, the recipe says "
            f"{options.classes}",
            hint=f"data.classes={len(classes)}",
        )
    train, test = (_samples(place.root / part, classes, options, place) for part in PARTS)
    half = (0.5,) * options.channels
    prepare = Normalise(options.mean or half, options.std or half)
    image = (options.channels, options.size, options.size)
    augmentations: dict[str, Augmentation] = {
        "plain": crop_cutout_flip(prepare, options.size // PADDING_OF_SIDE),
        "strong": TrivialEraseMix(prepare, options.classes, image),
    }
    return assemble(
        train,
        test,
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=augmentations.get(options.augmentation),
        class_names=classes,
    )


def _images(folder: Path, classes: list[str], place: Place) -> list[Found]:
    """The images of each class. Raises DataError where one has none."""
    found = [image_files(folder / name, place) for name in classes]
    for name, images in zip(classes, found, strict=True):
        if not images.files:
            raise place.error(f"'{folder / name}' holds no image")
    return found


def _samples(
    folder: Path, classes: list[str], options: ImageFolderOptions, place: Place
) -> Samples:
    found = _images(folder, classes, place)
    pixels = samples_of(
        [file for one in found for file in one.files],
        place,
        channels=options.channels,
        size=options.size,
        in_memory=options.in_memory,
    )
    labels = [label for label, images in enumerate(found) for _ in images.files]
    return Samples(pixels, torch.tensor(labels, dtype=torch.int64))


def inspect(root: Path) -> tuple[FileState, ...]:
    """Both folders below `root`; images are counted, not decoded."""
    return _states(root, closely=False)


def _states(root: Path, *, closely: bool) -> tuple[FileState, ...]:
    """Both folders below `root`, and `closely` what their images are like."""
    place = Place(NAME, root)
    states: list[FileState] = []
    sizes: dict[tuple[int, int], Path] = {}
    for part in PARTS:
        path = root / part
        what, problem = "a folder a class, with its images", None
        if path.is_dir():
            try:
                classes = classes_in(path, ENDINGS, place)
                found = _images(path, classes, place)
                files = [file for one in found for file in one.files]
                others = [file for one in found for file in one.others]
                what = counted(len(classes), "images", len(files), others)
                if closely:
                    images = f"images {_look(examine(files, place), sizes, place)}"
                    what = counted(len(classes), images, len(files), others)
                if part == PARTS[-1] and states[0].present:
                    classes_of(root, ENDINGS, place)
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


def _look(examined: Examined, sizes: dict[tuple[int, int], Path], place: Place) -> str:
    """What to say of images, after those of `sizes`. Raises DataError where they differ in size."""
    sizes.update({size: file for size, file in examined.sizes.items() if size not in sizes})
    (width, height), file = next(iter(sizes.items()))
    for other, another in sizes.items():
        if other != (width, height):
            raise place.error(
                f"images must be of one size: '{file}' has {width}x{height} pixels, '{another}' "
                f"has {other[0]}x{other[1]}"
            )
    if width != height:
        raise place.error(f"images must be square: '{file}' has {width}x{height} pixels")
    turned = f" (EXIF turns {examined.turned:,} of them, which is not applied)"
    return f"of {width}x{height} pixels{turned if examined.turned else ''}"


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
        options.classes, (options.channels, options.size, options.size)
    ),
    files=Files(
        url=None,
        licence="your own",
        size_bytes=None,
        obtain=lambda root: (
            f"put your images into '{root}/train/<class>/' and '{root}/test/<class>/'"
        ),
        inspect=inspect,
        examine=lambda root: _states(root, closely=True),
        class_names=names_of_classes,
    ),
)
