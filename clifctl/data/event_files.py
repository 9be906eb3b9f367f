"""Event recordings of your own: train/<class>/*.npz and test/<class>/*.npz, each with arrays t
[us], x (column), y (row) and p (1: ON, 0 or -1: OFF) of its events. A label is the place of the
class among the sorted names."""

from pathlib import Path

from pydantic import Field

from clifctl.data.contract import Dataset, DataShape, EventCamera, Files, FileState, LoadedData
from clifctl.data.event_options import EventOptions
from clifctl.data.event_set import load_events, missing, natural
from clifctl.data.events import POLARITIES, NpzRecording
from clifctl.data.frame_cache import PARTS
from clifctl.data.images import Place
from clifctl.errors import DataError
from clifctl.strict import Count, Widths

NAME = "event_files"


class EventFilesOptions(EventOptions):
    """What the recordings hold."""

    classes: Count = Field(ge=2, description="number of folders in train and test")
    sensor: Widths = Field(
        min_length=2, max_length=2, description="rows and columns of the camera: [H, W]"
    )


def load(options: EventFilesOptions, timesteps: int) -> LoadedData:
    """Both splits from prepared frames. Raises DataError naming what is missing."""
    return load_events(NAME, CAMERA, options, timesteps)


def recordings(options: EventFilesOptions) -> dict[str, tuple[NpzRecording, ...]]:
    """The recordings of both splits, class by class. Raises DataError."""
    place = Place.of(NAME, options.root)
    if not any((place.root / part).is_dir() for part in PARTS):
        raise missing(place, FILES)
    names = _classes(place.root / "train", place)
    if len(names) != options.classes:
        raise place.error(
            f"'{place.root / 'train'}' has {len(names)} classes, the recipe says {options.classes}",
            hint=f"classes={len(names)}",
        )
    other = set(names) ^ set(_classes(place.root / "test", place))
    if other:
        raise place.error(f"class '{min(other)}' is in one of train and test only")
    return {part: _recordings(place.root / part, names, place) for part in PARTS}


def _classes(folder: Path, place: Place) -> list[str]:
    if not folder.is_dir():
        raise place.error(f"the folder '{folder}' is missing")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _recordings(folder: Path, names: list[str], place: Place) -> tuple[NpzRecording, ...]:
    found = []
    for label, name in enumerate(names):
        files = sorted((folder / name).glob("*.npz"), key=lambda file: natural(file.stem))
        if not files:
            raise place.error(f"'{folder / name}' holds no .npz file")
        found += [NpzRecording(file, f"{name}/{file.stem}", label) for file in files]
    return tuple(found)


def inspect(root: Path) -> tuple[FileState, ...]:
    """Both folders below `root`: recordings are counted, not read."""
    place = Place(NAME, root)
    states = []
    for part in PARTS:
        path, what, problem = root / part, "a folder a class, with its .npz files", None
        if path.is_dir():
            names = _classes(path, place)
            try:
                what = f"{len(names)} classes, {len(_recordings(path, names, place)):,} recordings"
                problem = None if names else "no folder of a class in it"
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


FILES = Files(
    url=None,
    licence="your own",
    size_bytes=None,
    obtain=lambda root: (
        f"write '{root}/train/<class>/<name>.npz' and "
        f"'{root}/test/<class>/<name>.npz' with numpy.savez(file, t=..., x=..., y=..., p=...)"
    ),
    inspect=inspect,
)
CAMERA = EventCamera(sensor=_sensor, recordings=recordings, by_time=True)
DATASET = Dataset(
    name=NAME,
    title="event recordings of your own: train/<class>/*.npz, test/<class>/*.npz (t, x, y, p)",
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
)
