"""What the `data` commands return."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One file or folder that a data set needs. `state` is good, missing or bad (`problem`)."""

    file: str
    state: str
    what: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One row of the DATASETS table; None: the data set's options say."""

    data: str
    title: str
    classes: int | None
    input_shape: tuple[int, ...] | None
    timesteps: str
    source: str


@dataclass(frozen=True, kw_only=True)
class DatasetList:
    """The DATASETS table."""

    schema: ClassVar[str] = "clifctl.data/1"

    data: tuple[DatasetRow, ...]


@dataclass(frozen=True, kw_only=True)
class DataCheckResult:
    """What a data set needs below `root` (None: it is embedded), and what of it is there.
    `class_names` in the order of the labels, None where there are none."""

    schema: ClassVar[str] = "clifctl.data.check/1"

    data: str
    root: str | None
    complete: bool
    url: str | None
    licence: str | None
    download_bytes: int | None
    obtain: str | None
    files: tuple[FileRow, ...]
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class FrameRow:
    """One time step of one sample, as the net would see it. `on_events` and `off_events` count what
    it was made from, None for data that are no events."""

    step: int
    minimum: float
    maximum: float
    mean: float
    sum_per_channel: tuple[float, ...]
    on_events: int | None
    off_events: int | None


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """One sample of a data set, as the net would see it (without augmentation). `name`: of its
    recording, None for other data. `class_name`: what the label stands for, None without names.
    `sha256` of all data: None where frames are not prepared, and the sample was read from its
    recording."""

    schema: ClassVar[str] = "clifctl.data.show/1"

    data: str
    split: str
    sample: int
    name: str | None
    label: int
    class_name: str | None = None
    samples_in_split: int
    shape: tuple[int, ...]
    sha256: str | None
    polarities: tuple[str, str] | None
    frames: tuple[FrameRow, ...]
    picture: str | None


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """The frames of one split. `sha256` is of the names and counts of its samples, in order;
    `samples_when_complete` None where that is the person's own matter."""

    split: str
    samples: int
    samples_when_complete: int | None
    classes: int
    events: int
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SkippedRecording:
    """A recording that could not be read, and was left out because --skip-bad was given. `file`:
    its path from the folder that holds all recordings."""

    file: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """A cache of frames, and what it was made with. `test_samples_in_train`: how many samples of
    the test split have the very frames of a training sample. `unsorted_samples`: how many have
    events that are not in the order of time, and `order` in which they were counted: "time", or
    that of the "file"."""

    schema: ClassVar[str] = "clifctl.data.prepare/1"

    data: str
    folder: str
    timesteps: int
    settings: dict[str, Any]
    already_prepared: bool
    test_samples_in_train: int
    unsorted_samples: int
    order: str
    splits: tuple[PreparedSplit, ...]
    skipped: tuple[SkippedRecording, ...]
    seconds: float
