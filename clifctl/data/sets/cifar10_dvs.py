"""CIFAR10-DVS: 10,000 images of CIFAR-10 that moved before an event camera of 128x128 pixels.

On disk: the ten archives' folders `<class>/cifar10_<class>_<number>.aedat` (AEDAT 2.0, numbers 0 to
999), or the folder `events_np` that SpikingJelly makes of them. The data have no official split:
`authors` tests on the numbers 900 to 999 of each class, as the CLIF authors do, `tebn` on 0 to 99,
as TEBN (Duan et al., 2022) and PSN (Fang et al., 2024) do. Accuracies of the two do not compare.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from clifctl.data.contract import Dataset, DataShape, EventCamera, Files, FileState, LoadedData
from clifctl.data.events.aedat import read_aedat2
from clifctl.data.events.event_set import (
    folders_of,
    incomplete,
    load_events,
    missing,
    natural,
    unfinished,
    unlabelled_events,
)
from clifctl.data.events.options import EventOptions
from clifctl.data.events.recordings import POLARITIES, BadRecording, Events, NpzRecording, Sample
from clifctl.data.folders import files_in
from clifctl.data.images import Place
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import DataError

NAME = "cifar10_dvs"
SIDE = 128
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PER_CLASS = 1000
# split -> numbers of the test samples of each class
TESTED = {"authors": range(900, 1000), "tebn": range(100)}

Orientation = Literal["authors", "spikingjelly"]


class Cifar10DvsOptions(EventOptions):
    """Options of CIFAR10-DVS. The split has no default: whoever compares must have chosen it."""

    split: Literal["authors", "tebn"] = Field(
        description="test on 900-999 of each class (authors), or on 0-99 (tebn)"
    )
    orientation: Orientation = Field(
        "authors", description="columns mirrored (authors), or transposed too (spikingjelly)"
    )


@dataclass(frozen=True)
class Image:
    """One recording, as AEDAT 2.0 or as arrays that SpikingJelly 2.0 has written."""

    path: Path
    label: int
    orientation: Orientation

    @property
    def samples(self) -> tuple[Sample, ...]:
        return (Sample(self.path.stem, self.label),)

    @property
    def cut(self) -> str:
        return ""

    @property
    def number(self) -> int:
        """The number of the recording within its class; -1 for a file that is named otherwise."""
        number = self.path.stem.rpartition("_")[2]
        return int(number) if number.isdecimal() else -1

    def read(self) -> list[Events]:
        """The events in the order of the file. Raises BadRecording, OSError.

        An address holds 7 bits of a column, 7 of a row and one that is 0 for ON. The camera
        numbers columns from the right.
        """
        if self.path.suffix == ".npz":
            events = NpzRecording(self.path, self.path.stem, self.label).read()[0]
            if self.orientation == "spikingjelly":
                return [events]
            # Columns were written as SIDE - 1 - y, rows as SIDE - 1 - x.
            return [Events(events.t, events.y, SIDE - 1 - events.x, events.p)]
        addresses, times = read_aedat2(self.path)
        if not len(addresses):
            raise BadRecording("no event")
        x, y = (addresses & 0xFE) >> 1, (addresses & 0x7F00) >> 8
        on = np.equal(addresses & 1, 0)
        if self.orientation == "spikingjelly":
            return [Events(times, SIDE - 1 - y, SIDE - 1 - x, on)]
        return [Events(times, SIDE - 1 - x, y, on)]


def load(options: Cifar10DvsOptions, timesteps: int) -> LoadedData:
    """Both splits from prepared frames. Raises DataError naming what is missing."""
    return load_events(NAME, CAMERA, options, timesteps)


def recordings(options: Cifar10DvsOptions) -> dict[str, tuple[Image, ...]]:
    """The recordings of both splits, class by class, in the order of their numbers. Raises
    DataError."""
    place = Place.of(NAME, options.root)
    found = _images(place, options.orientation)
    if not found:
        raise missing(place, FILES)
    wrong = next((image for image in found if not 0 <= image.number < PER_CLASS), None)
    if wrong is not None:
        raise place.error(
            f"'{wrong.path}' is not named <class>_<number>, number 0 to {PER_CLASS - 1}"
        )
    tested = TESTED[options.split]
    parts = {
        "train": tuple(image for image in found if image.number not in tested),
        "test": tuple(image for image in found if image.number in tested),
    }
    for part, images in parts.items():
        if not images:
            raise place.error(f"no recording of the {part} split '{options.split}' is there")
    return parts


def _folder(root: Path) -> tuple[Path, str] | None:
    """The folder of the classes' folders, and the ending of their files."""
    for folder in folders_of(root, NAME, "", "events", "extract"):
        if any((folder / name).is_dir() for name in CLASS_NAMES):
            return folder, ".aedat"
    for folder in folders_of(root, NAME, "events_np"):
        if folder.is_dir() and not unfinished(folder):
            return folder, ".npz"
    return None


def _images(place: Place, orientation: Orientation) -> list[Image]:
    found = _folder(place.root)
    if found is None:
        return []
    folder, ending = found
    images = []
    for label, name in enumerate(CLASS_NAMES):
        there = files_in(folder / name, (ending,), place).files
        files = sorted(there, key=lambda file: natural(file.stem))
        if not files:
            raise place.error(f"'{folder / name}' is missing, or holds no '{ending}' file")
        images += [Image(file, label, orientation) for file in files]
    return images


def inspect(root: Path) -> tuple[FileState, ...]:
    """The folders of the classes below `root`: recordings are counted, not read."""
    place, found = Place(NAME, root), _folder(root)
    folder, ending = found or (root / NAME, ".aedat")
    states = []
    for name in CLASS_NAMES:
        path, problem = folder / name, None
        what = f"{PER_CLASS:,} recordings"
        if path.is_dir():
            try:
                count = len(files_in(path, (ending,), place).files)
                what += f", {count:,} found"
                problem = incomplete(count, PER_CLASS) if count else f"no '{ending}' file in it"
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


FILES = Files(
    url="https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
    licence="CC BY 4.0; cite Li et al., Frontiers in Neuroscience 11:309, 2017",
    size_bytes=None,
    obtain=lambda root: (
        "download the ten archives airplane.zip to truck.zip and unpack them in "
        f"'{root}/{NAME}', which makes a folder a class"
    ),
    inspect=inspect,
    class_names=lambda root: CLASS_NAMES,
)
CAMERA = EventCamera(
    sensor=lambda options: (SIDE, SIDE),
    recordings=recordings,
    complete={"train": 9000, "test": 1000},
    class_names=lambda options, named: CLASS_NAMES,
)


def unlabelled(options: Cifar10DvsOptions, timesteps: int) -> Unlabelled:
    """Recordings as the data set has them, as AEDAT 2.0 or as SpikingJelly's arrays."""
    recording = partial(Image, label=0, orientation=options.orientation)
    return unlabelled_events(
        NAME,
        CAMERA,
        options,
        timesteps,
        recordings={".aedat": recording, ".npz": recording},
        class_names=CLASS_NAMES,
    )


DATASET = Dataset(
    name=NAME,
    title="CIFAR10-DVS, 10,000 recordings of moving images, frames of ON/OFF events of 128x128",
    source="Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017",
    classes=len(CLASS_NAMES),
    input_shape=(2, SIDE, SIDE),
    static=False,
    timesteps=None,
    max_timesteps=None,
    options=Cifar10DvsOptions,
    load=load,
    shape_of=lambda options: DataShape(
        len(CLASS_NAMES), (2, options.size or SIDE, options.size or SIDE)
    ),
    files=FILES,
    polarities=POLARITIES,
    camera=CAMERA,
    unlabelled=unlabelled,
)
