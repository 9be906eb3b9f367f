"""Random changes of whole batches `[T, N, C, H, W]` on the device, stored (uint8) or float.

Random numbers come from the run's generator on the CPU, so that a run draws the same ones on any
device; what changes in a row have drawn goes to the device in one copy. A sample gets one draw for
all its time steps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.data.contract import Preparation
from clifctl.transfer import to_device

ERASING_TRIES = 10  # torchvision's RandomErasing gives up after so many
Draws = tuple[Tensor, ...]


@dataclass(frozen=True)
class Change:
    """A random change that keeps the shape: `draw` draws, on the CPU, for a batch of a shape, and
    `apply` makes the changed batch of the batch and what was drawn, on the device.

    `of_each`: what is drawn has the samples as its last dimension, and each sample is changed to
    the same bits whatever is beside it."""

    draw: Callable[[torch.Size, torch.Generator], Draws]
    apply: Callable[..., Tensor]
    of_each: bool = True

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """`inputs` `[T, N, C, H, W]` changed."""
        return changed(inputs, [self], generator)


def changed(
    inputs: Tensor,
    changes: Sequence[Change],
    generator: torch.Generator,
    *,
    samples: int | None = None,
    own: slice = slice(None),
) -> Tensor:
    """`inputs` `[T, N, C, H, W]` after one change after the other; of a part of a batch of so many
    `samples`, the range `own` of them, as they would be among all."""
    steps, here, *image = inputs.shape
    shape = torch.Size((steps, here if samples is None else samples, *image))
    drawn = [change.draw(shape, generator) for change in changes]
    if samples is not None:
        drawn = [tuple(tensor[..., own] for tensor in draws) for draws in drawn]
    there = iter(to_device([tensor for draws in drawn for tensor in draws], inputs.device))
    for change, draws in zip(changes, drawn, strict=True):
        inputs = change.apply(inputs, *islice(there, len(draws)))
    return inputs


@dataclass(frozen=True)
class Changes:
    """An Augmentation: random changes, between what is done to every batch before and after."""

    changes: tuple[Change, ...]
    before: Preparation | None = None
    after: Preparation | None = None

    @property
    def of_each(self) -> bool:
        """Whether a part of a batch can be made without the rest of it."""
        return all(change.of_each for change in self.changes)

    def __call__(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return self._made(inputs, generator), targets

    def of_part(
        self, inputs: Tensor, own: slice, samples: int, generator: torch.Generator
    ) -> Tensor:
        """What is made of the range `own` of a batch of so many `samples`, of which `inputs` has
        that range alone. `generator` draws for all of them."""
        return self._made(inputs, generator, samples=samples, own=own)

    def _made(self, inputs: Tensor, generator: torch.Generator, **part: Any) -> Tensor:
        inputs = inputs if self.before is None else self.before(inputs)
        inputs = changed(inputs, self.changes, generator, **part)
        return inputs if self.after is None else self.after(inputs)


def random_crop(padding: int, fill: float) -> Change:
    """Shift each sample by up to `padding` pixels in each direction; what comes in from outside is
    `fill`."""

    def draw(shape: torch.Size, generator: torch.Generator) -> Draws:
        return (torch.randint(0, 2 * padding + 1, (2, shape[1]), generator=generator),)

    def apply(inputs: Tensor, shifts: Tensor) -> Tensor:
        samples, height, width = inputs.shape[1], inputs.shape[3], inputs.shape[4]
        padded = F.pad(inputs, (padding, padding, padding, padding), value=fill)
        windows = padded.unfold(3, height, 1).unfold(4, width, 1)
        top, left = shifts.unbind()
        index = torch.arange(samples, device=inputs.device)
        # Indexing with three separate dimensions moves the sample to the front.
        return windows[:, index, :, top, left].transpose(0, 1)

    return Change(draw, apply)


def _draw_flip(shape: torch.Size, generator: torch.Generator) -> Draws:
    return (torch.rand(shape[1], generator=generator) < 0.5,)


def _flip(inputs: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(_per_sample(chosen), inputs.flip(-1), inputs)


# Mirrors each sample with probability 1/2 (RandomHorizontalFlip's distribution).
horizontal_flip = Change(_draw_flip, _flip)


def _draw_cutout(shape: torch.Size, generator: torch.Generator) -> Draws:
    samples, height, width = shape[1], shape[3], shape[4]
    u = torch.rand(6, samples, generator=generator, dtype=torch.float64)
    area = (0.02 + u[1] * (0.4 - 0.02)) * (height * width)
    ratio = 0.4 + u[2] * (2.5 - 0.4)
    # Only an image that is not square can be narrower than the rectangle.
    wide = (area / ratio).sqrt().long().clamp(max=width)
    high = (area * ratio).sqrt().long().clamp(max=height)
    left, top = _whole(u[3], width - wide), _whole(u[4], height - high)
    red = torch.where(u[0] < 0.5, _whole(u[5], torch.full_like(left, 255)), 0)
    return torch.stack([top, top + high, left, left + wide]), u[0] < 0.5, red


def _cut_out(inputs: Tensor, edges: Tensor, chosen: Tensor, red: Tensor) -> Tensor:
    inside = _rectangle(inputs, edges) & _per_sample(chosen)
    colour = inputs.new_zeros(1, inputs.shape[1], inputs.shape[2], 1, 1)
    colour[0, :, 0, 0, 0] = red.to(inputs.dtype)
    return torch.where(inside, colour, inputs)


# The Cutout() of torchtoolbox, with its exact distribution, on uint8 images.
#
# With probability 1/2 a rectangle is painted over: area a ~ U(.02, .4) of the image, ratio
# r ~ U(.4, 2.5), w = int(sqrt(a H W / r)), h = int(sqrt(a H W r)), anywhere inside. Its colour is
# (c, 0, 0), c ~ {0..255}: torchtoolbox pastes one whole number into an RGB image, which PIL takes
# for the red channel. The authors do this before normalising, so the patch is not mean grey.
cutout = Change(_draw_cutout, _cut_out)


def random_erasing(probability: float) -> Change:
    """torchvision's RandomErasing with its defaults and value 0, on normalised images.

    Area ~ U(.02, .33) of the image, the logarithm of the ratio uniform between .3 and 3.3, sides
    rounded; the first of ten draws that is smaller than the image counts, if there is one.
    """

    def draw(shape: torch.Size, generator: torch.Generator) -> Draws:
        samples, height, width = shape[1], shape[3], shape[4]
        u = torch.rand(3, samples, generator=generator, dtype=torch.float64)
        tries = torch.rand(2, samples, ERASING_TRIES, generator=generator, dtype=torch.float64)
        area = (0.02 + tries[0] * (0.33 - 0.02)) * (height * width)
        low, high_ = math.log(0.3), math.log(3.3)
        ratio = (low + tries[1] * (high_ - low)).exp()
        high, wide = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        fits = (high < height) & (wide < width)
        first = fits.int().argmax(1, keepdim=True)
        high, wide = high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
        chosen = (u[0] < probability) & fits.any(1)
        top, left = _whole(u[1], height - high), _whole(u[2], width - wide)
        return torch.stack([top, top + high, left, left + wide]), chosen

    def apply(inputs: Tensor, edges: Tensor, chosen: Tensor) -> Tensor:
        return inputs.masked_fill(_rectangle(inputs, edges) & _per_sample(chosen), 0)

    return Change(draw, apply)


def _whole(u: Tensor, largest: Tensor) -> Tensor:
    """Whole numbers `[N]` in {0..largest}, all alike, from `u` `[N]` uniform in [0, 1)."""
    return (u * (largest + 1)).long()


def _per_sample(values: Tensor) -> Tensor:
    """`values` `[N]` as `[1, N, 1, 1, 1]`."""
    return values.view(1, -1, 1, 1, 1)


def _rectangle(inputs: Tensor, edges: Tensor) -> Tensor:
    """Mask `[1, N, 1, H, W]` of the pixels inside each sample's rectangle: `edges` `[4, N]` are its
    first row and the one behind the last, its first column and the one behind the last."""
    first_row, end_row, first_column, end_column = edges.view(4, -1, 1)
    row = torch.arange(inputs.shape[3], device=inputs.device)
    column = torch.arange(inputs.shape[4], device=inputs.device)
    rows = (row >= first_row) & (row < end_row)
    columns = (column >= first_column) & (column < end_column)
    return (rows[:, :, None] & columns[:, None, :])[None, :, None]
