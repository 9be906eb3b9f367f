"""Augmentation of whole batches `[T, N, C, H, W]` on the device, stored (uint8) or float.

Random numbers come from the run's generator on the CPU, so that a run draws the same ones on any
device. A sample gets one draw for all its time steps.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ERASING_TRIES = 10  # torchvision's RandomErasing gives up after so many


def random_crop(inputs: Tensor, padding: int, fill: float, generator: torch.Generator) -> Tensor:
    """Shift each sample of `inputs` `[T, N, C, H, W]` by up to `padding` pixels in each direction.

    Each sample gets one shift for all its time steps; what comes in from outside is `fill`.
    """
    samples, height, width = inputs.shape[1], inputs.shape[3], inputs.shape[4]
    padded = F.pad(inputs, (padding, padding, padding, padding), value=fill)
    windows = padded.unfold(3, height, 1).unfold(4, width, 1)
    shifts = torch.randint(0, 2 * padding + 1, (2, samples), generator=generator)
    top, left = shifts.to(inputs.device).unbind()
    index = torch.arange(samples, device=inputs.device)
    # Indexing with three separate dimensions moves the sample to the front.
    return windows[:, index, :, top, left].transpose(0, 1)


def horizontal_flip(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each sample with probability 1/2 (RandomHorizontalFlip's distribution)."""
    chosen = torch.rand(inputs.shape[1], generator=generator) < 0.5
    return torch.where(_per_sample(chosen, inputs), inputs.flip(-1), inputs)


def cutout(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """The Cutout() of torchtoolbox, with its exact distribution, on uint8 images.

    With probability 1/2 a rectangle is painted over: area a ~ U(.02, .4) of the image, ratio
    r ~ U(.4, 2.5), w = int(sqrt(a H W / r)), h = int(sqrt(a H W r)), anywhere inside. Its colour is
    (c, 0, 0), c ~ {0..255}: torchtoolbox pastes one whole number into an RGB image, which PIL takes
    for the red channel. The authors do this before normalising, so the patch is not mean grey.
    """
    samples, height, width = inputs.shape[1], inputs.shape[3], inputs.shape[4]
    u = torch.rand(6, samples, generator=generator, dtype=torch.float64)
    area = (0.02 + u[1] * (0.4 - 0.02)) * (height * width)
    ratio = 0.4 + u[2] * (2.5 - 0.4)
    # Only an image that is not square can be narrower than the rectangle.
    wide = (area / ratio).sqrt().long().clamp(max=width)
    high = (area * ratio).sqrt().long().clamp(max=height)
    left, top = _whole(u[3], width - wide), _whole(u[4], height - high)
    red = torch.where(u[0] < 0.5, _whole(u[5], torch.full_like(left, 255)), 0)
    inside = _rectangle(inputs, top, left, high, wide) & _per_sample(u[0] < 0.5, inputs)
    colour = torch.zeros(1, samples, inputs.shape[2], 1, 1, dtype=inputs.dtype)
    colour[0, :, 0, 0, 0] = red.to(inputs.dtype)
    return torch.where(inside, colour.to(inputs.device), inputs)


def random_erasing(inputs: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """torchvision's RandomErasing with its defaults and value 0, on normalised images.

    Area ~ U(.02, .33) of the image, the logarithm of the ratio uniform between .3 and 3.3, sides
    rounded; the first of ten draws that is smaller than the image counts, if there is one.
    """
    samples, height, width = inputs.shape[1], inputs.shape[3], inputs.shape[4]
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
    inside = _rectangle(inputs, top, left, high, wide) & _per_sample(chosen, inputs)
    return inputs.masked_fill(inside, 0)


def _whole(u: Tensor, largest: Tensor) -> Tensor:
    """Whole numbers `[N]` in {0..largest}, all alike, from `u` `[N]` uniform in [0, 1)."""
    return (u * (largest + 1)).long()


def _per_sample(values: Tensor, inputs: Tensor) -> Tensor:
    """`values` `[N]` as `[1, N, 1, 1, 1]` on the device of `inputs`."""
    return values.view(1, -1, 1, 1, 1).to(inputs.device)


def _rectangle(inputs: Tensor, top: Tensor, left: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Mask `[1, N, 1, H, W]` of the pixels inside each sample's rectangle; all given are `[N]`."""
    edges = torch.stack([top, top + high, left, left + wide]).to(inputs.device)
    first_row, end_row, first_column, end_column = edges.view(4, -1, 1)
    row = torch.arange(inputs.shape[3], device=inputs.device)
    column = torch.arange(inputs.shape[4], device=inputs.device)
    rows = (row >= first_row) & (row < end_row)
    columns = (column >= first_column) & (column < end_column)
    return (rows[:, :, None] & columns[:, None, :])[None, :, None]
