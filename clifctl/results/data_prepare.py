"""What `data prepare` returns."""

from dataclasses import dataclass
from typing import Any, ClassVar

from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """The frames of one split. `sha256` is of the names and counts of its samples, in order;
    `samples_when_complete` is None for recordings of your own."""

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
    """A recording that could not be read, and was left out because --skip-bad was given. `file` is
    its path from the folder that holds all recordings."""

    file: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class PrepareResult(Result):
    """A cache of frames, and what it was made with. `test_samples_in_train`: how many samples of
    the test split have the same frames as a training sample. `unsorted_samples`: how many have
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
