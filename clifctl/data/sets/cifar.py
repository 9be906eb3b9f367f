"""The on-disk format of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): pickled batches of rows of 3072
bytes, red before green before blue.

Names, MD5 sums and the address are torchvision's. A batch as large as the published one must be the
published one; any other is somebody's own data in this format. No pickle is run for either: see
`clifctl.data.unpickling`, so the MD5 is no matter of safety.
"""

import hashlib
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.augment.pipelines import Normalise, TrivialEraseMix, crop_cutout_flip
from clifctl.data.contract import Augmentation, Dataset, Files, FileState, LoadedData
from clifctl.data.given_files import unlabelled_images
from clifctl.data.images import (
    ImageOptions,
    Place,
    Samples,
    assemble,
    data_folder,
    require_labels,
)
from clifctl.data.unpickling import load_plain
from clifctl.errors import DataError
from clifctl.reading import MIB, open_regular, read_bytes

SIDE = 32
PIXELS = 3 * SIDE * SIDE
PADDING = 4
MOST_BATCH_BYTES = 256 * MIB  # the largest published one has 155 MB
LICENCE = "none stated; the authors ask to cite Krizhevsky, Learning Multiple Layers (2009)"


class CifarOptions(ImageOptions):
    """Options of CIFAR-10 and CIFAR-100."""

    download: bool = Field(False, description="download the archive where files are missing")


@dataclass(frozen=True)
class CifarFormat:
    """CIFAR-10 or CIFAR-100: `torchvision` is its class there, `labels` the key of its labels,
    `batch_samples` and `batch_bytes` the published number of samples and size of each file,
    training files first."""

    name: str
    torchvision: str
    classes: int
    labels: str
    batch_samples: tuple[int, ...]
    batch_bytes: tuple[int, ...]
    archive_bytes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class _Batch:
    """One file of the format: its published MD5, number of samples and size."""

    path: Path
    md5: str
    samples: int
    size_bytes: int
    train: bool


_md5 = partial(hashlib.md5, usedforsecurity=False)


def _published(form: CifarFormat) -> Any:
    from torchvision import datasets

    return getattr(datasets, form.torchvision)


def _batches(form: CifarFormat, root: Path) -> list[_Batch]:
    published = _published(form)
    folder = root / published.base_folder
    listed = [*published.train_list, *published.test_list]
    return [
        _Batch(folder / name, md5, samples, size, number < len(published.train_list))
        for number, ((name, md5), samples, size) in enumerate(
            zip(listed, form.batch_samples, form.batch_bytes, strict=True)
        )
    ]


def load(form: CifarFormat, options: CifarOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 `[1, N, 3, 32, 32]`. Raises DataError naming what is wrong where."""
    place = Place.of(form.name, options.root)
    batches = _batches(form, place.root)
    missing = [batch.path for batch in batches if not os.path.lexists(batch.path)]
    if missing and options.download:
        _download(form, place)
    elif missing:
        raise _missing(form, missing, place)
    train, test = (
        _joined([_read(form, batch, place) for batch in batches if batch.train is training])
        for training in (True, False)
    )
    prepare = Normalise(form.mean, form.std)
    augmentations: dict[str, Augmentation] = {
        "plain": crop_cutout_flip(prepare, PADDING),
        "strong": TrivialEraseMix(prepare, form.classes, (3, SIDE, SIDE)),
    }
    return assemble(
        {"train": train, "test": test},
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=augmentations.get(options.augmentation),
        class_names=_class_names(form, place.root),
    )


def _class_names(form: CifarFormat, root: Path) -> tuple[str, ...] | None:
    """The names in the file that the archive has for them, None where it is not there."""
    meta = _published(form).meta
    names = None
    with suppress(Exception):  # broken bytes make an unpickler raise anything; training needs none
        content = read_bytes(root / _published(form).base_folder / meta["filename"], MIB)
        names = load_plain(content)[meta["key"]]
    if isinstance(names, list) and len(names) == form.classes:
        return tuple(map(str, names))
    return None


def _joined(parts: list[Samples]) -> Samples:
    return Samples(
        torch.cat([part.held for part in parts]), torch.cat([part.targets for part in parts])
    )


def _read(form: CifarFormat, batch: _Batch, place: Place) -> Samples:
    """The samples of one file, uint8 `[N, 3, 32, 32]`. Raises DataError naming the file."""
    content = _content(batch, place)
    try:
        held = load_plain(content)
        # Pickles that Python 3 wrote may have keys of bytes.
        held = {k.decode() if isinstance(k, bytes) else k: v for k, v in held.items()}
        pixels, labels = held["data"], _labels(held[form.labels])
    except KeyError as absent:
        raise place.error(f"'{batch.path}' has no entry {absent}") from None
    except Exception as broken:
        # Broken bytes make what reads them raise anything; the file is refused as a whole.
        raise place.error(
            f"'{batch.path}' is corrupted, or not a batch of {form.torchvision} ({broken})",
            hint="unpack the archive again",
        ) from broken
    good = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2
    if not good or labels.ndim != 1:
        raise place.error(f"'{batch.path}' holds no rows of bytes with a label each")
    if pixels.shape != (len(labels), PIXELS):
        raise place.error(
            f"'{batch.path}' holds {pixels.shape[0]} images of {pixels.shape[1]} bytes and "
            f"{len(labels)} labels; an image of {SIDE}x{SIDE} has {PIXELS} bytes"
        )
    if len(labels) == batch.samples:
        _require_published(content, batch, place)
    require_labels(labels, form.classes, batch.path, place)
    # A copy: an array out of a pickle may not be writable, and torch asks for that.
    return Samples(torch.from_numpy(pixels.reshape(-1, 3, SIDE, SIDE).copy()), labels)


def _content(batch: _Batch, place: Place) -> bytes:
    """What the file holds; one of the published size is the published one. Raises DataError."""
    try:
        content = read_bytes(batch.path, MOST_BATCH_BYTES)
    except OSError as unreadable:
        reason = unreadable.strerror or str(unreadable)
        raise place.error(f"'{batch.path}' cannot be read: {reason}") from None
    if len(content) == batch.size_bytes:
        _require_published(content, batch, place)
    return content


def _require_published(content: bytes, batch: _Batch, place: Place) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != batch.md5:
        raise place.error(
            f"'{batch.path}' is corrupted: its MD5 is {md5}, the published one is {batch.md5}",
            hint="unpack the archive again",
        )


def _labels(given: Any) -> Tensor:
    """The labels as int64 `[N]`. Raises TypeError for anything but whole numbers, OverflowError."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "iu":
        return torch.from_numpy(given.astype(np.int64))
    if not isinstance(given, list) or not all(type(label) is int for label in given):
        raise TypeError("its labels are not whole numbers")
    return torch.tensor(given, dtype=torch.int64)


def _missing(form: CifarFormat, missing: list[Path], place: Place) -> DataError:
    """The error for files that are not there; an archive beside them may say more."""
    published = _published(form)
    archive = place.root / published.filename
    if archive.is_file():
        try:
            with open_regular(archive) as file:
                md5 = hashlib.file_digest(file, _md5).hexdigest()
        except OSError as refused:
            raise place.error(f"'{archive}' cannot be read: {refused.strerror}") from None
        if md5 != published.tgz_md5:
            return place.error(
                f"the archive '{archive}' is corrupted or incomplete: its MD5 is {md5}, "
                f"published is {published.tgz_md5}",
                hint="download it again",
            )
        return place.error(
            f"'{missing[0]}' is missing, its archive is there",
            hint=shlex.join(["tar", "-xzf", str(archive), "-C", str(place.root)]),
        )
    others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
    return place.error(
        f"'{missing[0]}'{others} missing",
        hint="training with data.download=true gets it, where there is network",
    )


def _download(form: CifarFormat, place: Place) -> None:
    """Download and unpack the published archive; torchvision checks its MD5."""
    from torchvision.datasets.utils import download_and_extract_archive

    published = _published(form)
    try:
        with redirect_stdout(sys.stderr):
            download_and_extract_archive(
                published.url,
                place.root,
                filename=published.filename,
                md5=published.tgz_md5,
            )
    except (OSError, RuntimeError) as failed:
        raise place.error(
            f"'{published.url}' could not be downloaded into '{place.root}' ({failed})",
            hint="get it on a machine with network and unpack it there",
        ) from failed


def inspect(form: CifarFormat, root: Path) -> tuple[FileState, ...]:
    """Each batch below `root`, read and checked as for training."""
    place = Place(form.name, root)
    states = []
    for batch in _batches(form, root):
        what = f"{'training' if batch.train else 'test'} batch of {batch.samples:,} images"
        if not os.path.lexists(batch.path):
            states.append(FileState(batch.path, what, present=False))
            continue
        problem = None
        try:
            held = len(_read(form, batch, place).targets)
            what = what if held == batch.samples else f"{what}; not the published one, has {held:,}"
        except DataError as refused:
            problem = refused.message
        states.append(FileState(batch.path, what, present=True, problem=problem))
    return tuple(states)


def dataset(form: CifarFormat, *, title: str, url: str, folder: str) -> Dataset:
    """The row of the DATASETS table."""
    loader: Callable[[CifarOptions, int], LoadedData] = lambda options, timesteps: load(  # noqa: E731
        form, options, timesteps
    )
    return Dataset(
        name=form.name,
        title=title,
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        classes=form.classes,
        input_shape=(3, SIDE, SIDE),
        static=True,
        timesteps=None,
        max_timesteps=None,
        options=CifarOptions,
        load=loader,
        files=Files(
            url=url,
            licence=LICENCE,
            size_bytes=form.archive_bytes,
            obtain=lambda root: (
                f"unpack the archive in '{root}', which makes '{folder}', or give "
                "data.download=true to train where there is network"
            ),
            inspect=lambda root: inspect(form, root),
            class_names=lambda root: _class_names(form, root),
        ),
        unlabelled=lambda options, timesteps: unlabelled_images(
            options,
            timesteps,
            shape=(3, SIDE, SIDE),
            prepare=Normalise(form.mean, form.std),
            class_names=_class_names(form, data_folder(options.root)),
        ),
    )
