"""What the `data` commands return."""

from dataclasses import dataclass
from typing import ClassVar


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
    """What a data set needs below `root` (None: it is embedded), and what of it is there."""

    schema: ClassVar[str] = "clifctl.data.check/1"

    data: str
    root: str | None
    complete: bool
    url: str | None
    licence: str | None
    download_bytes: int | None
    obtain: str | None
    files: tuple[FileRow, ...]


@dataclass(frozen=True, kw_only=True)
class FrameRow:
    """One time step of one sample. Channel sums are event counts for event data."""

    step: int
    minimum: float
    maximum: float
    mean: float
    sum_per_channel: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """One sample of a data set, as the net would see it (without augmentation)."""

    schema: ClassVar[str] = "clifctl.data.show/1"

    data: str
    split: str
    sample: int
    label: int
    samples_in_split: int
    shape: tuple[int, ...]
    sha256: str
    frames: tuple[FrameRow, ...]
    picture: str | None
