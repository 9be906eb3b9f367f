"""Handwritten digits seen by a simulated event camera that makes three saccades.

The digit stands still and a sensor of 10x10 pixels moves over it along a triangle, as the camera
of N-MNIST did (Orchard et al., 2015). A pixel remembers the logarithm of the intensity at its last
event; whenever the present one is higher (lower) by the contrast threshold, it sends an ON (OFF)
event and moves its memory by the threshold. Each sample's saccades are turned and stretched a
little, at random under `data.seed`, which has nothing to do with a run's seed. Events are counted
into T frames of equal duration: `[T, N, 2, 10, 10]`, channel 0 OFF, channel 1 ON.
"""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from clifctl.data.contract import DataOptions, Dataset, LoadedData, Split
from clifctl.data.events.recordings import POLARITIES
from clifctl.data.sets.digits import CLASSES, SIDE, SOURCE, digit_images
from clifctl.strict import Seed

SENSOR = 10
# Instants at which the sensor is read: enough that a step moves it by less than 0.15 pixels.
INSTANTS = 48
# Corners of the path, in pixels; it starts and ends at the first.
CORNERS = ((-0.8, -0.8), (0.0, 0.9), (0.8, -0.8), (-0.8, -0.8))
DARK = 0.1  # intensity of a black pixel: keeps the logarithm finite


class DigitsEventsOptions(DataOptions):
    """The camera."""

    seed: Seed = Field(0, description="seed of the camera's movements")
    contrast_threshold: float = Field(
        0.25, ge=0.01, description="change of log intensity that makes an event"
    )
    jitter: float = Field(
        0.2, ge=0.0, le=1.0, description="spread of a sample's saccades: turn [rad] and stretch"
    )


def load(options: DigitsEventsOptions, timesteps: int) -> LoadedData:
    """Frames of event counts for both splits, deterministic under `options.seed`."""
    images = digit_images()
    generator = torch.Generator().manual_seed(options.seed)
    train = simulate(images.train, timesteps, options, generator)
    test = simulate(images.test, timesteps, options, generator)
    return LoadedData(Split(train, images.train_targets), Split(test, images.test_targets))


def simulate(
    images: Tensor, timesteps: int, options: DigitsEventsOptions, generator: torch.Generator
) -> Tensor:
    """Event counts `[T, N, 2, 10, 10]` for intensities `images` `[N, 1, 8, 8]` in [0, 1]."""
    positions = _saccades(len(images), options.jitter, generator)
    remembered = _log_intensity(images, positions[0])
    frames = torch.zeros(timesteps, len(images), 2, SENSOR, SENSOR)
    for instant in range(1, INSTANTS + 1):
        present = _log_intensity(images, positions[instant])
        events = ((present - remembered) / options.contrast_threshold).trunc()
        remembered += events * options.contrast_threshold
        frame = frames[(instant - 1) * timesteps // INSTANTS]
        frame[:, 0] += (-events).clamp(min=0)
        frame[:, 1] += events.clamp(min=0)
    return frames


def _saccades(samples: int, jitter: float, generator: torch.Generator) -> Tensor:
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


def _log_intensity(images: Tensor, position: Tensor) -> Tensor:
    """Log intensity `[N, 10, 10]` that the sensor sees from `position` `[N, 2]`."""
    # affine_grid works in units of half an image: a shift by one pixel is 2 / SIDE.
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = SENSOR / SIDE
    theta[:, :, 2] = position * 2 / SIDE
    grid = F.affine_grid(theta, [len(images), 1, SENSOR, SENSOR], align_corners=False)
    seen = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    return (seen[:, 0] + DARK).log()


DATASET = Dataset(
    name="digits_events",
    title="handwritten digits, ON/OFF events of a camera that makes three saccades (simulated)",
    source=SOURCE,
    classes=CLASSES,
    input_shape=(2, SENSOR, SENSOR),
    static=False,
    timesteps=None,
    max_timesteps=INSTANTS,
    options=DigitsEventsOptions,
    load=load,
    polarities=POLARITIES,
)
