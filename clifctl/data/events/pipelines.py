"""From stored counts of events to what the net sees, and the augmentation of event frames.

The authors' own transforms of CIFAR10-DVS are here by name: docs/event-data.md says which recipe
takes which, and why.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.data.augment.pil_resize import grey_with_opacity, nearest
from clifctl.data.augment.transforms import Change, Changes, Draws, horizontal_flip, random_crop
from clifctl.data.contract import Augmentation, Preparation
from clifctl.data.events.options import EventOptions, Resize, Values

CROP_PADDING = 4  # pixels, as in the code of PSN (Fang et al., 2024)
ROLL = 5  # pixels
LARGEST_ANGLE = 30.0  # degrees, of rotation and shear
ROTATION = (-15, 14)  # degrees, whole numbers
BYTE = 256


@dataclass(frozen=True)
class FramePreparation:
    """Counts `[T, N, 2, H, W]` to float32 `[T, N, 2, size, size]`.

    "counts": the counts. "binary": 1 where there is an event. "authors_bytes": torchvision's
    ToPILImage and ToTensor around the resize, as the authors have it, to the bit. They multiply a
    count c by 255 and wrap it at 256, so that 0, 1, 2, ... become 0, 255, 254, ..., over 255 in the
    end; and OFF and ON are to PIL the grey and the opacity of one image.
    """

    values: Values
    size: int | None
    resize: Resize

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.values == "authors_bytes":
            wrapped = (-inputs).bitwise_and(BYTE - 1).to(torch.uint8)
            return self._resized(wrapped).to(torch.float32).div_(BYTE - 1)
        frames = inputs if self.values == "counts" else inputs > 0
        return self._resized(frames.to(torch.float32))

    def _resized(self, frames: Tensor) -> Tensor:
        size = self.size
        if size is None or frames.shape[-2:] == (size, size):
            return frames
        if self.resize == "nearest":
            return nearest(frames, size)
        images, to = frames.flatten(0, 1), (size, size)
        if self.values == "authors_bytes":
            small = grey_with_opacity(images, size)
        elif self.resize == "area":
            small = F.interpolate(images, to, mode="area")
        else:
            antialias = self.resize == "antialias"
            small = F.interpolate(
                images, to, mode="bilinear", align_corners=False, antialias=antialias
            )
        return small.unflatten(0, frames.shape[:2])


def preparation_of(options: EventOptions) -> Preparation:
    """What makes stored counts what the net sees under `options`."""
    return FramePreparation(options.values, options.size, options.resize)


def augmentation_of(options: EventOptions, prepare: Preparation) -> Augmentation | None:
    """The augmentation of training batches under `options`, of stored counts; None: there is none.

    Each sample has one draw for all its frames.
    """
    changes = CHANGES.get(options.augmentation)
    return None if changes is None else Changes(changes, before=prepare)


def _draw_roll(shape: torch.Size, generator: torch.Generator) -> Draws:
    return (torch.randint(-ROLL, ROLL + 1, (2, shape[1]), generator=generator),)


def roll(frames: Tensor, by: Tensor) -> Tensor:
    """Each sample of `frames` `[T, N, C, H, W]` shifted by `by` `[2, N]` rows and columns, around
    the edge."""
    height, width = frames.shape[-2:]
    down, right = by
    row = (torch.arange(height, device=frames.device) - down[:, None]) % height
    column = (torch.arange(width, device=frames.device) - right[:, None]) % width
    sample = torch.arange(frames.shape[1], device=frames.device)[:, None, None]
    # [N, H, W, T, C]: separate indexed dimensions move to the front.
    rolled = frames[:, sample, :, row[:, :, None], column[:, None, :]]
    return rolled.permute(3, 0, 4, 1, 2).contiguous()


def _draw_rotation(shape: torch.Size, generator: torch.Generator) -> Draws:
    low, high = ROTATION
    degrees = torch.randint(low, high + 1, (shape[1],), generator=generator)
    return (origins(shape, degrees, torch.zeros_like(degrees)),)


def _draw_rotation_or_shear(shape: torch.Size, generator: torch.Generator) -> Draws:
    samples = shape[1]
    what = torch.randint(3, (samples,), generator=generator)
    degrees = (2 * torch.rand(samples, generator=generator) - 1) * LARGEST_ANGLE
    turn, lean = torch.where(what == 1, degrees, 0.0), torch.where(what == 2, degrees, 0.0)
    return (origins(shape, turn, lean),)


def origins(shape: torch.Size, rotation: Tensor, shear: Tensor) -> Tensor:
    """Where the pixels of frames of `shape` `[T, N, C, H, W]` come from, as F.affine_grid takes it,
    `[N, 2, 3]`, when each sample is turned counter-clockwise by `rotation` and sheared along x by
    `shear` `[N]` degrees about its centre."""
    height, width = shape[-2:]
    turn, lean = (angle.to(torch.float32) * (math.pi / 180) for angle in (rotation, shear))
    # Where the pixel (x, y) comes from, in pixels from the centre.
    cos, sin, tan = turn.cos(), turn.sin(), lean.tan()
    from_x = torch.stack([cos, -sin + tan * cos, torch.zeros_like(cos)], 1)
    from_y = torch.stack([sin, cos + tan * sin, torch.zeros_like(cos)], 1)
    # affine_grid counts in halves of the image.
    from_x[:, 1] *= height / width
    from_y[:, 0] *= width / height
    return torch.stack([from_x, from_y], 1)


def moved(frames: Tensor, origins: Tensor) -> Tensor:
    """Each pixel of `frames` `[T, N, C, H, W]` from its origin: the nearest pixel, 0 from
    outside."""
    steps, samples, channels, height, width = frames.shape
    folded = frames.transpose(0, 1).reshape(samples, steps * channels, height, width)
    grid = F.affine_grid(origins, [samples, 1, height, width], align_corners=False)
    found = F.grid_sample(folded, grid, "nearest", "zeros", align_corners=False)
    return found.view(samples, steps, channels, height, width).transpose(0, 1).contiguous()


# `crop_flip`: the augmentation of PSN's CIFAR10-DVS code. `flip_rotate`: the authors' for
# CIFAR10-DVS, flip and a rotation by a whole angle of -15 to 14 degrees, but that frames keep their
# size (theirs grow with the angle and cannot be put into one batch). `flip_roll_affine`: the
# authors' for their .pt files, flip; shift by up to 5 pixels along both axes, around the edge; then
# nothing, a rotation or a shear by up to 30 degrees, each with probability 1/3.
CHANGES: dict[str, tuple[Change, ...]] = {
    "crop_flip": (random_crop(CROP_PADDING, 0.0), horizontal_flip),
    "flip_rotate": (horizontal_flip, Change(_draw_rotation, moved, of_each=False)),
    "flip_roll_affine": (
        horizontal_flip,
        Change(_draw_roll, roll),
        Change(_draw_rotation_or_shear, moved, of_each=False),
    ),
}
