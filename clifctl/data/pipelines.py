"""The training pipelines of image sets, as the authors' code has them: from stored uint8 batches to
what the net trains on."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clifctl.data.augmentation import (
    changed,
    cutout,
    horizontal_flip,
    random_crop,
    random_erasing,
)
from clifctl.data.contract import Augmentation, Preparation
from clifctl.data.mixing import mixup_or_cutmix
from clifctl.data.policies import apply_policy
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


def crop_cutout_flip(prepare: Preparation, padding: int) -> Augmentation:
    """CIFAR, the first number of a row of Table 1: random crop, Cutout, flip, normalise."""
    changes = (random_crop(padding, 0), cutout, horizontal_flip)

    def augment(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return prepare(changed(inputs, changes, generator)), targets

    return augment


def trivial_erase_mix(prepare: Preparation, classes: int) -> Augmentation:
    """CIFAR, the starred number: flip, TrivialAugmentWide (bilinear), normalise, random erasing
    (p = .1), then Mixup or CutMix. Labels become `[N, classes]`."""
    erase = random_erasing(ERASING_PROBABILITY)

    def augment(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        inputs = horizontal_flip(inputs, generator)
        inputs = prepare(apply_policy(inputs, "trivial_augment_wide", generator))
        return mixup_or_cutmix(erase(inputs, generator), targets, classes, generator)

    return augment


def flip(prepare: Preparation, *, auto_augment: bool) -> Augmentation:
    """Tiny-ImageNet: flip, and AutoAugment (IMAGENET policy, nearest) if asked for, normalise. The
    authors' RandomCrop(64) of a 64x64 image does nothing."""

    def augment(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        inputs = horizontal_flip(inputs, generator)
        if auto_augment:
            inputs = apply_policy(inputs, "auto_augment_imagenet", generator)
        return prepare(inputs), targets

    return augment
