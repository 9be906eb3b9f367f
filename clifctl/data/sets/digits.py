"""Handwritten digits: 1,797 real 8x8 grey images that scikit-learn ships, shown at every time step.

Split: 1,297 for training and 500 for test, drawn once per class in proportion; it never changes
with a run's seed. Pixels are standardised with the mean and standard deviation of the training
images.
"""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.augment.transforms import random_crop
from clifctl.data.contract import (
    Augmentation,
    Dataset,
    LoadedData,
    Preparation,
    Split,
    as_floats,
)
from clifctl.data.images import WorkerOptions
from clifctl.data.views import ViewOptions, seen, sees_events, show

SOURCE = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (scikit-learn)"
CLASSES = 10
SIDE = 8
TEST_SAMPLES = 500


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
    images = bunch.images.astype("float32") / 16.0
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
    mean, std = images.train.mean(), images.train.std()
    train = ((images.train - mean) / std).unsqueeze(0)
    test = ((images.test - mean) / std).unsqueeze(0)
    black = float(-mean / std)
    return Split(train, images.train_targets), Split(test, images.test_targets), black


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
)
