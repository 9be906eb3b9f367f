"""Sets of grey 28x28 images in four idx files, as MNIST is published: images and labels, of which
those of training come first.

Names, addresses and the MD5 sums of downloads are torchvision's. A file of as many samples as the
published one must hold what the published one does, packed in whatever way.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from clifctl import notices
from clifctl.data.archives import Array, BadArchive
from clifctl.data.augment.pipelines import CropFlipOptions, Normalise, crop_flip
from clifctl.data.contract import Dataset, Files, FileState, LoadedData
from clifctl.data.given_files import unlabelled_images
from clifctl.data.idx import header_of, read_idx
from clifctl.data.images import Place, Samples, ShownOptions, assemble, require_labels
from clifctl.data.views import prepared_for
from clifctl.errors import DataError

SIDE = 28
CLASSES = 10


class IdxOptions(ShownOptions, CropFlipOptions):
    """Options of the sets in idx files."""

    download: bool = Field(False, description="download the files where they are missing")


@dataclass(frozen=True)
class IdxFormat:
    """One set: `torchvision` is its class there; `md5` are the published sums of the unpacked
    files, in the order of NAMES; `system` is the folder that the package `package` of Debian puts
    them into, None where there is none."""

    name: str
    torchvision: str
    class_names: tuple[str, ...]
    md5: tuple[str, str, str, str]
    url: str
    download_bytes: int
    mean: float
    std: float
    system: Path | None = None
    package: str | None = None


@dataclass(frozen=True)
class _Part:
    """One split: how the names of its files begin, and its published number of samples."""

    prefix: str
    what: str
    samples: int

    @property
    def names(self) -> tuple[str, str]:
        """Of images and labels."""
        return (f"{self.prefix}-images-idx3-ubyte", f"{self.prefix}-labels-idx1-ubyte")


TRAIN = _Part("train", "training", 60_000)
TEST = _Part("t10k", "test", 10_000)
NAMES = (*TRAIN.names, *TEST.names)


def load(form: IdxFormat, options: IdxOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 `[1, N, 1, 28, 28]`. Raises DataError naming what is wrong where."""
    place = Place.of(form.name, options.root)
    files = _files(form, place.root)
    if options.download and _missing(files):
        _download(form, place)
        files = _files(form, place.root)
    if missing := _missing(files):
        raise _missing_error(form, missing, place)
    if files[NAMES[0]].parent == form.system:
        notices.tell(f"data set '{form.name}' is read from '{form.system}'")
    train, test = (_read(form, part, files, place) for part in (TRAIN, TEST))
    prepare = prepared_for(options, Normalise((form.mean,), (form.std,)))
    return assemble(
        {"train": train, "test": test},
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=crop_flip(options, prepare),
        class_names=form.class_names,
    )


def _files(form: IdxFormat, root: Path) -> dict[str, Path]:
    """Where each of NAMES is, all of them in one folder: torchvision's, the root itself, or that of
    the system. In torchvision's where there is none anywhere."""
    folders = [_torchvisions(form, root), root, *([form.system] if form.system else [])]
    places = [{name: _packed_or_not(folder / name) for name in NAMES} for folder in folders]
    return next((files for files in places if len(_missing(files)) < len(files)), places[0])


def _torchvisions(form: IdxFormat, root: Path) -> Path:
    return root / form.torchvision / "raw"


def _packed_or_not(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if os.path.lexists(packed) and not os.path.lexists(file) else file


def _missing(files: dict[str, Path]) -> list[Path]:
    return [file for file in files.values() if not os.path.lexists(file)]


def _read(form: IdxFormat, part: _Part, files: dict[str, Path], place: Place) -> Samples:
    """The samples of one split, uint8 `[N, 1, 28, 28]`. Raises DataError naming the file."""
    images_file, labels_file = (files[name] for name in part.names)
    images, labels = _array(images_file, 3, place), _array(labels_file, 1, place)
    if images.shape[1:] != (SIDE, SIDE) or not len(images):
        raise place.error(
            f"'{images_file}' declares {len(images):,} images of {images.shape[1]}x"
            f"{images.shape[2]} pixels; one or more of {SIDE}x{SIDE} are needed"
        )
    if len(labels) != len(images):
        raise place.error(
            f"'{images_file}' holds {len(images):,} images, and '{labels_file}' {len(labels):,} "
            "labels"
        )
    targets = torch.from_numpy(labels).long()
    require_labels(targets, CLASSES, labels_file, place)
    if len(images) == part.samples:
        for name, array in zip(part.names, (images, labels), strict=True):
            _require_published(form, name, array, files[name], place)
    return Samples(torch.from_numpy(images).unsqueeze(1), targets)


def _array(file: Path, dimensions: int, place: Place) -> Array:
    try:
        return read_idx(file, dimensions)
    except BadArchive as bad:
        raise place.error(
            f"'{file}' is corrupted, or no idx file of {dimensions} dimensions: {bad}",
            hint="get it again",
        ) from None
    except OSError as refused:
        raise place.error(f"'{file}' cannot be read: {refused.strerror or refused}") from None


def _require_published(form: IdxFormat, name: str, array: Array, file: Path, place: Place) -> None:
    """Raise DataError for a file as large as the published one that holds anything else."""
    digest = hashlib.md5(header_of(array.shape), usedforsecurity=False)
    digest.update(array.data)
    published = form.md5[NAMES.index(name)]
    if digest.hexdigest() != published:
        raise place.error(
            f"'{file}' is corrupted, or of another data set: the MD5 of what it holds is "
            f"{digest.hexdigest()}, the published one is {published}",
            hint="get it again",
        )


def _missing_error(form: IdxFormat, missing: list[Path], place: Place) -> DataError:
    others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
    return place.error(f"'{missing[0]}'{others} missing", hint=_how_to_get(form))


def _how_to_get(form: IdxFormat) -> str:
    package = f"apt-get install {form.package} on Debian and Ubuntu; " if form.package else ""
    return f"{package}training with data.download=true gets them, where there is network"


def _download(form: IdxFormat, place: Place) -> None:
    """Download the four published files; torchvision checks their MD5."""
    from torchvision import datasets
    from torchvision.datasets.utils import download_url

    published = getattr(datasets, form.torchvision)
    folder = _torchvisions(form, place.root)
    for name, md5 in published.resources:
        refused: list[str] = []
        for mirror in published.mirrors:
            try:
                with redirect_stdout(sys.stderr):
                    download_url(f"{mirror}{name}", str(folder), filename=name, md5=md5)
                break
            except (OSError, RuntimeError) as failed:
                refused.append(f"'{mirror}{name}' ({failed})")
        else:
            raise place.error(
                f"{' and '.join(refused)} could not be downloaded into '{folder}'",
                hint="get the files on a machine with network and put them there",
            )


def inspect(form: IdxFormat, root: Path) -> tuple[FileState, ...]:
    """The four files below `root`, read and checked as for training."""
    place, files, states = Place(form.name, root), _files(form, root), []
    for part in (TRAIN, TEST):
        missing, problem, found = _missing({name: files[name] for name in part.names}), None, ""
        if not missing:
            try:
                held = len(_read(form, part, files, place).targets)
                found = "" if held == part.samples else f"; not the published ones, {held:,} found"
            except DataError as refused:
                problem = refused.message
        for name, kind in zip(part.names, ("images", "labels"), strict=True):
            file, what = files[name], f"{part.samples:,} {part.what} {kind}{found}"
            own = problem if problem and f"'{file}'" in problem else None
            states.append(FileState(file, what, file not in missing, own))
    return tuple(states)


def dataset(form: IdxFormat, *, title: str, source: str, licence: str) -> Dataset:
    """The row of the DATASETS table."""
    loader: Callable[[IdxOptions, int], LoadedData] = lambda options, timesteps: load(  # noqa: E731
        form, options, timesteps
    )
    return Dataset(
        name=form.name,
        title=title,
        source=source,
        classes=CLASSES,
        input_shape=(1, SIDE, SIDE),
        static=True,
        timesteps=None,
        max_timesteps=None,
        options=IdxOptions,
        load=loader,
        files=Files(
            url=form.url,
            licence=licence,
            size_bytes=form.download_bytes,
            obtain=lambda root: (
                f"put the four files, packed or not, into '{_torchvisions(form, root)}' or "
                f"'{root}'; {_how_to_get(form)}"
            ),
            inspect=lambda root: inspect(form, root),
            class_names=lambda root: form.class_names,
        ),
        unlabelled=lambda options, timesteps: unlabelled_images(
            options,
            timesteps,
            shape=(1, SIDE, SIDE),
            prepare=Normalise((form.mean,), (form.std,)),
            class_names=form.class_names,
        ),
    )
