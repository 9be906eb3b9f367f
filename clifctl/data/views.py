"""How images are shown over time: whole at every time step, row by row, pixel by pixel, or as the
events of a simulated camera. Images are stored as images; a batch is brought into its view when it
is taken."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from clifctl.data.augment.transforms import Changes
from clifctl.data.contract import (
    Augmentation,
    DataOptions,
    DataShape,
    Drawn,
    LoadedData,
    Preparation,
    Split,
    Staged,
    Streamed,
    as_floats,
)
from clifctl.data.simulated_camera import BORDER, INSTANTS, SeenImages, saccades
from clifctl.strict import Seed
from clifctl.transfer import constant

View = Literal["image", "rows", "pixels", "events"]
CAMERA = ("camera_seed", "contrast_threshold", "jitter")  # options of view=events alone


class ViewOptions(DataOptions):
    """Options of every data set of images."""

    view: View = Field(
        "image",
        description="image: the whole image at every time step; rows: row t at time step t; "
        "pixels: one pixel a time step, row by row; events: as a camera that moves sees it",
    )
    permutation_seed: Seed | None = Field(
        None,
        description="view pixels: seed of one order of the pixels, the same for all images "
        "(permuted sequential MNIST); null: row by row",
    )

    camera_seed: Seed = Field(0, description="view events: seed of the camera's movements")
    contrast_threshold: float = Field(
        0.25, ge=0.01, description="view events: change of log intensity that makes an event"
    )
    jitter: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        description="view events: spread of a sample's saccades: turn [rad] and stretch",
    )

    @model_validator(mode="after")
    def _a_camera_sees_events(self) -> Self:
        for key in CAMERA:
            given = getattr(self, key)
            if self.view != "events" and given != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} = {given}: is of the camera of view=events, the view is {self.view}"
                )
        return self

    @model_validator(mode="after")
    def _events_are_counted_as_they_are(self) -> Self:
        for key in ("mean", "std"):  # of the sets that have them
            given = getattr(self, key, None)
            if self.view == "events" and given is not None:
                raise ValueError(
                    f"{key} = {list(given)}: is of images, and view=events shows events"
                )
        return self

    @model_validator(mode="after")
    def _pixels_have_an_order(self) -> Self:
        if self.permutation_seed is not None and self.view != "pixels":
            raise ValueError(
                f"permutation_seed = {self.permutation_seed}: permutes the pixels of view=pixels, "
                f"the view is {self.view}"
            )
        return self

    def shown(self, shape: DataShape) -> DataShape:
        if self.view == "image":
            return shape
        channels, height, width = shape.input_shape
        if self.view == "events":
            sensor = (height + 2 * BORDER, width + 2 * BORDER)
            return replace(shape, input_shape=(2, *sensor), static=False, max_timesteps=INSTANTS)
        rows = self.view == "rows"
        return replace(
            shape,
            input_shape=(channels * width,) if rows else (channels,),
            static=False,
            timesteps=height if rows else height * width,
        )


def sees_events(options: DataOptions) -> bool:
    """Whether images are shown as events."""
    return isinstance(options, ViewOptions) and options.view == "events"


def prepared_for(options: ViewOptions, prepare: Preparation | None) -> Preparation | None:
    """What makes stored batches what the net sees: counts of events as they are, else `prepare`."""
    return as_floats if sees_events(options) else prepare


def seen(
    parts: Mapping[str, Tensor | Streamed], options: ViewOptions, timesteps: int
) -> dict[str, SeenImages]:
    """Stored images of each split, bytes or numbers in [0, 1], as a camera sees them, whose
    movements are drawn split by split."""
    generator = torch.Generator().manual_seed(options.camera_seed)
    return {
        part: SeenImages(
            images,
            saccades(len(images), options.jitter, generator),
            f"{part} {options.camera_seed} {options.jitter}",
            options.contrast_threshold,
            timesteps,
        )
        for part, images in parts.items()
    }


def show(data: LoadedData, options: DataOptions) -> LoadedData:
    """Data of images `[1, N, C, H, W]` as `options` show them, but for events: see `seen`."""
    if not isinstance(options, ViewOptions) or options.view in ("image", "events"):
        return data
    over_time = _over_time(options)

    def of(split: Split) -> Split:
        return replace(split, prepare=as_shown(split.prepare, options))

    augment = data.augment
    if isinstance(augment, Staged):
        augment = _StagedThen(augment, over_time)
    elif isinstance(augment, Changes):
        augment = replace(augment, after=_Then(augment.after, over_time))
    elif augment is not None:
        augment = _augmented(augment, over_time)
    return replace(
        data,
        train=of(data.train),
        test=of(data.test),
        validation=None if data.validation is None else of(data.validation),
        augment=augment,
    )


def as_shown(prepare: Preparation | None, options: ViewOptions) -> Preparation | None:
    """`prepare` of stored images, and then the view of `options`, but for events."""
    return prepare if options.view in ("image", "events") else _Then(prepare, _over_time(options))


def _over_time(options: ViewOptions) -> Preparation:
    return rows if options.view == "rows" else Pixels(options.permutation_seed)


def rows(images: Tensor) -> Tensor:
    """`[1, N, C, H, W]` as `[H, N, C * W]`: the row t of every channel at time step t."""
    return images[0].permute(2, 0, 1, 3).flatten(2).contiguous()


@dataclass(frozen=True)
class Pixels:
    """`[1, N, C, H, W]` as `[H * W, N, C]`: a pixel a time step, row by row, or in the order that
    `seed` draws."""

    seed: int | None

    def __call__(self, images: Tensor) -> Tensor:
        pixels = images[0].flatten(2).permute(2, 0, 1)
        if self.seed is None:
            return pixels.contiguous()
        order = constant(permutation(len(pixels), self.seed), torch.int64, images.device)
        return pixels.index_select(0, order)


@lru_cache(maxsize=8)
def permutation(pixels: int, seed: int) -> tuple[int, ...]:
    """The numbers of so many pixels in the order that `seed` draws: that of numpy's RandomState,
    which never changes."""
    return tuple(np.random.RandomState(seed).permutation(pixels).tolist())


@dataclass(frozen=True)
class _Then:
    """`prepare`, where there is any, and then `over_time`."""

    prepare: Preparation | None
    over_time: Preparation

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.over_time(inputs if self.prepare is None else self.prepare(inputs))


class _StagedThen(Staged):
    """`augment`, and then `over_time` on the device."""

    def __init__(self, augment: Staged, over_time: Preparation) -> None:
        self._augment = augment
        self._over_time = over_time
        self.work = augment.work

    def draw(self, samples: int, generator: torch.Generator) -> Drawn:
        return self._augment.draw(samples, generator)

    def part(self, drawn: Drawn, own: slice) -> Drawn | None:
        return self._augment.part(drawn, own)

    def finish(self, inputs: Tensor, targets: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        images, targets = self._augment.finish(inputs, targets, drawn)
        return self._over_time(images), targets


def _augmented(augment: Augmentation, over_time: Preparation) -> Augmentation:
    def augmented(
        inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        images, targets = augment(inputs, targets, generator)
        return over_time(images), targets

    return augmented
