"""The crops of images of any size with which nets are trained and tested on ImageNet, those of
torchvision on PIL images: RandomResizedCrop and a flip to train; to test the shorter side to 256
of 224 parts of the size, and the centre."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clifctl.data.contract import Drawn, Preparation, Staged, Streamed, Taking
from clifctl.data.streaming import ImageFiles

SIDE = 224
SHORTER_SIDE = 256 / 224
AREA = (0.08, 1.0)  # of the image
RATIO = (3 / 4, 4 / 3)  # of width to height
TRIES = 10
Box = tuple[int, int, int, int]  # left, top, right, bottom [pixels]


@dataclass(frozen=True)
class CentralCrop:
    """An image of PIL to `size` x `size` pixels, for testing."""

    size: int

    def __call__(self, image: Any) -> Any:
        from PIL import Image

        shorter = round(self.size * SHORTER_SIDE)
        width, height = image.size
        if width <= height:
            resized = (shorter, int(shorter * height / width))
        else:
            resized = (int(shorter * width / height), shorter)
        image = image.resize(resized, Image.Resampling.BILINEAR)
        left, top = (round((side - self.size) / 2) for side in resized)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class RandomCrop:
    """An image of PIL to `size` x `size` pixels, for training: a part of it, maybe mirrored.
    `drawn` `[2 * TRIES + 3]` are numbers from [0, 1): an area and a ratio for each try, then the
    place from the top and from the left, then the flip."""

    size: int
    drawn: Sequence[float]

    def __call__(self, image: Any) -> Any:
        from PIL import Image

        part = image.crop(self.box(*image.size))
        part = part.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if self.drawn[-1] < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return part

    def box(self, width: int, height: int) -> Box:
        """The first try that fits into an image of `width` x `height` pixels; of an image that none
        fits into, the centre."""
        low, high = (math.log(ratio) for ratio in RATIO)
        for number in range(TRIES):
            area, ratio = self.drawn[2 * number : 2 * number + 2]
            pixels = (AREA[0] + area * (AREA[1] - AREA[0])) * width * height
            shape = math.exp(low + ratio * (high - low))
            wide, tall = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
            if 0 < wide <= width and 0 < tall <= height:
                top = int(self.drawn[-3] * (height - tall + 1))
                left = int(self.drawn[-2] * (width - wide + 1))
                return left, top, left + wide, top + tall
        wide = min(width, round(height * RATIO[1]))
        tall = min(height, round(width / RATIO[0]))
        left, top = (width - wide) // 2, (height - tall) // 2
        return left, top, left + wide, top + tall


@dataclass(frozen=True)
class RandomCrops(Taking):
    """Images of files, each cropped as was drawn for it."""

    def take(self, inputs: Streamed, numbers: Sequence[int], drawn: list[list[float]]) -> Tensor:
        """uint8 `[1, n, C, size, size]`."""
        assert isinstance(inputs, ImageFiles)
        return inputs.decoded(numbers, [RandomCrop(inputs.size, one) for one in drawn])


class RandomResizedCrop(Staged):
    """A random part of each image at the size of the net's input, mirrored or not; normalise."""

    work = RandomCrops()

    def __init__(self, prepare: Preparation) -> None:
        self._prepare = prepare

    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        drawn = torch.rand(samples, 2 * TRIES + 3, generator=generator, dtype=torch.float64)
        return Drawn(drawn.tolist())

    def part(self, drawn: Drawn, own: slice) -> Drawn:
        return replace(drawn, images=drawn.images[own])

    def finish(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        return self._prepare(inputs), targets
