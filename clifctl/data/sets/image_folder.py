"""A person's own images: `train/<class>/*` and `test/<class>/*` below the root, shown at every time
step. A label is the place of the class's folder among the sorted ones."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from clifctl.data.augment.imagenet_crops import SIDE, CentralCrop, RandomResizedCrop
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
from clifctl.data.decoding import ENDINGS, Examined, examine, image_files, size_of
from clifctl.data.folders import (
    Found,
    classes_in,
    classes_of,
    counted,
    names_of_classes,
)
from clifctl.data.given_files import unlabelled_images
from clifctl.data.images import (
    DEFAULT_ROOT,
    ImageFileOptions,
    Place,
    Samples,
    assemble,
    data_folder,
)
from clifctl.data.streaming import ImageFiles, samples_of
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import DataError
from clifctl.strict import Count, Numbers

NAME = "image_folder"
PADDING_OF_SIDE = 8  # the crop's padding is an eighth of the side, as CIFAR's is


class ImageFolderOptions(ImageFileOptions):
    """What the files hold; the augmentations are those of CIFAR."""

    size: Count | None = Field(
        None,
        le=4096,
        description="width and height of every image [pixels]; null: those of the first image, "
        f"with resize {SIDE}",
    )
    channels: Literal[1, 3] = Field(3, description="3: colour, 1: grey")
    classes: Count | None = Field(
        None, ge=2, description="number of classes; null: as many as folders below train and test"
    )
    resize: Literal["none", "imagenet"] = Field(
        "none",
        description="none: every image has this size; imagenet: images of any size, random resized "
        "crop and flip to train (augmentation plain), resize and centre crop to test",
    )
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

    @model_validator(mode="after")
    def _what_is_cropped_stays_in_its_file(self) -> "ImageFolderOptions":
        if self.resize == "imagenet" and self.in_memory:
            raise ValueError(
                "resize = 'imagenet' crops images out of their files at every use: take "
                "in_memory=false"
            )
        if self.resize == "imagenet" and self.augmentation == "strong":
            raise ValueError("augmentation = 'strong' is of images of one size: take plain or none")
        return self


def found(given: Mapping[str, Any]) -> dict[str, Any]:
    """`classes` and `size` where `given` options lack them: the folders are counted, and without
    `resize` the head of one image says its size. Raises DataError."""
    root, missing = given.get("root", DEFAULT_ROOT), {}
    lacks = [key for key in ("classes", "size") if given.get(key) is None]
    if not lacks or not isinstance(root, str):
        return {}
    place = Place.of(NAME, root)
    if "size" in lacks and given.get("resize") == "imagenet":
        missing["size"] = SIDE
        lacks.remove("size")
    if lacks:
        classes = classes_of(place.root, ENDINGS, place)
        if "classes" in lacks:
            missing["classes"] = len(classes)
        if "size" in lacks:
            missing["size"] = _side(place.root / PARTS[0], classes, place)
    return missing


def _side(folder: Path, classes: list[str], place: Place) -> int:
    """The side of the first image [pixels]. Raises DataError, also where it is not square."""
    first = _images(folder, classes[:1], place)[0].files[0]
    width, height = size_of(first, place)
    if width != height:
        raise place.error(
            f"images must be square: '{first}' has {width}x{height} pixels",
            hint="data.resize=imagenet takes images of any size",
        )
    return width


def load(options: ImageFolderOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 `[1, N, C, size, size]`. Raises DataError naming what is wrong where."""
    options = options.model_copy(update=found(options.model_dump()))
    place = Place.of(NAME, options.root)
    classes = classes_of(place.root, ENDINGS, place)
    if len(classes) != options.classes:
        raise place.error(
            f"'{place.root / 'train'}' has {len(classes)} classes, the recipe says "
            f"{options.classes}",
            hint=f"data.classes={len(classes)}",
        )
    train, test = (_samples(place.root / part, classes, options, place) for part in PARTS)
    prepare = _normalise(options)
    return assemble(
        {"train": train, "test": test},
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=_augmentation(options, prepare),
        class_names=classes,
    )


def _normalise(options: ImageFolderOptions) -> Normalise:
    half = (0.5,) * options.channels
    return Normalise(options.mean or half, options.std or half)


def unlabelled(options: ImageFolderOptions, timesteps: int) -> Unlabelled:
    """Images of the size of those that a net was trained with, or of any with `resize`."""
    assert options.size is not None
    return unlabelled_images(
        options,
        timesteps,
        shape=(options.channels, options.size, options.size),
        prepare=_normalise(options),
        class_names=names_of_classes(data_folder(options.root)),
        fit=CentralCrop(options.size) if options.resize == "imagenet" else None,
    )


def _augmentation(options: ImageFolderOptions, prepare: Normalise) -> Augmentation | None:
    if options.augmentation == "none":
        return None
    if options.resize == "imagenet":
        return RandomResizedCrop(prepare)
    assert options.size is not None
    assert options.classes is not None
    if options.augmentation == "plain":
        return crop_cutout_flip(prepare, options.size // PADDING_OF_SIDE)
    image = (options.channels, options.size, options.size)
    return TrivialEraseMix(prepare, options.classes, image)


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
    assert options.size is not None
    there = _images(folder, classes, place)
    files = [file for one in there for file in one.files]
    pixels: Tensor | ImageFiles
    if options.resize == "imagenet":
        fit = CentralCrop(options.size)
        pixels = ImageFiles(tuple(files), place, options.channels, options.size, fit)
    else:
        pixels = samples_of(
            files,
            place,
            channels=options.channels,
            size=options.size,
            in_memory=options.in_memory,
        )
    labels = [label for label, images in enumerate(there) for _ in images.files]
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
                    images = f"images {_look(examine(files, place), sizes)}"
                    what = counted(len(classes), images, len(files), others)
                if part == PARTS[-1] and states[0].present:
                    classes_of(root, ENDINGS, place)
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


def _look(examined: Examined, sizes: dict[tuple[int, int], Path]) -> str:
    """What to say of images, after those of `sizes`."""
    sizes.update({size: file for size, file in examined.sizes.items() if size not in sizes})
    turned = f" (EXIF turns {examined.turned:,} of them, which is not applied)"
    (width, height), *others = sorted(sizes, key=math.prod)
    said = f"of {width}x{height} pixels"
    if others:
        widest, highest = others[-1]
        few, many = sizes[width, height], sizes[widest, highest]
        said += f" ('{few}') to {widest}x{highest} ('{many}')"
    if others or width != height:
        said += ", for data.resize=imagenet"
    return said + (turned if examined.turned else "")


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
    # 0: not known yet, where nothing is given and nothing was found.
    shape_of=lambda options: DataShape(
        options.classes or 0, (options.channels, options.size or 0, options.size or 0)
    ),
    looked_for=("classes", "size"),
    found=found,
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
    unlabelled=unlabelled,
)
