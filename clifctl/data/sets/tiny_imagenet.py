"""Tiny-ImageNet: 100,000 training and 10,000 validation images of 64x64 in 200 classes, shown at
every time step; the validation images are the test split, as in the CLIF authors' code.

On disk: `wnids.txt` and `words.txt`, `train/<wnid>/**/*.JPEG`, `val/images/*.JPEG`, and
`val/val_annotations.txt` with a line `file TAB wnid TAB ...` an image. A label is the place of the
wnid among the sorted ones. The root holds these itself, or a folder `tiny-imagenet-200` with them.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from clifctl.data.augment.pipelines import FlipAutoAugment, Normalise, flip
from clifctl.data.contract import (
    Augmentation,
    Dataset,
    DataShape,
    Files,
    FileState,
    LoadedData,
)
from clifctl.data.decoding import Examined, examine, image_files
from clifctl.data.given_files import unlabelled_images
from clifctl.data.images import ImageFileOptions, Place, Samples, assemble, data_folder
from clifctl.data.streaming import samples_of
from clifctl.errors import DataError
from clifctl.reading import read_text
from clifctl.strict import Count

NAME = "tiny_imagenet"
FOLDER = "tiny-imagenet-200"
SIDE = 64
CLASSES = 200
MEAN = (0.4802, 0.4481, 0.3975)
STD = (0.2302, 0.2265, 0.2262)


class TinyImageNetOptions(ImageFileOptions):
    """Options of Tiny-ImageNet."""

    classes: Count = Field(CLASSES, ge=2, description="number of classes that wnids.txt names")


@dataclass(frozen=True)
class _Listing:
    """Files and labels of one split."""

    files: list[Path]
    labels: list[int]


def load(options: TinyImageNetOptions, timesteps: int) -> LoadedData:
    """Both splits as uint8 `[1, N, 3, 64, 64]`. Raises DataError naming what is wrong where."""
    place = Place.of(NAME, options.root)
    folder = _folder(place.root)
    wnids = _wnids(folder, place)
    if len(wnids) != options.classes:
        raise place.error(
            f"'{folder / 'wnids.txt'}' names {len(wnids)} classes, the recipe says "
            f"{options.classes}",
            hint=f"data.classes={len(wnids)}",
        )
    train, test = (
        Samples(
            samples_of(
                listing.files,
                place,
                channels=3,
                size=SIDE,
                in_memory=options.in_memory,
            ),
            torch.tensor(listing.labels, dtype=torch.int64),
        )
        for listing in (_train(folder, wnids, place), _test(folder, wnids, place))
    )
    prepare = Normalise(MEAN, STD)
    augmentations: dict[str, Augmentation] = {
        "plain": flip(prepare),
        "strong": FlipAutoAugment(prepare, (3, SIDE, SIDE)),
    }
    return assemble(
        {"train": train, "test": test},
        options,
        place,
        timesteps,
        prepare=prepare,
        augment=augmentations.get(options.augmentation),
        class_names=_class_names(folder, wnids, place),
    )


def _class_names(folder: Path, wnids: dict[str, int], place: Place) -> tuple[str, ...]:
    """Each wnid with the first word that it stands for."""
    words = dict(
        line.split("\t", 1) for line in _lines(folder / "words.txt", place) if "\t" in line
    )
    return tuple(f"{wnid} {words.get(wnid, '').split(',')[0]}".strip() for wnid in wnids)


def _names_below(root: Path) -> tuple[str, ...] | None:
    place, folder = Place(NAME, root), _folder(root)
    with suppress(DataError):
        return _class_names(folder, _wnids(folder, place), place)
    return None


def _folder(root: Path) -> Path:
    """The folder with wnids.txt: the root, or the one in it that the archive makes."""
    return root if (root / "wnids.txt").is_file() else root / FOLDER


def _lines(file: Path, place: Place) -> list[str]:
    try:
        text = read_text(file)
    except FileNotFoundError:
        raise place.error(f"'{file}' is missing") from None
    except (OSError, UnicodeDecodeError) as unreadable:
        raise place.error(f"'{file}' cannot be read as text ({unreadable})") from unreadable
    return [line for line in text.splitlines() if line.strip()]


def _wnids(folder: Path, place: Place) -> dict[str, int]:
    """wnid -> label."""
    wnids = sorted({line.strip() for line in _lines(folder / "wnids.txt", place)})
    _lines(folder / "words.txt", place)
    if len(wnids) < 2:
        raise place.error(f"'{folder / 'wnids.txt'}' names fewer than two classes")
    return {wnid: label for label, wnid in enumerate(wnids)}


def _train(folder: Path, wnids: dict[str, int], place: Place) -> _Listing:
    listing = _Listing([], [])
    for wnid, label in wnids.items():
        files = image_files(folder / "train" / wnid, place).files
        if not files:
            raise place.error(f"'{folder / 'train' / wnid}' is missing, or holds no image")
        listing.files.extend(files)
        listing.labels.extend([label] * len(files))
    return listing


def _test(folder: Path, wnids: dict[str, int], place: Place) -> _Listing:
    annotations = folder / "val" / "val_annotations.txt"
    listing = _Listing([], [])
    for number, line in enumerate(_lines(annotations, place), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0].strip()
        if wnid not in wnids:
            raise place.error(f"'{annotations}', line {number}: '{wnid}' is not in wnids.txt")
        file = folder / "val" / "images" / name
        if not file.is_file():
            raise place.error(f"'{file}' is missing: line {number} of '{annotations}' names it")
        listing.files.append(file)
        listing.labels.append(wnids[wnid])
    if not listing.files:
        raise place.error(f"'{annotations}' names no image")
    return listing


def inspect(root: Path) -> tuple[FileState, ...]:
    """The lists and both splits below `root`; images are counted, not decoded."""
    return _states(root, closely=False)


def _states(root: Path, *, closely: bool) -> tuple[FileState, ...]:
    """The lists and both splits below `root`; `closely` decodes the images."""
    place, folder = Place(NAME, root), _folder(root)
    lists = [
        FileState(folder / file, what, (folder / file).is_file())
        for file, what in (
            ("wnids.txt", f"{CLASSES} class names"),
            ("words.txt", "what they mean"),
            ("val/val_annotations.txt", "labels of the test images"),
        )
    ]
    wnids = {}
    if all(state.present for state in lists[:2]):
        wnids = _wnids(folder, place)
    states = list(lists)
    for part, what, find, ready in (
        ("train", "100,000 training images", _train, bool(wnids)),
        ("val/images", "10,000 test images", _test, bool(wnids) and lists[2].present),
    ):
        path, problem = folder / part, None
        if path.is_dir() and ready:
            try:
                files = find(folder, wnids, place).files
                what = f"{what}, {len(files):,} found"
                if closely:
                    _require_size(examine(files, place), place)
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


def _require_size(examined: Examined, place: Place) -> None:
    for (width, height), file in examined.sizes.items():
        if (width, height) != (SIDE, SIDE):
            raise place.error(f"'{file}' has {width}x{height} pixels, {SIDE}x{SIDE} are needed")


DATASET = Dataset(
    name=NAME,
    title="Tiny-ImageNet, 110,000 colour images of 64x64, the image at every time step",
    source="Le and Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS231n, 2015",
    classes=CLASSES,
    input_shape=(3, SIDE, SIDE),
    static=True,
    timesteps=None,
    max_timesteps=None,
    options=TinyImageNetOptions,
    load=load,
    shape_of=lambda options: DataShape(options.classes, (3, SIDE, SIDE)),
    files=Files(
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence="ImageNet's terms of access: non-commercial research and education",
        size_bytes=248_100_043,
        obtain=lambda root: (
            f"download the archive and unpack it in '{root}', which makes '{FOLDER}'"
        ),
        inspect=inspect,
        examine=lambda root: _states(root, closely=True),
        class_names=_names_below,
    ),
    unlabelled=lambda options, timesteps: unlabelled_images(
        options,
        timesteps,
        shape=(3, SIDE, SIDE),
        prepare=Normalise(MEAN, STD),
        class_names=_names_below(data_folder(options.root)),
    ),
)
