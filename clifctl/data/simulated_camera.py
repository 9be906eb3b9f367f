"""An event camera, simulated, that makes three saccades before an image.

The image stands still and a sensor that is a pixel larger on every side moves over it along a
triangle, as the camera of N-MNIST did (Orchard et al., 2015). A pixel remembers the logarithm of
the intensity at its last event; whenever the present one is higher (lower) by the contrast
threshold, it sends an ON (OFF) event and moves its memory by the threshold. Each sample's saccades
are turned and stretched a little, at random under a seed of their own. Events are counted into T
frames of equal duration: `[T, N, 2, H + 2, W + 2]`, channel 0 OFF, channel 1 ON.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from clifctl.data.contract import Streamed

BORDER = 1  # pixels of the sensor around the image
# Instants at which the sensor is read: enough that a step moves it by less than 0.15 pixels.
INSTANTS = 48
# Corners of the path, in pixels; it starts and ends at the first.
CORNERS = ((-0.8, -0.8), (0.0, 0.9), (0.8, -0.8), (-0.8, -0.8))
DARK = 0.1  # intensity of a black pixel: keeps the logarithm finite
GREY = (0.299, 0.587, 0.114)  # of red, green and blue, as PIL weighs them


def simulate(images: Tensor, timesteps: int, contrast_threshold: float, places: Tensor) -> Tensor:
    """Event counts `[T, N, 2, H + 2, W + 2]` for intensities `images` `[N, 1, H, W]` in [0, 1],
    seen from `places` `[INSTANTS + 1, N, 2]`."""
    remembered = log_intensity(images, places[0])
    frames = torch.zeros(timesteps, len(images), 2, *remembered.shape[1:])
    for instant in range(1, INSTANTS + 1):
        present = log_intensity(images, places[instant])
        events = ((present - remembered) / contrast_threshold).trunc()
        remembered += events * contrast_threshold
        frame = frames[(instant - 1) * timesteps // INSTANTS]
        frame[:, 0] += (-events).clamp(min=0)
        frame[:, 1] += events.clamp(min=0)
    return frames


def saccades(samples: int, jitter: float, generator: torch.Generator) -> Tensor:
    """Sensor position (x, y) in pixels at each instant, for each sample: `[INSTANTS + 1, N, 2]`."""
    corners = torch.tensor(CORNERS)
    along = torch.linspace(0, len(CORNERS) - 1, INSTANTS + 1)
    leg = along.floor().clamp(max=len(CORNERS) - 2).long()
    part = (along - leg).unsqueeze(1)
    # A saccade starts and ends at rest: the raised cosine is its position over time.
    part = (1 - torch.cos(math.pi * part)) / 2
    path = corners[leg] * (1 - part) + corners[leg + 1] * part
    turn = torch.randn(samples, generator=generator) * jitter
    stretch = 1 + torch.randn(samples, generator=generator).clamp(-2, 2) * jitter / 2
    rotation = torch.stack(
        [torch.stack([turn.cos(), -turn.sin()]), torch.stack([turn.sin(), turn.cos()])]
    )
    return torch.einsum("ti,jin,n->tnj", path, rotation, stretch)


def one_movement(
    seed: int, jitter: float, contrast_threshold: float, timesteps: int
) -> Callable[[Tensor], Tensor]:
    """What turns stored images `[1, n, C, H, W]`, as `SeenImages` has them, into event counts
    `[T, n, 2, H + 2, W + 2]`, all seen with the first movement that `seed` draws."""
    places = saccades(1, jitter, torch.Generator().manual_seed(seed))

    def see(stored: Tensor) -> Tensor:
        images = stored[0]
        alike = places.expand(-1, len(images), -1)
        seen = SeenImages(images, alike, "", contrast_threshold, timesteps)
        return seen.take(range(len(images)))

    return see


def log_intensity(images: Tensor, position: Tensor) -> Tensor:
    """Log intensity `[N, H + 2, W + 2]` that the sensor sees from `position` `[N, 2]`."""
    height, width = images.shape[2:]
    sensor = (height + 2 * BORDER, width + 2 * BORDER)
    # affine_grid works in units of half an image: a shift by one pixel is 2 / side.
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = sensor[1] / width, sensor[0] / height
    theta[:, :, 2] = position * 2 / torch.tensor([width, height])
    grid = F.affine_grid(theta, [len(images), 1, *sensor], align_corners=False)
    seen = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    return (seen[:, 0] + DARK).log()


@dataclass(frozen=True)
class SeenImages:
    """Images as the camera sees them, at every use anew: see `clifctl.data.contract.Streamed`.
    `movements` names how `places` `[INSTANTS + 1, N, 2]` were drawn."""

    images: Tensor | Streamed
    places: Tensor
    movements: str
    contrast_threshold: float
    timesteps: int

    threads: ClassVar[bool] = False

    def __len__(self) -> int:
        return self.places.shape[1]

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Event counts `[T, n, 2, H + 2, W + 2]` of the images `numbers`. Raises DataError."""
        chosen = torch.tensor(numbers, dtype=torch.int64)
        if isinstance(self.images, Tensor):
            stored = self.images.index_select(0, chosen)
        else:
            stored = self.images.take(numbers)[0]
        places = self.places.index_select(1, chosen)
        counts = simulate(_grey(stored), self.timesteps, self.contrast_threshold, places)
        return counts.to(torch.uint8 if counts.max() < 256 else torch.int32)

    def select(self, numbers: Tensor) -> "SeenImages":
        """The images of these numbers, each with its own movements."""
        held = self.images
        images = held[numbers] if isinstance(held, Tensor) else held.select(numbers)
        return replace(self, images=images, places=self.places.index_select(1, numbers))

    def digest(self) -> bytes:
        """A hash of the images, in order, and of what the movements were drawn by."""
        digest = hashlib.sha256(f"{self.movements} {self.contrast_threshold}".encode())
        if isinstance(self.images, Tensor):
            digest.update(str(tuple(self.images.shape)).encode())
            digest.update(self.images.contiguous().numpy().data)
        else:
            digest.update(self.images.digest())
        return digest.digest()


def _grey(stored: Tensor) -> Tensor:
    """Stored images `[N, C, H, W]`, bytes or numbers in [0, 1], as intensities `[N, 1, H, W]`."""
    images = stored / 255 if stored.dtype == torch.uint8 else stored
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(GREY).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
