"""Handwritten digits seen by a simulated event camera that makes three saccades, as `digits` with
`data.view=events`, but held as frames: `[T, N, 2, 10, 10]`. The saccades are drawn under
`data.seed`, which has nothing to do with a run's seed."""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.contract import DataOptions, Dataset, LoadedData, Split, as_floats
from clifctl.data.events.recordings import POLARITIES
from clifctl.data.sets.digits import CLASSES, SIDE, SOURCE, digit_images, unlabelled_digits
from clifctl.data.simulated_camera import BORDER, INSTANTS, one_movement, saccades, simulate
from clifctl.data.unlabelled import Unlabelled, changed
from clifctl.strict import Seed

SENSOR = SIDE + 2 * BORDER


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

    def split(pixels: Tensor, targets: Tensor) -> Split:
        places = saccades(len(pixels), options.jitter, generator)
        return Split(simulate(pixels, timesteps, options.contrast_threshold, places), targets)

    train = split(images.train, images.train_targets)
    return LoadedData(train, split(images.test, images.test_targets))


def _unlabelled(options: DigitsEventsOptions, timesteps: int) -> Unlabelled:
    images = unlabelled_digits()
    see = one_movement(options.seed, options.jitter, options.contrast_threshold, timesteps)
    readers = {ending: changed(reader, see) for ending, reader in images.readers.items()}
    return replace(images, readers=readers, prepare=as_floats)


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
    unlabelled=_unlabelled,
    polarities=POLARITIES,
)
