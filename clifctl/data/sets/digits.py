"""Handwritten digits: 1,797 real 8x8 grey images that scikit-learn ships, shown at every time step.

Split: 1,297 for training and 500 for test, drawn once per class in proportion; it never changes
with a run's seed. Pixels are standardised with the mean and standard deviation of the training
images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.archives import Array
from clifctl.data.augment.transforms import random_crop
from clifctl.data.contract import (
    Augmentation,
    Dataset,
    LoadedData,
    Preparation,
    Split,
    as_floats,
)
from clifctl.data.decoding import ENDINGS, MOST_THREADS, UNREAD
from clifctl.data.given_files import (
    ARRAYS,
    GIVEN,
    ArrayReader,
    as_numbers,
    image_reader,
    in_view,
)
from clifctl.data.images import WorkerOptions
from clifctl.data.unlabelled import Unlabelled, changed
from clifctl.data.views import ViewOptions, seen, sees_events, show

SOURCE = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (scikit-learn)"
CLASSES = 10
SIDE = 8
TEST_SAMPLES = 500
LEVELS = 16


class DigitsOptions(WorkerOptions, ViewOptions):
    """How images are shown, and training batches augmented."""

    random_crop_padding: int = Field(
        0, ge=0, le=4, description="random crop of training images, padded by so many pixels"
    )


@dataclass(frozen=True)
class DigitImages:
    """Grey images `[N, 1, 8, 8]` with values in [0, 1] and labels `[N]`, in both splits."""

    train: Tensor
    train_targets: Tensor
    test: Tensor
    test_targets: Tensor


def digit_images() -> DigitImages:
    """The images as they are, in the fixed split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = bunch.images.astype("float32") / LEVELS
    train, test, train_targets, test_targets = train_test_split(
        images, bunch.target, test_size=TEST_SAMPLES, random_state=0, stratify=bunch.target
    )
    return DigitImages(
        torch.from_numpy(train).unsqueeze(1),
        torch.from_numpy(train_targets).long(),
        torch.from_numpy(test).unsqueeze(1),
        torch.from_numpy(test_targets).long(),
    )


def standardised(images: DigitImages) -> tuple[Split, Split, float]:
    """Training and test split `[1, N, 1, 8, 8]`, and the value that a black pixel takes."""
    standardise = standardisation(images)
    train = standardise(images.train).unsqueeze(0)
    test = standardise(images.test).unsqueeze(0)
    black = float(standardise(torch.zeros(())))
    return Split(train, images.train_targets), Split(test, images.test_targets), black


def standardisation(images: DigitImages) -> Preparation:
    """The Preparation of images `[*, 1, 8, 8]`: by the statistics of those of training."""
    mean, std = images.train.mean(), images.train.std()

    def standardise(pixels: Tensor) -> Tensor:
        return (pixels - mean.to(pixels.device)) / std.to(pixels.device)

    return standardise


def unlabelled_digits() -> Unlabelled:
    """Grey images of 8x8, or arrays of such in bytes or numbers in [0, 1], white on black."""
    of_bytes = changed(image_reader(1, SIDE), lambda pixels: torch.from_numpy(_levels(pixels)))
    reader = ArrayReader((1, SIDE, SIDE), _intensities)
    return Unlabelled(
        {**dict.fromkeys(ENDINGS, of_bytes), **dict.fromkeys(ARRAYS, reader)},
        standardisation(digit_images()),
        at_once=MOST_THREADS,
        unread=UNREAD,
    )


def _levels(pixels: Any) -> Array:
    """Bytes as the nearest of the levels 0, 1/16, ..., 1 that the data set's images have."""
    return (np.rint(np.asarray(pixels) * (LEVELS / 255)) / LEVELS).astype(np.float32)


def _intensities(array: Array, path: Path) -> Array:
    if array.dtype == np.uint8:
        return _levels(array)
    numbers = as_numbers(array, path)
    if not 0 <= numbers.min() <= numbers.max() <= 1:
        raise GIVEN.error(
            f"'{path}' holds {numbers.min():g} to {numbers.max():g}, digits are intensities from 0 "
            "to 1, or bytes",
        )
    return numbers


def load(options: DigitsOptions, timesteps: int) -> LoadedData:
    """The images `[1, N, 1, 8, 8]` in the view of `options`."""
    images = digit_images()
    if sees_events(options):
        return _as_events(images, options, timesteps)
    train, test, black = standardised(images)
    return show(LoadedData(train, test, _crop(options, black, None)), options)


def _as_events(images: DigitImages, options: DigitsOptions, timesteps: int) -> LoadedData:
    parts = seen({"train": images.train, "test": images.test}, options, timesteps)
    return LoadedData(
        Split(parts["train"], images.train_targets, as_floats, options.workers),
        Split(parts["test"], images.test_targets, as_floats, options.workers),
        _crop(options, 0, as_floats),
    )


def _crop(options: DigitsOptions, black: float, prepare: Preparation | None) -> Augmentation | None:
    padding = options.random_crop_padding
    if padding == 0:
        return None
    crop = random_crop(padding, black)

    def augment(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        cropped = crop(inputs, generator)
        return cropped if prepare is None else prepare(cropped), targets

    return augment


DATASET = Dataset(
    name="digits",
    title="handwritten digits, the image at every time step",
    source=SOURCE,
    classes=CLASSES,
    input_shape=(1, SIDE, SIDE),
    static=True,
    timesteps=None,
    max_timesteps=None,
    options=DigitsOptions,
    load=load,
    unlabelled=lambda options, timesteps: in_view(unlabelled_digits(), options, timesteps),
)
