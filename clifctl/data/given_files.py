"""Files that a person gives a net, whose samples have no labels: images and arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clifctl.data.archives import Array, BadArchive, array_names, map_array, read_arrays
from clifctl.data.contract import Preparation, as_floats
from clifctl.data.decoding import ENDINGS, MOST_THREADS, UNREAD, Fit, decode
from clifctl.data.images import Place
from clifctl.data.simulated_camera import one_movement
from clifctl.data.unlabelled import Reader, Unlabelled, changed
from clifctl.data.views import ViewOptions, as_shown, sees_events
from clifctl.errors import DataError

ARRAYS = (".npy", ".npz")
NAME = "x"  # of the array of an .npz that holds several


class _GivenFiles(Place):
    """No place of a data set: errors are about the file alone."""

    def error(self, message: str, *, hint: str | None = None) -> DataError:
        return DataError(message, hint=hint)


GIVEN = _GivenFiles("files", Path())
# An array of samples, and its file for errors -> the samples as they are stored.
Numbers = Callable[[Array, Path], Array]


def only_bytes(array: Array, path: Path) -> Array:
    """Images of bytes. Raises DataError for anything else."""
    if array.dtype != np.uint8:
        raise GIVEN.error(
            f"'{path}' holds {array.dtype}, and the images of this data set are bytes (uint8)",
            hint="write them as bytes, 0 to 255",
        )
    return array


def as_numbers(array: Array, path: Path) -> Array:
    """Bytes as they are, all other numbers as float32. Raises DataError for what is no number, not
    finite, or beyond float32."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "fiub":
        raise GIVEN.error(f"'{path}' holds {array.dtype}, and no numbers")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise GIVEN.error(f"'{path}' holds numbers that are not finite, or beyond float32")
    return numbers


@dataclass(frozen=True)
class ArrayReader:
    """Reads an .npy, or an .npz of one array or with one called `x`: samples `[N, *shape]`, or a
    single one `[*shape]`. A leading 1 of a shape of three, that of grey images, may be left out.
    `timed`: shape begins with T."""

    shape: tuple[int, ...]
    numbers: Numbers
    timed: bool = False

    def __call__(self, path: Path, most: int) -> Iterator[Tensor]:
        """See `clifctl.data.unlabelled.Reader`."""
        samples = self._shaped(_array(path), path)
        for start in range(0, len(samples), most):
            part = self.numbers(np.array(samples[start : start + most]), path)
            stored = torch.from_numpy(np.ascontiguousarray(part))
            yield stored.movedim(1, 0) if self.timed else stored.unsqueeze(0)

    def _shaped(self, array: Array, path: Path) -> Array:
        """`array` as `[N, *shape]`. Raises DataError for one of another shape, or without any
        sample."""
        given = array.shape
        if given == self.shape:
            return array[None]
        if given[1:] == self.shape and len(array):
            return array
        if len(self.shape) == 3 and self.shape[0] == 1:
            if given == self.shape[1:]:
                return array[None, None]
            if given[1:] == self.shape[1:] and len(array):
                return array[:, None]
        if given[1:] == self.shape:
            raise GIVEN.error(f"'{path}' holds no sample, its shape is {list(given)}")
        shape = list(self.shape)
        raise GIVEN.error(
            f"'{path}' has the shape {list(given)}, samples here are {shape}",
            hint=_shape_hint(given, self.shape) or f"write one sample {shape}, or {['N', *shape]}",
        )


def _shape_hint(given: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """What to do about channels that stand last, where a net has them first."""
    last = (*shape[1:], shape[0])
    if len(shape) != 3 or given[-3:] != last or shape == last:
        return None
    axes = (0, 3, 1, 2) if len(given) == 4 else (2, 0, 1)
    return f"channels come first: write x.transpose{axes}"


def _array(path: Path) -> Array:
    """The array of a file; that of an .npy is read as it is used. Raises DataError."""
    try:
        if path.suffix.lower() == ".npy":
            return map_array(path)
        names = array_names(path)
        name = next(iter(names)) if len(names) == 1 else NAME
        if name not in names:
            raise GIVEN.error(
                f"'{path}' holds {len(names)} arrays, and none is called {NAME}",
                hint=f"numpy.savez(file, {NAME}=...), or numpy.save",
            )
        return read_arrays(path, [name])[name]
    except BadArchive as bad:
        raise GIVEN.error(
            f"'{path}' is no file of plain numpy arrays, or is cut off ({bad})"
        ) from bad
    except OSError as refused:
        raise GIVEN.error(f"'{path}' cannot be read: {refused.strerror or refused}") from refused


def image_reader(channels: int, size: int, fit: Fit | None = None) -> Reader:
    """Reads one image as uint8 `[1, 1, channels, size, size]`, see `decode`."""
    fits = None if fit is None else [fit]

    def read(path: Path, most: int) -> Iterator[Tensor]:
        pixels = decode([path], GIVEN, channels=channels, size=size, threads=1, fits=fits)
        yield pixels.unsqueeze(0)

    return read


def unlabelled_images(
    options: ViewOptions,
    timesteps: int,
    *,
    shape: tuple[int, int, int],
    prepare: Preparation,
    class_names: tuple[str, ...] | None,
    fit: Fit | None = None,
) -> Unlabelled:
    """Images of bytes `[C, H, W]` in files and arrays, in the view of `options`."""
    return in_view(
        Unlabelled(
            {
                **dict.fromkeys(ENDINGS, image_reader(shape[0], shape[1], fit)),
                **dict.fromkeys(ARRAYS, ArrayReader(shape, only_bytes)),
            },
            prepare,
            class_names,
            at_once=MOST_THREADS,
            unread=UNREAD,
        ),
        options,
        timesteps,
    )


def in_view(images: Unlabelled, options: ViewOptions, timesteps: int) -> Unlabelled:
    """`images` in the view of `options`. As events all are seen with one movement of the camera,
    the first that its seed draws, so that nothing depends on the other files."""
    if not sees_events(options):
        return replace(images, prepare=as_shown(images.prepare, options))
    see = one_movement(options.camera_seed, options.jitter, options.contrast_threshold, timesteps)
    readers = {ending: changed(reader, see) for ending, reader in images.readers.items()}
    return replace(images, readers=readers, prepare=as_floats)


def arrays_as_seen(shape: tuple[int, ...], class_names: tuple[str, ...] | None) -> Unlabelled:
    """Arrays of what the net sees at each time step, of `shape` `[T, *]`, for data sets whose files
    hold no single samples."""
    reader = ArrayReader(shape, as_numbers, timed=True)
    return Unlabelled(dict.fromkeys(ARRAYS, reader), as_floats, class_names)
