"""A person's own arrays: x_train `[N, *shape]`, y_train `[N]`, x_test and y_test in one .npz file,
shown at every time step. Bytes become [0, 1]; floating-point numbers are taken as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.archives import ArrayMissing, BadArchive, read_arrays
from clifctl.data.contract import Dataset, DataShape, Files, FileState, LoadedData
from clifctl.data.images import FileOptions, Place, Samples, assemble, require_labels
from clifctl.errors import DataError
from clifctl.strict import Count, Widths

NAME = "npz"
FILE = "data.npz"
NAMES = ("x_train", "y_train", "x_test", "y_test")


class NpzOptions(FileOptions):
    """What the arrays hold. `root` may be the .npz file itself, or the folder of a data.npz."""

    shape: Widths = Field(min_length=1, max_length=3, description="shape of one sample: [C, H, W]")
    classes: Count = Field(ge=2, description="number of classes: labels are 0 to classes - 1")


def load(options: NpzOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 or float32 `[1, N, *shape]`. Raises DataError naming what is wrong."""
    place = Place.of(NAME, options.root)
    file = _file(place.root)
    arrays = _arrays(file, place)
    train, test = (_samples(arrays, part, file, options, place) for part in ("train", "test"))
    if train.held.dtype != test.held.dtype:
        raise place.error(f"'{file}': x_train and x_test must both be bytes, or both be not")
    prepare = _scaled if train.held.dtype == torch.uint8 else None
    return assemble(train, test, options, place, prepare=prepare, augment=None)


def _scaled(inputs: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return inputs.to(torch.float32).div_(255)


def _file(root: Path) -> Path:
    return root if root.suffix == ".npz" else root / FILE


def _arrays(file: Path, place: Place) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of `file` that are used. Raises DataError."""
    try:
        return read_arrays(file, NAMES)
    except FileNotFoundError:
        raise place.error(f"'{file}' is missing") from None
    except ArrayMissing as missing:
        raise place.error(f"'{file}' has {missing}") from None
    except (BadArchive, OSError) as broken:
        raise _unreadable(file, broken, place) from broken


def _unreadable(file: Path, broken: Exception, place: Place) -> DataError:
    why = broken.strerror if isinstance(broken, OSError) else None
    return place.error(f"'{file}' is corrupted, or no .npz of plain arrays ({why or broken})")


def _samples(
    arrays: dict[str, np.ndarray[Any, Any]],
    part: str,
    file: Path,
    options: NpzOptions,
    place: Place,
) -> Samples:
    inputs, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if inputs.ndim == 0 or inputs.shape[1:] != options.shape:
        raise place.error(
            f"'{file}': x_{part} has samples of shape {list(inputs.shape[1:])}, the recipe says "
            f"{list(options.shape)}",
            hint=f"data.shape={str(list(inputs.shape[1:])).replace(' ', '')}",
        )
    if labels.shape != (len(inputs),) or not np.issubdtype(labels.dtype, np.integer):
        raise place.error(
            f"'{file}': y_{part} must be {len(inputs)} whole numbers, is {labels.dtype} of shape "
            f"{list(labels.shape)}"
        )
    if not len(inputs):
        raise place.error(f"'{file}': x_{part} holds no sample")
    if inputs.dtype != np.uint8:
        if not np.issubdtype(inputs.dtype, np.floating):
            raise place.error(f"'{file}': x_{part} is {inputs.dtype}, not uint8 or floating point")
        inputs = inputs.astype(np.float32)
        if not np.isfinite(inputs).all():
            raise place.error(f"'{file}': x_{part} holds numbers that are not finite")
    targets = torch.from_numpy(labels.astype(np.int64))
    require_labels(targets, options.classes, file, place)
    return Samples(torch.from_numpy(np.ascontiguousarray(inputs)), targets)


def inspect(root: Path) -> tuple[FileState, ...]:
    """The file below `root`: its arrays are named, their shapes are the options' matter."""
    file, place = _file(root), Place(NAME, root)
    what = "arrays x_train, y_train, x_test, y_test"
    try:
        arrays = read_arrays(file, NAMES)
    except FileNotFoundError:
        return (FileState(file, what, present=False),)
    except ArrayMissing as missing:
        return (FileState(file, what, present=True, problem=str(missing)),)
    except (BadArchive, OSError) as broken:
        refused = _unreadable(file, broken, place)
        return (FileState(file, what, present=True, problem=refused.message),)
    held = ", ".join(f"{name} {list(array.shape)} {array.dtype}" for name, array in arrays.items())
    return (FileState(file, f"arrays {held}", present=True),)


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
        obtain=f"write '{{root}}/{FILE}' with numpy.savez(file, x_train=..., y_train=..., "
        "x_test=..., y_test=...)",
        inspect=inspect,
    ),
)
