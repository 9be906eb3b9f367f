"""A person's own arrays: x_train `[N, *shape]`, y_train `[N]`, x_test and y_test in one .npz file,
shown at every time step. Bytes become [0, 1]; floating-point numbers are taken as they are."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from clifctl.commands import override
from clifctl.data.archives import Array, ArrayMissing, BadArchive, read_arrays
from clifctl.data.contract import Dataset, DataShape, Files, FileState, LoadedData
from clifctl.data.images import FileOptions, Place, Samples, assemble, require_labels
from clifctl.data.views import ViewOptions
from clifctl.errors import DataError
from clifctl.strict import Count, Widths

NAME = "npz"
FILE = "data.npz"
NAMES = ("x_train", "y_train", "x_test", "y_test")
COLOURS = 4  # more channels than images have that come with their channels last
LARGEST_WIDTH = 2**16  # see Widths
MOST_CLASSES = 2**31 - 1  # see Count


class NpzOptions(FileOptions, ViewOptions):
    """What the arrays hold. `root` may be the .npz file itself, or the folder of a data.npz."""

    shape: Widths = Field(min_length=1, max_length=3, description="shape of one sample: [C, H, W]")
    classes: Count = Field(ge=2, description="number of classes: labels are 0 to classes - 1")

    @model_validator(mode="after")
    def _views_are_of_images(self) -> "NpzOptions":
        if self.view != "image" and len(self.shape) != 3:
            raise ValueError(
                f"view = '{self.view}' is of images, of shape [C, H, W]; the shape is "
                f"{list(self.shape)}"
            )
        return self


def load(options: NpzOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 or float32 `[1, N, *shape]`. Raises DataError naming what is wrong."""
    place = Place.of(NAME, options.root)
    file = _file(place.root)
    arrays = _arrays(file, place)
    train, test = _both(arrays, file, place)
    for part, samples in (("train", train), ("test", test)):
        given = tuple(samples.held.shape[1:])
        if given != options.shape:
            raise place.error(
                f"'{file}': x_{part} has samples of shape {list(given)}, the recipe says "
                f"{list(options.shape)}",
                hint=_shape_hint(f"x_{part}", given, options.shape),
            )
        require_labels(samples.targets, options.classes, file, place)
    prepare = _scaled if train.held.dtype == torch.uint8 else None
    return assemble(train, test, options, place, prepare=prepare, augment=None)


def _scaled(inputs: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return inputs.to(torch.float32).div_(255)


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
        return read_arrays(file, NAMES)
    except ArrayMissing as missing:
        raise place.error(f"'{file}' has {missing}") from None
    except BadArchive as bad:
        raise place.error(
            f"'{file}' is corrupted, cut off, or not an .npz of plain arrays ({bad})"
        ) from bad
    except OSError as refused:
        raise place.error(f"'{file}' cannot be read: {refused.strerror or refused}") from refused


def _both(arrays: dict[str, Array], file: Path, place: Place) -> tuple[Samples, Samples]:
    """Both splits, sound whatever the options say. Raises DataError."""
    train, test = (_samples(arrays, part, file, place) for part in ("train", "test"))
    if train.held.dtype != test.held.dtype:
        raise place.error(f"'{file}': x_train and x_test must both be bytes, or both be not")
    return train, test


def _samples(arrays: dict[str, Array], part: str, file: Path, place: Place) -> Samples:
    inputs, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if not inputs.size:
        raise place.error(f"'{file}': x_{part} holds no sample, its shape is {list(inputs.shape)}")
    if not 2 <= inputs.ndim <= 4 or max(inputs.shape[1:]) > LARGEST_WIDTH:
        raise place.error(
            f"'{file}': x_{part} has the shape {list(inputs.shape)}: samples have one to three "
            f"dimensions, each of at most {LARGEST_WIDTH:,}",
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
        _both(arrays, file, place)
    except DataError as refused:
        problem = refused.message
    return (FileState(file, what, present=True, problem=problem),)


DATASET = Dataset(
    name=NAME,
    title="arrays of your own in one .npz file, the sample at every time step",
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
            "y_train=..., x_test=..., y_test=...)"
        ),
        inspect=inspect,
    ),
)
