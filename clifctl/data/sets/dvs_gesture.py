"""DVS128 Gesture: 11 hand and arm gestures of 29 people, seen by an event camera of 128x128 pixels.

On disk: the folder `DvsGesture` of IBM's archive: a recording `userNN_LIGHT.aedat` (AEDAT 3.1) of
several gestures, with their class (1 to 11), start and end [us] in `userNN_LIGHT_labels.csv`; the
lists `trials_to_train.txt` (people 1 to 23) and `trials_to_test.txt` (24 to 29). Or the folder
`events_np` that SpikingJelly makes of it. Both give the same 1176 and 288 samples.
"""

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.contract import Dataset, DataShape, EventCamera, Files, FileState, LoadedData
from clifctl.data.events.aedat import read_aedat3
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
from clifctl.data.events.recordings import (
    POLARITIES,
    BadRecording,
    Events,
    NpzRecording,
    Recording,
    Sample,
)
from clifctl.data.folders import files_in
from clifctl.data.images import Place
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import DataError
from clifctl.reading import read_text

NAME = "dvs_gesture"
# As gesture_mapping.csv of the archive has them, 1 to 11 there.
CLASS_NAMES = (
    *("hand_clapping", "right_hand_wave", "left_hand_wave"),
    *("right_arm_clockwise", "right_arm_counter_clockwise"),
    *("left_arm_clockwise", "left_arm_counter_clockwise"),
    *("arm_roll", "air_drums", "air_guitar", "other_gestures"),
)
CLASSES = len(CLASS_NAMES)
SIDE = 128
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
ENDING = "_labels.csv"
MOST_GESTURES = 1000  # of a recording; most have 12
SAMPLES = {"train": 1176, "test": 288}


class DvsGestureOptions(EventOptions):
    """Options of DVS128 Gesture."""

    split: Literal["official"] = Field(
        "official", description="people 1-23 and 24-29: 1176 and 288 samples"
    )
    label_order: Literal["gesture_id", "spikingjelly"] = Field(
        "gesture_id",
        description="label = number of the gesture, or its place among '0', '1', '10', '2', ...",
    )


@dataclass(frozen=True)
class Gesture:
    """One line of a recording's labels: label (from 0), start and end [us]."""

    label: int
    start: int
    end: int


@dataclass(frozen=True)
class GestureRecording:
    """One recording and its gestures, in the order of their labels."""

    path: Path
    gestures: tuple[Gesture, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(
            Sample(_sample_name(self.path.stem, gesture.label, number), gesture.label)
            for gesture, number in zip(self.gestures, self._numbers(), strict=True)
        )

    @property
    def cut(self) -> str:
        return " ".join(f"{gesture.start}-{gesture.end}" for gesture in self.gestures)

    def _numbers(self) -> list[int]:
        """How many gestures of its class come before each one."""
        labels = [gesture.label for gesture in self.gestures]
        return [labels[:place].count(label) for place, label in enumerate(labels)]

    def read(self) -> list[Events]:
        """The events from the start of each gesture until before its end. Raises BadRecording,
        OSError."""
        events = read_aedat3(self.path)
        found, left = [], 2 * len(events)
        for gesture in self.gestures:
            found.append(events.where((events.t >= gesture.start) & (events.t < gesture.end)))
            left -= len(found[-1])
            if left < 0:
                raise BadRecording("its gestures overlap: the same events are in many of them")
        return found


def _sample_name(trial: str, label: int, number: int) -> str:
    """As SpikingJelly names it: <class>/<trial>_<number within the class>."""
    return f"{label}/{trial}_{number}"


def load(options: DvsGestureOptions, timesteps: int) -> LoadedData:
    """Both splits from prepared frames. Raises DataError naming what is missing."""
    return load_events(NAME, CAMERA, options, timesteps)


def relabel(options: DvsGestureOptions, labels: Tensor) -> Tensor:
    """Labels by the number of the gesture in the order of `options`; SpikingJelly's is that of the
    names of its folders as text: '0', '1', '10', '2', ..."""
    order = _order(options)
    return torch.tensor([order.index(number) for number in range(CLASSES)])[labels]


def _order(options: DvsGestureOptions) -> list[int]:
    """The number of the gesture that each label stands for."""
    as_text = options.label_order == "spikingjelly"
    return sorted(range(CLASSES), key=str if as_text else None)


def recordings(options: DvsGestureOptions) -> dict[str, tuple[Recording, ...]]:
    """The recordings of both splits, in the order of people and light. Raises DataError."""
    place = Place.of(NAME, options.root)
    raw, ready = _raw(place.root), _ready(place.root)
    if raw is not None:
        found = {part: _trials(raw, part, place) for part in LISTS}
        _require_apart(found, place)
    elif ready is not None:
        found = {part: _arrays(ready / part, place) for part in LISTS}
    else:
        raise missing(place, FILES)
    return found


def _require_apart(found: dict[str, tuple[Recording, ...]], place: Place) -> None:
    """Raise DataError where a recording is to be trained and tested on."""
    trained, tested = ({one.path for one in found[part]} for part in LISTS)
    if trained & tested:
        raise place.error(
            f"'{min(trained & tested)}' is in both lists, {' and '.join(LISTS.values())}"
        )


def _raw(root: Path) -> Path | None:
    folders = folders_of(root, NAME, "", "DvsGesture", "extract/DvsGesture")
    return next((folder for folder in folders if (folder / LISTS["train"]).is_file()), None)


def _ready(root: Path) -> Path | None:
    folders = folders_of(root, NAME, "events_np")
    return next((one for one in folders if one.is_dir() and not unfinished(one)), None)


def _trials(folder: Path, part: str, place: Place) -> tuple[Recording, ...]:
    listing = folder / LISTS[part]
    try:
        names = sorted(filter(None, map(str.strip, read_text(listing).splitlines())), key=natural)
    except (OSError, ValueError) as unreadable:
        raise place.error(f"'{listing}' cannot be read ({unreadable})") from unreadable
    if not names:
        raise place.error(f"'{listing}' names no recording")
    trials = []
    for name in names:
        file = folder / name
        if not file.is_file():
            raise place.error(f"'{file}' is missing: '{listing.name}' names it")
        trials.append(GestureRecording(file, _gestures(file.with_name(file.stem + ENDING), place)))
    return tuple(trials)


def _gestures(file: Path, place: Place) -> tuple[Gesture, ...]:
    try:
        text = read_text(file).removeprefix("\ufeff")
        rows = [row for row in csv.reader(text.splitlines()) if row]
        if rows and not any(map(_is_number, rows[0])):
            del rows[0]  # the names of the columns
        found = [Gesture(int(row[0]) - 1, int(row[1]), int(row[2])) for row in rows]
    except FileNotFoundError:
        raise place.error(f"'{file}' is missing") from None
    except (OSError, ValueError, IndexError, csv.Error) as unreadable:
        raise place.error(
            f"'{file}' is not a list of class, start and end ({unreadable})"
        ) from unreadable
    wrong = [gesture.label + 1 for gesture in found if not 0 <= gesture.label < CLASSES]
    if wrong or not found:
        what = f"class {wrong[0]}, known are 1 to {CLASSES}" if wrong else "no gesture"
        raise place.error(f"'{file}' names {what}")
    if len(found) > MOST_GESTURES:
        raise place.error(f"'{file}' names {len(found):,} gestures, no recording has so many")
    return tuple(sorted(found, key=lambda gesture: gesture.label))


def _is_number(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _arrays(folder: Path, place: Place) -> tuple[Recording, ...]:
    found = []
    for label in range(CLASSES):
        for file in files_in(folder / str(label), (".npz",), place).files:
            found.append(NpzRecording(file, f"{label}/{file.stem}", label))
    if not found:
        raise place.error(f"'{folder}' holds no recording: expected {folder}/0/*.npz to 10/*.npz")

    def order(recording: NpzRecording) -> tuple[object, ...]:
        trial, _, number = recording.path.stem.rpartition("_")
        return natural(trial), recording.label, natural(number)

    return tuple(sorted(found, key=order))


def inspect(root: Path) -> tuple[FileState, ...]:
    """The recordings below `root`: they are counted, not read."""
    place, raw, ready = Place(NAME, root), _raw(root), _ready(root)
    folder = raw or ready or root / "DvsGesture"
    states = []
    for part, people in (("train", "1 to 23"), ("test", "24 to 29")):
        path, problem = folder / (LISTS[part] if ready is None else part), None
        what = f"people {people}, {SAMPLES[part]:,} samples"
        if raw or ready:
            try:
                found = _trials(raw, part, place) if raw else _arrays(folder / part, place)
                there = sum(len(one.samples) for one in found)
                what += f", {there:,} found"
                problem = incomplete(there, SAMPLES[part])
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, bool(raw or ready), problem))
    return tuple(states)


FILES = Files(
    url="https://research.ibm.com/interactive/dvsgesture/",
    licence="CC BY 4.0; cite Amir et al., CVPR 2017",
    size_bytes=None,
    obtain=lambda root: (
        "download DvsGesture.tar.gz (3 GB, by hand: IBM asks who you are) and unpack it in "
        f"'{root}', which makes 'DvsGesture' (5 GB)"
    ),
    inspect=inspect,
    class_names=lambda root: CLASS_NAMES,
)
CAMERA = EventCamera(
    sensor=lambda options: (SIDE, SIDE),
    recordings=recordings,
    relabel=relabel,
    complete=SAMPLES,
    class_names=lambda options, named: tuple(CLASS_NAMES[number] for number in _order(options)),
)


def unlabelled(options: DvsGestureOptions, timesteps: int) -> Unlabelled:
    """Recordings of a gesture each, as SpikingJelly's arrays have them."""
    return unlabelled_events(
        NAME,
        CAMERA,
        options,
        timesteps,
        recordings={".npz": partial(NpzRecording, name="", label=0)},
        class_names=CAMERA.class_names(options, {}),
    )


DATASET = Dataset(
    name=NAME,
    title="DVS128 Gesture, 1,464 recordings of 11 gestures, frames of ON/OFF events of 128x128",
    source="Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017",
    classes=CLASSES,
    input_shape=(2, SIDE, SIDE),
    static=False,
    timesteps=None,
    max_timesteps=None,
    options=DvsGestureOptions,
    load=load,
    shape_of=lambda options: DataShape(CLASSES, (2, options.size or SIDE, options.size or SIDE)),
    files=FILES,
    polarities=POLARITIES,
    camera=CAMERA,
    unlabelled=unlabelled,
)
