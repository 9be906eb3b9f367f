"""A person's own arrays: x_train `[N, *shape]`, y_train `[N]`, x_test and y_test in one .npz file,
shown at every time step, or with a time axis `[N, T, *shape]`; x_validation and y_validation where
there are some. Bytes become [0, 1]; floating-point numbers are taken as they are."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from clifctl.commands import override
from clifctl.data.archives import Array, ArrayMissing, BadArchive, array_names, read_arrays
from clifctl.data.augment.pipelines import CropFlipOptions, crop_flip
from clifctl.data.contract import Dataset, DataShape, Files, FileState, LoadedData
from clifctl.data.given_files import ARRAYS, ArrayReader, as_numbers, in_view
from clifctl.data.images import Place, Samples, ShownOptions, assemble, require_labels
from clifctl.data.simulated_camera import GREY
from clifctl.data.unlabelled import Unlabelled
from clifctl.data.views import prepared_for
from clifctl.errors import DataError
from clifctl.strict import Count, Numbers, Widths
from clifctl.transfer import constant

NAME = "npz"
FILE = "data.npz"
NAMES = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_validation", "y_validation")  # may be left out
CHANGES_OF_IMAGES = (("random_crop_padding", 0), ("horizontal_flip", False))
COLOURS = 4  # more channels than images have that come with their channels last
LARGEST_WIDTH = 2**16  # see Widths
MOST_CLASSES = 2**31 - 1  # see Count


class NpzOptions(ShownOptions, CropFlipOptions):
    """What the arrays hold. `root` may be the .npz file itself, or the folder of a data.npz."""

    shape: Widths = Field(
        min_length=1,
        max_length=3,
        description="shape of one sample, with time_axis of one time step of it: [C, H, W]",
    )
    classes: Count = Field(ge=2, description="number of classes: labels are 0 to classes - 1")
    time_axis: bool = Field(
        False,
        description="x is [N, T, *shape], a sample of each time step; false: [N, *shape], the "
        "same at every time step",
    )
    mean: Numbers | None = Field(
        None, description="mean of each entry of the first dimension of shape, or one of all"
    )
    std: Numbers | None = Field(None, description="standard deviation, as mean")

    @model_validator(mode="after")
    def _images_are_shown_and_augmented(self) -> "NpzOptions":
        if len(self.shape) != 3:
            for key, plain in (("view", "image"), *CHANGES_OF_IMAGES):
                if (given := getattr(self, key)) != plain:
                    raise ValueError(
                        f"{key} = {given!r} is of images, of shape [C, H, W]; the shape is "
                        f"{list(self.shape)}"
                    )
        if self.view == "events" and self.shape[0] not in (1, len(GREY)):
            raise ValueError(
                f"view = 'events' is of images of 1 or 3 channels; the shape is {list(self.shape)}"
            )
        if self.time_axis and self.view != "image":
            raise ValueError(
                f"view = '{self.view}' makes time steps of an image, and time_axis = true says "
                "that there are some"
            )
        for key, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) not in (1, self.shape[0]):
                raise ValueError(
                    f"{key} has {len(numbers)} numbers: one, or one for each of {self.shape[0]}"
                )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self

    def shown(self, shape: DataShape) -> DataShape:
        return replace(shape, static=False) if self.time_axis else super().shown(shape)


def load(options: NpzOptions, timesteps: int) -> LoadedData:
    """The splits as uint8 or float32 `[1, N, *shape]`, with a time axis `[T, N, *shape]`. Raises
    DataError naming what is wrong."""
    place = Place.of(NAME, options.root)
    file = _file(place.root)
    parts = _parts(_arrays(file, place), file, place)
    as_bytes = parts["train"].held.dtype == torch.uint8
    limit = 255 if as_bytes else 1
    for part, samples in parts.items():
        _require_shape(samples, part, options, timesteps, file, place)
        require_labels(samples.targets, options.classes, file, place)
        if options.view == "events" and not 0 <= samples.held.min() <= samples.held.max() <= limit:
            raise place.error(
                f"'{file}': x_{part} holds {samples.held.min():g} to {samples.held.max():g}, and "
                "view=events sees intensities from 0 to 1",
                hint="write images as bytes, or scaled to [0, 1]",
            )
    if "validation" in parts and options.validation_share:
        raise place.error(
            f"data.validation_share = {options.validation_share}: '{file}' has a validation split "
            "of its own",
            hint="data.validation_share=0 takes it",
        )
    as_it_is = not as_bytes and options.mean is None and options.std is None
    dimensions = len(options.shape) - 1
    scaled = None if as_it_is else Scaled(as_bytes, options.mean, options.std, dimensions)
    prepare = prepared_for(options, scaled)
    return assemble(
        {part: replace(one, timed=options.time_axis) for part, one in parts.items()},
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=crop_flip(options, prepare),
    )


def unlabelled(options: NpzOptions, timesteps: int) -> Unlabelled:
    """Arrays of such samples: bytes become [0, 1], all other numbers are taken as they are."""

    def prepare(stored: Tensor) -> Tensor:
        as_bytes = stored.dtype == torch.uint8
        return Scaled(as_bytes, options.mean, options.std, len(options.shape) - 1)(stored)

    shape = (timesteps, *options.shape) if options.time_axis else options.shape
    reader = ArrayReader(shape, as_numbers, timed=options.time_axis)
    return in_view(Unlabelled(dict.fromkeys(ARRAYS, reader), prepare), options, timesteps)


@dataclass(frozen=True)
class Scaled:
    """Stored arrays as the net sees them, float32: bytes over 255; then (x - mean) / std, where
    given, along the dimension before the last `dimensions`."""

    as_bytes: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    dimensions: int

    def __call__(self, inputs: Tensor) -> Tensor:
        numbers = inputs.to(torch.float32)
        if self.as_bytes:
            numbers = numbers.div_(255)
        if self.mean is not None:
            numbers = numbers - self._along(self.mean, inputs.device)
        return numbers if self.std is None else numbers / self._along(self.std, inputs.device)

    def _along(self, values: tuple[float, ...], device: torch.device) -> Tensor:
        return constant(values, torch.float32, device).view(-1, *(1,) * self.dimensions)


def _require_shape(
    samples: Samples, part: str, options: NpzOptions, timesteps: int, file: Path, place: Place
) -> None:
    """Raise DataError for samples of another shape, or number of time steps, than the recipe's."""
    given = tuple(samples.held.shape[1:])
    wanted = (timesteps, *options.shape) if options.time_axis else options.shape
    if given == wanted:
        return
    if options.time_axis and given[1:] == options.shape:
        raise place.error(
            f"'{file}': x_{part} has {given[0]} time steps, the recipe says {timesteps}",
            hint=f"timesteps={given[0]}",
        )
    message = (
        f"'{file}': x_{part} has samples of shape {list(given)}, the recipe says {list(wanted)}"
    )
    if given[1:] == options.shape:
        raise place.error(message, hint="data.time_axis=true takes the first dimension for time")
    hint = _shape_hint(f"x_{part}", given, options.shape)
    if options.time_axis:
        hint = f"with data.time_axis=true samples are [T, *shape], T = timesteps = {timesteps}"
    raise place.error(message, hint=hint)


def _shape_hint(name: str, given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What makes samples of shape `given` fit: as they are, or with their channels where a net
    looks for them."""
    if len(given) == 3:
        first = (given[2], given[0], given[1])
        if first == wanted or given[2] <= COLOURS < min(given[:2]):
            return (
                f"channels come first: write {name}.transpose(0, 3, 1, 2) into the file, with "
                f"{_shape_override(first)}"
            )
    if len(given) == 2:
        return (
            f"images have channels: write {name}[:, None] into the file, with "
            f"{_shape_override((1, *given))}; or, for the net 'mlp', {_shape_override(given)}"
        )
    return _shape_override(given)


def _shape_override(shape: tuple[int, ...]) -> str:
    return override("data.shape", list(shape))


def _file(root: Path) -> Path:
    named = root.is_file() or (root.suffix == ".npz" and not root.is_dir())
    return root if named else root / FILE


def _arrays(file: Path, place: Place) -> dict[str, Array]:
    """The arrays of `file` that are used. Raises DataError."""
    if not os.path.lexists(file):
        raise place.error(f"'{file}' is missing")
    try:
        more = VALIDATION if set(VALIDATION) & array_names(file) else ()
        return read_arrays(file, (*NAMES, *more))
    except ArrayMissing as missing:
        raise place.error(f"'{file}' has {missing}") from None
    except BadArchive as bad:
        raise place.error(
            f"'{file}' is corrupted, cut off, or not an .npz of plain arrays ({bad})"
        ) from bad
    except OSError as refused:
        raise place.error(f"'{file}' cannot be read: {refused.strerror or refused}") from refused


def _parts(arrays: dict[str, Array], file: Path, place: Place) -> dict[str, Samples]:
    """The splits, sound whatever the options say. Raises DataError."""
    parts = ("train", "test", *(["validation"] if VALIDATION[0] in arrays else []))
    found = {part: _samples(arrays, part, file, place) for part in parts}
    for part in parts[1:]:
        if found["train"].held.dtype != found[part].held.dtype:
            raise place.error(f"'{file}': x_train and x_{part} must both be bytes, or both be not")
    return found


def _samples(arrays: dict[str, Array], part: str, file: Path, place: Place) -> Samples:
    inputs, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if not inputs.size:
        raise place.error(f"'{file}': x_{part} holds no sample, its shape is {list(inputs.shape)}")
    if not 2 <= inputs.ndim <= 5 or max(inputs.shape[1:]) > LARGEST_WIDTH:
        raise place.error(
            f"'{file}': x_{part} has the shape {list(inputs.shape)}: samples have one to three "
            f"dimensions, and one for time, each of at most {LARGEST_WIDTH:,}",
            hint=f"write x_{part}.reshape(len(x_{part}), ...) into the file: channels, rows, "
            "columns, or one list of numbers per sample",
        )
    if labels.shape != (len(inputs),) or not np.issubdtype(labels.dtype, np.integer):
        raise place.error(
            f"'{file}': y_{part} must be {len(inputs)} whole numbers, is {labels.dtype} of shape "
            f"{list(labels.shape)}"
        )
    if int(labels.max()) > MOST_CLASSES:
        raise place.error(f"'{file}': y_{part} holds {labels.max()}, which is not a label")
    targets = torch.from_numpy(labels.astype(np.int64))
    return Samples(torch.from_numpy(_numbers(inputs, part, file, place)), targets)


def _numbers(
    inputs: np.ndarray[Any, Any], part: str, file: Path, place: Place
) -> np.ndarray[Any, Any]:
    """`inputs` as bytes or float32."""
    if inputs.dtype == np.uint8:
        return np.ascontiguousarray(inputs)
    if not np.issubdtype(inputs.dtype, np.floating):
        raise place.error(f"'{file}': x_{part} is {inputs.dtype}, not uint8 or floating point")
    if not np.isfinite(inputs).all():
        raise place.error(f"'{file}': x_{part} holds numbers that are not finite")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(inputs, dtype=np.float32)
    if not np.isfinite(numbers).all():
        largest = inputs.flat[np.abs(inputs).argmax()]
        raise place.error(
            f"'{file}': x_{part} holds {largest:.3g}, float32 holds up to 3.40e+38",
            hint="scale the numbers",
        )
    return numbers


def inspect(root: Path) -> tuple[FileState, ...]:
    """The file below `root`, read as for training: whether its shape is the one that is wanted is
    the options' matter."""
    file, place = _file(root), Place(NAME, root)
    what, problem = "arrays x_train, y_train, x_test, y_test", None
    if not os.path.lexists(file):
        return (FileState(file, what, present=False),)
    try:
        arrays = _arrays(file, place)
        held = (f"{name} {list(array.shape)} {array.dtype}" for name, array in arrays.items())
        what = f"arrays {', '.join(held)}"
        _parts(arrays, file, place)
    except DataError as refused:
        problem = refused.message
    return (FileState(file, what, present=True, problem=problem),)


DATASET = Dataset(
    name=NAME,
    title="arrays of your own in one .npz file, the sample at every time step, or over time",
    source="your own file",
    classes=None,
    input_shape=None,
    static=True,
    timesteps=None,
    max_timesteps=None,
    options=NpzOptions,
    load=load,
    shape_of=lambda options: DataShape(options.classes, options.shape),
    files=Files(
        url=None,
        licence="your own",
        size_bytes=None,
        obtain=lambda root: (
            f"write '{_file(root)}' with numpy.savez(file, x_train=..., "
            "y_train=..., x_test=..., y_test=...); x_validation and y_validation may be there too"
        ),
        inspect=inspect,
    ),
    unlabelled=unlabelled,
)
