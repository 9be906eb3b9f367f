"""The training pipelines of image sets, as the authors' code has them: from stored uint8 batches to
what the net trains on."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.augment.mixing import draw_mix, mixed
from clifctl.data.augment.policies import Policy, apply_policy, draw_seed
from clifctl.data.augment.transforms import (
    Change,
    Changes,
    cutout,
    horizontal_flip,
    random_crop,
    random_erasing,
)
from clifctl.data.contract import Augmentation, DataOptions, Drawn, Preparation, Staged
from clifctl.transfer import constant

AugmentationName = Literal["none", "plain", "strong"]
ERASING_PROBABILITY = 0.1


@dataclass(frozen=True)
class Normalise:
    """uint8 `[*, C, H, W]` to float32: (pixel / 255 - mean) / std per channel, the same numbers as
    torchvision's ToTensor and Normalize."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        mean, std = (
            constant(values, torch.float32, inputs.device).view(-1, 1, 1)
            for values in (self.mean, self.std)
        )
        return inputs.to(torch.float32).div_(255).sub_(mean).div_(std)


class CropFlipOptions(DataOptions):
    """The plainest augmentation, of images that may have any number of channels."""

    random_crop_padding: int = Field(
        0, ge=0, le=8, description="random crop of training images, padded by so many black pixels"
    )
    horizontal_flip: bool = Field(
        False, description="mirror every other training image, drawn at random: clothes, not digits"
    )


def crop_flip(options: CropFlipOptions, prepare: Preparation | None) -> Augmentation | None:
    """The changes that `options` ask for, of stored images: what comes in from outside is 0. None:
    there are none."""
    changes: list[Change] = []
    if options.random_crop_padding:
        changes.append(random_crop(options.random_crop_padding, 0))
    if options.horizontal_flip:
        changes.append(horizontal_flip)
    return Changes(tuple(changes), after=prepare) if changes else None


def crop_cutout_flip(prepare: Preparation, padding: int) -> Augmentation:
    """CIFAR, the first number of a row of Table 1: random crop, Cutout, flip, normalise."""
    return Changes((random_crop(padding, 0), cutout, horizontal_flip), after=prepare)


@dataclass(frozen=True)
class FlipAndPolicy:
    """Flip, then a policy of torchvision: what is done to stored images one by one."""

    policy: Policy

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[list[bool], int]:
        """Which samples of a batch `[1, N, C, H, W]` are mirrored, and the policy's seed."""
        (chosen,) = horizontal_flip.draw(shape, generator)
        return chosen.tolist(), draw_seed(generator)

    def __call__(self, inputs: Tensor, drawn: tuple[list[bool], int]) -> Tensor:
        chosen, seed = drawn
        flipped = horizontal_flip.apply(inputs, torch.tensor(chosen))
        return apply_policy(flipped, self.policy, seed)


class TrivialEraseMix(Staged):
    """CIFAR, the starred number: flip, TrivialAugmentWide (bilinear), normalise, random erasing
    (p = .1), then Mixup or CutMix, of images of shape `image` (C, H, W). Labels become
    `[N, classes]`."""

    work = FlipAndPolicy("trivial_augment_wide")

    def __init__(self, prepare: Preparation, classes: int, image: tuple[int, int, int]) -> None:
        self._prepare = prepare
        self._classes = classes
        self._image = image
        self._erase = random_erasing(ERASING_PROBABILITY)

    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        shape = torch.Size((1, samples, *self._image))
        images = self.work.draw(shape, generator)
        erased = self._erase.draw(shape, generator)
        return Drawn(images, erased, draw_mix(shape, generator))

    def finish(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        inputs = self._erase.apply(self._prepare(inputs), *drawn.tensors)
        return mixed(inputs, targets, self._classes, drawn.batch)


def flip(prepare: Preparation) -> Augmentation:
    """Tiny-ImageNet: flip, normalise. The authors' RandomCrop(64) of a 64x64 image does nothing."""
    return Changes((horizontal_flip,), after=prepare)


class FlipAutoAugment(Staged):
    """Tiny-ImageNet with AutoAugment (IMAGENET policy, nearest) between flip and normalise, of
    images of shape `image` (C, H, W)."""

    work = FlipAndPolicy("auto_augment_imagenet")

    def __init__(self, prepare: Preparation, image: tuple[int, int, int]) -> None:
        self._prepare = prepare
        self._image = image

    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        return Drawn(self.work.draw(torch.Size((1, samples, *self._image)), generator))

    def finish(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        return self._prepare(inputs), targets
