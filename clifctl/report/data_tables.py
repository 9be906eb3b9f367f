"""Results about data sets -> report."""

import dataclasses

from clifctl.report.render import MIB, Column, Report, Table, document_of
from clifctl.results import DataCheckResult, DatasetList, SampleResult


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
    )
    table = Table(
        f"{result.data}: {'complete' if result.complete else 'incomplete'}",
        columns,
        tuple(dataclasses.asdict(row) for row in result.files),
        notes=tuple(f"{name}: {fact}" for name, fact in facts if fact),
    )
    return Report(document_of(result), (table,))


def sample_report(result: SampleResult) -> Report:
    """One sample, time step by time step."""
    columns = (
        Column("step", "time step"),
        Column("minimum", "minimum", 3),
        Column("maximum", "maximum", 3),
        Column("mean", "mean", 3),
        Column("sum_per_channel", "sum per channel", 1),
    )
    frames = Table(
        f"{result.data}, {result.split} sample {result.sample} of {result.samples_in_split}: "
        f"label {result.label}, shape {list(result.shape)}",
        columns,
        tuple(dataclasses.asdict(frame) for frame in result.frames),
        notes=(
            f"sha256 of the data: {result.sha256}",
            *([f"picture: {result.picture}"] if result.picture else []),
        ),
    )
    return Report(document_of(result), (frames,))
