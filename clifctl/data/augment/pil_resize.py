"""Images of bytes resized as PIL does it, to the bit, for whole batches and on any device.

The authors' frames pass through PIL. It has no image of two channels but 'LA', grey with opacity,
and it resizes that with the grey weighted by the opacity. Source: Pillow's Image.resize, and its
Resample.c, Convert.c and Geometry.c.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.transfer import constant

MOST = 255
WHOLE = 2**22  # what PIL's weights of a pixel add up to
AT_ONCE = 64  # images


def nearest(images: Tensor, size: int) -> Tensor:
    """`images` `[..., H, W]` as `[..., size, size]`: of each place the one pixel that PIL takes."""
    rows, columns = (
        constant(_nearest_numbers(side, size), torch.int64, images.device)
        for side in images.shape[-2:]
    )
    return images[..., rows[:, None], columns]


def grey_with_opacity(images: Tensor, size: int) -> Tensor:
    """Bytes `[N, 2, H, W]`, grey and opacity, as whole numbers, float64 `[N, 2, size, size]`.

    Bilinear with antialias. The grey is multiplied by opacity / 255 before, and divided by it
    after: where the opacity is 0 nothing is left of the grey.
    """
    # In parts: float64 of a large batch is large.
    return torch.cat([_grey_with_opacity(part, size) for part in images.split(AT_ONCE)])


def _grey_with_opacity(images: Tensor, size: int) -> Tensor:
    weighted = images.to(torch.float32)
    weighted[:, 0].mul_(weighted[:, 1]).div_(MOST).round_()
    small = _shrunk(weighted.to(torch.float64), size)
    grey, opacity = small.unbind(1)
    # An opacity of 255 divides by 1, one of 0 has no grey to divide.
    small[:, 0] = (MOST * grey / opacity.clamp(min=1)).floor_().clamp_(max=MOST)
    return small


def _shrunk(images: Tensor, size: int) -> Tensor:
    """Columns, then rows (Pillow 13 has another order for some images that are not square), rounded
    to bytes after each. float64 holds the sums exactly."""
    half = images.new_full((size,), 0.5)
    for side in reversed(images.shape[-2:]):
        weights = constant(_weights(side, size), images.dtype, images.device) / WHOLE
        images = F.linear(images, weights.view(size, side), half).floor_().transpose(-1, -2)
    return images


@lru_cache
def _weights(side: int, size: int) -> tuple[int, ...]:
    """PIL's weights `[size * side]`: triangles, as wide as the scale where it makes smaller."""
    scale = side / size
    support = max(scale, 1.0)
    rows: list[int] = []
    for place in range(size):
        centre = (place + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        end = min(int(centre + support + 0.5), side)
        heights = [
            max(0.0, 1.0 - abs((pixel - centre + 0.5) * (1.0 / support)))
            for pixel in range(first, end)
        ]
        total = sum(heights)
        row = [0] * side
        row[first:end] = [math.floor(0.5 + one * (1.0 / total) * WHOLE) for one in heights]
        rows += row
    return tuple(rows)


@lru_cache
def _nearest_numbers(side: int, size: int) -> tuple[int, ...]:
    """PIL adds the scale up: where a centre lies between two pixels, the sum's rounding decides."""
    scale = side / size
    numbers, centre = [], scale * 0.5
    for _ in range(size):
        numbers.append(min(int(centre), side - 1))
        centre += scale
    return tuple(numbers)
