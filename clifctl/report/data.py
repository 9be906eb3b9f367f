"""`data ls`, `data check` and `data show` -> report."""

import dataclasses
from collections.abc import Sequence

from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results.data import DataCheckResult, DatasetList, SampleResult

MOST_NAMES = 20


def datasets_report(result: DatasetList) -> Report:
    """The DATASETS table."""
    columns = (
        Column("data", "data"),
        Column("classes", "classes"),
        Column("input_shape", "input of a time step"),
        Column("timesteps", "time steps"),
        Column("title", "title"),
        Column("source", "source"),
    )
    rows = tuple(map(dataclasses.asdict, result.data))
    return Report(document_of(result), (Table("data sets", columns, rows),))


def data_check_report(result: DataCheckResult) -> Report:
    """The files of a data set, one by one, and where they come from."""
    columns = (
        Column("file", "file"),
        Column("state", "state"),
        Column("what", "what"),
        Column("problem", "problem"),
    )
    size = result.download_bytes
    facts = (
        ("from", result.url),
        ("download", None if size is None else f"{size / MIB:,.0f} MiB"),
        ("licence", result.licence),
        ("how to get it", result.obtain),
        ("classes", result.class_names and _names(result.class_names)),
    )
    table = Table(
        f"{result.data}: {'complete' if result.complete else 'incomplete'}",
        columns,
        tuple(dataclasses.asdict(row) for row in result.files),
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
    columns: tuple[Column, ...] = (
        Column("step", "time step"),
        Column("minimum", "minimum", 3),
        Column("maximum", "maximum", 3),
        Column("mean", "mean", 3),
        Column("sum_per_channel", "sum per channel", 1),
    )
    if result.frames[0].on_events is not None:
        columns += (Column("on_events", "ON events"), Column("off_events", "OFF events"))
    frames = Table(
        f"{result.data}, {result.split} sample {result.sample} of {result.samples_in_split}: "
        f"label {labelled(result)}, shape {list(result.shape)}"
        + (f", recording {result.name}" if result.name else ""),
        columns,
        tuple(dataclasses.asdict(frame) for frame in result.frames),
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
