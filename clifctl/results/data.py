"""What `data ls`, `data check` and `data show` return."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.quantities import TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One file or folder that a data set needs. `state` is good, missing or bad (`problem`)."""

    file: str
    state: str
    what: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One row of the DATASETS table. None stands for what the data set's options say. `views` are
    what `data.view` may be, of images, the first as in `input_shape` and `timesteps`."""

    data: str
    title: str
    classes: int | None
    input_shape: Annotated[tuple[int, ...] | None, Quantity("input of a time step")]
    timesteps: Annotated[str, TIMESTEPS]
    source: str
    views: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetList(Result):
    """The DATASETS table. Files are looked for below `root` where nothing else is said."""

    schema: ClassVar[str] = "clifctl.data/1"

    data: tuple[DatasetRow, ...]
    root: str = "data"  # of documents written before it was said


@dataclass(frozen=True, kw_only=True)
class DataCheckResult(Result):
    """What a data set needs below `root` (None: it is embedded), and what of it is there.
    `class_names` are in the order of the labels, None where there are none."""

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

    step: Annotated[int, Quantity("time step")]
    minimum: Annotated[float, Quantity("minimum", digits=3)]
    maximum: Annotated[float, Quantity("maximum", digits=3)]
    mean: Annotated[float, Quantity("mean", digits=3)]
    sum_per_channel: Annotated[tuple[float, ...], Quantity("sum per channel", digits=1)]
    on_events: Annotated[int | None, Quantity("ON events")]
    off_events: Annotated[int | None, Quantity("OFF events")]


@dataclass(frozen=True, kw_only=True)
class SampleResult(Result):
    """One sample of a data set, as the net would see it (without augmentation). `name` is that
    of its recording, None for other data; `class_name` what the label stands for, None without
    names. `sha256` is that of all data, None where the sample was read from its recording because
    frames are not prepared."""

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
