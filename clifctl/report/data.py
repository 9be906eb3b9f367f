"""`data ls`, `data check` and `data show` -> report."""

from collections.abc import Sequence

from clifctl.amounts import mebibytes
from clifctl.report.render import Report, document_of, list_table
from clifctl.results.data import (
    DataCheckResult,
    DatasetList,
    DatasetRow,
    FileRow,
    FrameRow,
    SampleResult,
)

MOST_NAMES = 20


def datasets_report(result: DatasetList) -> Report:
    """The DATASETS table."""
    columns = ("data", "classes", "input_shape", "timesteps", "views", "title", "source")
    place = f"Files are looked for in '{result.root}', or where CLIFCTL_DATA or data.root says."
    optional = ("source", "classes", "input_shape")
    table = list_table(
        "data sets", DatasetRow, result.data, *columns, optional=optional, notes=(place,)
    )
    return Report(document_of(result), (table,))


def data_check_report(result: DataCheckResult) -> Report:
    """The files of a data set, one by one, and where they come from."""
    size = mebibytes(result.download_bytes)
    facts = (
        ("from", result.url),
        ("download", None if size is None else f"{size:,.0f} MiB"),
        ("licence", result.licence),
        ("how to get it", result.obtain),
        ("classes", result.class_names and _names(result.class_names)),
    )
    table = list_table(
        f"{result.data}: {'complete' if result.complete else 'incomplete'}",
        FileRow,
        result.files,
        *("file", "state", "what", "problem"),
        notes=tuple(f"{name}: {fact}" for name, fact in facts if fact),
    )
    return Report(document_of(result), (table,))


def _names(names: Sequence[str]) -> str:
    """Labels with the names of their classes, as many as can be read."""
    shown = [f"{label} '{name}'" for label, name in enumerate(names[:MOST_NAMES])]
    more = [f"and {len(names) - MOST_NAMES} more (all with --json)"]
    return ", ".join(shown + (more if len(names) > MOST_NAMES else []))


def sample_report(result: SampleResult) -> Report:
    """One sample, time step by time step."""
    events = ("on_events", "off_events") if result.frames[0].on_events is not None else ()
    frames = list_table(
        f"{result.data}, {result.split} sample {result.sample} of {result.samples_in_split}: "
        f"label {labelled(result)}, shape {list(result.shape)}"
        + (f", recording {result.name}" if result.name else ""),
        FrameRow,
        result.frames,
        *("step", "minimum", "maximum", "mean", "sum_per_channel", *events),
        notes=(
            f"sha256 of the data: {result.sha256}"
            if result.sha256
            else "read from its recording: frames are not prepared",
            *([f"picture: {result.picture}"] if result.picture else []),
        ),
    )
    return Report(document_of(result), (frames,))


def labelled(result: SampleResult) -> str:
    """A sample's label, with the name of its class where it has one."""
    return f"{result.label} '{result.class_name}'" if result.class_name else str(result.label)
