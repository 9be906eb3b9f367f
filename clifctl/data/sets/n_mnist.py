"""N-MNIST: 60,000 training and 10,000 test recordings of MNIST's digits by an event camera that
moved before them, cut out to 34x34 pixels.

On disk: `Train/<digit>/*.bin` and `Test/<digit>/*.bin`. An event has five bytes: column, row, a bit
that is 1 for ON, and 23 bits of the time [us], the highest first. Row 240 is no row: from there on
times are 2**13 us later. SpikingJelly takes such a marker for an event; tonic reads it as here.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from clifctl.data.contract import (
    PARTS,
    Dataset,
    DataShape,
    EventCamera,
    Files,
    FileState,
    LoadedData,
)
from clifctl.data.events.event_set import (
    folders_of,
    incomplete,
    load_events,
    missing,
    natural,
    unlabelled_events,
)
from clifctl.data.events.options import EventOptions
from clifctl.data.events.recordings import (
    POLARITIES,
    BadRecording,
    Events,
    NpzRecording,
    Sample,
    require_in_order,
)
from clifctl.data.folders import files_in
from clifctl.data.images import Place
from clifctl.errors import DataError
from clifctl.reading import MIB, TooLarge, read_bytes

NAME = "n_mnist"
SIDE = 34
CLASS_NAMES = tuple("0123456789")
FOLDERS = dict(zip(PARTS, ("Train", "Test"), strict=True))
COMPLETE = dict(zip(PARTS, (60_000, 10_000), strict=True))
ENDINGS = (".bin",)
EVENT_BYTES = 5
OVERFLOW_ROW, OVERFLOW_US = 240, 2**13
MOST_BYTES = 16 * MIB  # the published ones have some 20 kB


class NMnistOptions(EventOptions):
    """Options of N-MNIST."""


@dataclass(frozen=True)
class Digit:
    """One recording."""

    path: Path
    label: int

    @property
    def samples(self) -> tuple[Sample, ...]:
        return (Sample(f"{self.label}/{self.path.stem}", self.label),)

    @property
    def cut(self) -> str:
        return ""

    def read(self) -> list[Events]:
        """The events, in the order of the file. Raises BadRecording, OSError."""
        return [read_bin(self.path)]


def read_bin(path: Path) -> Events:
    """The events of a file of N-MNIST's format, times made one after the other.

    Raises BadRecording for a file that is cut off within an event, holds none, or whose times run
    backwards, OSError.
    """
    try:
        content = read_bytes(path, MOST_BYTES)
    except TooLarge as large:
        raise BadRecording(large.strerror) from None
    if rest := len(content) % EVENT_BYTES:
        raise BadRecording(f"cut off: it ends {rest} bytes into an event of {EVENT_BYTES}")
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).T.astype(np.int64)
    overflow = y == OVERFLOW_ROW
    t = (high & 0x7F) << 16 | middle << 8 | low
    t += OVERFLOW_US * np.cumsum(overflow)
    events = Events(t, x, y, high >= 0x80).where(~overflow)
    if not len(events):
        raise BadRecording("no event")
    require_in_order(events)
    return events


def load(options: NMnistOptions, timesteps: int) -> LoadedData:
    """Both splits from prepared frames. Raises DataError naming what is missing."""
    return load_events(NAME, CAMERA, options, timesteps)


def recordings(options: NMnistOptions) -> dict[str, tuple[Digit, ...]]:
    """The recordings of both splits, digit by digit, in the order of their numbers. Raises
    DataError."""
    place = Place.of(NAME, options.root)
    folder = _folder(place.root)
    if folder is None:
        raise missing(place, FILES)
    return {part: _digits(folder / FOLDERS[part], place) for part in PARTS}


def _folder(root: Path) -> Path | None:
    """The folder of both splits' folders."""
    for folder in folders_of(root, NAME, "", "extract", "NMNIST", "N-MNIST"):
        if any((folder / inner).is_dir() for inner in FOLDERS.values()):
            return folder
    return None


def _digits(folder: Path, place: Place) -> tuple[Digit, ...]:
    found: list[Digit] = []
    for label, name in enumerate(CLASS_NAMES):
        files = files_in(folder / name, ENDINGS, place).files
        if not files:
            raise place.error(f"'{folder / name}' is missing, or holds no '.bin' file")
        found += [Digit(file, label) for file in sorted(files, key=lambda file: natural(file.stem))]
    return tuple(found)


def inspect(root: Path) -> tuple[FileState, ...]:
    """The folders of both splits below `root`: recordings are counted, not read."""
    place, folder = Place(NAME, root), _folder(root) or root / NAME
    states = []
    for part, inner in FOLDERS.items():
        path, problem = folder / inner, None
        what = f"{COMPLETE[part]:,} recordings in folders 0 to 9"
        if path.is_dir():
            try:
                count = len(_digits(path, place))
                what += f", {count:,} found"
                problem = incomplete(count, COMPLETE[part])
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


FILES = Files(
    url="https://www.garrickorchard.com/datasets/n-mnist",
    licence="CC BY-SA 4.0; cite Orchard et al., Frontiers in Neuroscience 9:437, 2015",
    size_bytes=None,
    obtain=lambda root: (
        "download Train.zip and Test.zip and unpack them in "
        f"'{root}/{NAME}', which makes the folders Train and Test"
    ),
    inspect=inspect,
    class_names=lambda root: CLASS_NAMES,
)
CAMERA = EventCamera(
    sensor=lambda options: (SIDE, SIDE),
    recordings=recordings,
    complete=COMPLETE,
    class_names=lambda options, named: CLASS_NAMES,
)
DATASET = Dataset(
    name=NAME,
    title="N-MNIST, 70,000 recordings of moving digits, frames of ON/OFF events of 34x34",
    source="Orchard et al., Converting Static Image Datasets to Spiking Datasets, 2015",
    classes=len(CLASS_NAMES),
    input_shape=(2, SIDE, SIDE),
    static=False,
    timesteps=None,
    max_timesteps=None,
    options=NMnistOptions,
    load=load,
    shape_of=lambda options: DataShape(
        len(CLASS_NAMES), (2, options.size or SIDE, options.size or SIDE)
    ),
    files=FILES,
    polarities=POLARITIES,
    camera=CAMERA,
    unlabelled=lambda options, timesteps: unlabelled_events(
        NAME,
        CAMERA,
        options,
        timesteps,
        recordings={
            ".bin": partial(Digit, label=0),
            ".npz": partial(NpzRecording, name="", label=0),
        },
        class_names=CLASS_NAMES,
    ),
)
