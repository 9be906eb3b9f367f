"""Event recordings of your own: a file each in train/<class>/ and test/<class>/, of a camera (RAW,
DAT, AEDAT4, ES), text (CSV), or .npz with arrays t [us], x (column), y (row) and p (1: ON, 0 or -1:
OFF) of its events. A label is the place of the class among the sorted names."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from pydantic import Field

from clifctl.data.contract import (
    PARTS,
    Dataset,
    DataShape,
    EventCamera,
    Files,
    FileState,
    LoadedData,
)
from clifctl.data.events import faery_files
from clifctl.data.events.camera_files import READ_BY_FAERY, READERS, CameraRecording
from clifctl.data.events.event_set import load_events, missing, natural, unlabelled_events
from clifctl.data.events.options import EventOptions
from clifctl.data.events.recordings import POLARITIES, NpzRecording, Recording
from clifctl.data.folders import (
    Found,
    classes_in,
    classes_of,
    counted,
    files_in,
    names_of_classes,
)
from clifctl.data.given_files import GIVEN
from clifctl.data.images import Place, data_folder
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import DataError
from clifctl.strict import Count, Widths

NAME = "event_files"
ENDINGS = (".npz", *READERS)


class EventFilesOptions(EventOptions):
    """What the recordings hold."""

    classes: Count = Field(ge=2, description="number of folders in train and test")
    sensor: Widths = Field(
        min_length=2, max_length=2, description="rows and columns of the camera: [H, W]"
    )


def load(options: EventFilesOptions, timesteps: int) -> LoadedData:
    """Both splits from prepared frames. Raises DataError naming what is missing."""
    return load_events(NAME, CAMERA, options, timesteps)


def recordings(options: EventFilesOptions) -> dict[str, tuple[Recording, ...]]:
    """The recordings of both splits, class by class. Raises DataError."""
    place = Place.of(NAME, options.root)
    if not any((place.root / part).is_dir() for part in PARTS):
        raise missing(place, FILES)
    names = classes_of(place.root, ENDINGS, place)
    found = {part: _files(place.root / part, names, place) for part in PARTS}
    return {part: _recordings(names, found[part], _sensor(options)) for part in PARTS}


def _files(folder: Path, names: list[str], place: Place) -> list[Found]:
    """The files of each class. Raises DataError where one has none, or one recording twice, and
    where they cannot be read without a package that is not there."""
    found = [files_in(folder / name, ENDINGS, place) for name in names]
    for name, one in zip(names, found, strict=True):
        if not one.files:
            raise place.error(f"'{folder / name}' holds no recording: {', '.join(ENDINGS)} are")
        for former, file in pairwise(sorted(one.files, key=lambda file: file.stem)):
            if former.stem == file.stem:
                raise place.error(
                    f"'{former}' and '{file}' have one name: a recording may be there once"
                )
        for file in one.files:
            _require_reader(file, place)
    return found


def _require_reader(file: Path, place: Place) -> None:
    if file.suffix.lower() in READ_BY_FAERY and not faery_files.is_installed():
        raise place.error(
            f"the package faery, which reads '{file}', is not installed",
            hint=faery_files.INSTALL,
        )


def _recordings(
    names: list[str], found: list[Found], sensor: tuple[int, int]
) -> tuple[Recording, ...]:
    return tuple(
        _recording(file, f"{name}/{file.stem}", label, sensor)
        for label, (name, one) in enumerate(zip(names, found, strict=True))
        for file in sorted(one.files, key=lambda file: natural(file.stem))
    )


def _recording(file: Path, name: str, label: int, sensor: tuple[int, int]) -> Recording:
    if file.suffix.lower() in READERS:
        return CameraRecording(file, name, label, sensor)
    return NpzRecording(file, name, label)


def inspect(root: Path) -> tuple[FileState, ...]:
    """Both folders below `root`: recordings are counted, not read."""
    place = Place(NAME, root)
    states: list[FileState] = []
    for part in PARTS:
        path, what, problem = root / part, "a folder a class, with its recordings", None
        if path.is_dir():
            try:
                names = classes_in(path, ENDINGS, place)
                found = _files(path, names, place)
                files = sum(len(one.files) for one in found)
                others = [file for one in found for file in one.others]
                what = counted(len(names), "recordings", files, others)
                if part == PARTS[-1] and states[0].present:
                    classes_of(root, ENDINGS, place)
            except DataError as refused:
                problem = refused.message
        states.append(FileState(path, what, path.is_dir(), problem))
    return tuple(states)


def _shape(options: EventFilesOptions) -> DataShape:
    height, width = options.sensor
    return DataShape(options.classes, (2, options.size or height, options.size or width))


def _sensor(options: EventFilesOptions) -> tuple[int, int]:
    height, width = options.sensor
    return height, width


def _class_names(options: EventFilesOptions, named: Mapping[int, str]) -> tuple[str, ...]:
    """The folders that the samples of each label lie in; "" where every one was left out."""
    return tuple(named.get(label, "").rpartition("/")[0] for label in range(1 + max(named)))


FILES = Files(
    url=None,
    licence="your own",
    size_bytes=None,
    obtain=lambda root: (
        f"write '{root}/train/<class>/<name>.npz' and "
        f"'{root}/test/<class>/<name>.npz' with numpy.savez(file, t=..., x=..., y=..., p=...), or "
        f"put a camera's files there ({', '.join(READERS)})"
    ),
    inspect=inspect,
    class_names=names_of_classes,
)
CAMERA = EventCamera(sensor=_sensor, recordings=recordings, by_time=True, class_names=_class_names)


def unlabelled(options: EventFilesOptions, timesteps: int) -> Unlabelled:
    """Recordings of the same kinds."""

    def recording(path: Path) -> Recording:
        _require_reader(path, GIVEN)
        return _recording(path, path.stem, 0, _sensor(options))

    return unlabelled_events(
        NAME,
        CAMERA,
        options,
        timesteps,
        recordings=dict.fromkeys(ENDINGS, recording),
        class_names=names_of_classes(data_folder(options.root)),
    )


DATASET = Dataset(
    name=NAME,
    title="event recordings of your own, .npz or a camera's: train/<class>/*, test/<class>/*",
    source="your own files",
    classes=None,
    input_shape=None,
    static=False,
    timesteps=None,
    max_timesteps=None,
    options=EventFilesOptions,
    load=load,
    shape_of=_shape,
    files=FILES,
    polarities=POLARITIES,
    camera=CAMERA,
    unlabelled=unlabelled,
)
