"""`runs export`: the metrics of a run, for other programs."""

from pathlib import Path
from typing import Any

from clifctl.errors import RunFolderError
from clifctl.experiments.runs import show_run
from clifctl.notices import tell_once
from clifctl.results.decoding import flat
from clifctl.results.runs_export import RunExport
from clifctl.training import run_folder


def run_metrics(path: Path, to: str, folder: Path | None = None) -> RunExport:
    """The metrics of the run in `path`, for the target `to`, which lies in `folder`. Raises
    RunFolderError for what is no run, and for one without any."""
    show_run(path)
    records = [flat(record) for record in run_folder.metric_records(path)]
    if not records:
        raise RunFolderError(f"'{path}' has no metrics yet", hint="it has not finished an epoch")
    steps = _of_kind(records, "step")
    return RunExport(
        run=str(path),
        to=to,
        folder=None if folder is None else str(folder),
        steps_per_epoch=_steps_per_epoch(path, steps),
        epochs=_of_kind(records, "epoch"),
        steps=steps,
    )


def _of_kind(records: list[dict[str, Any]], kind: str) -> tuple[dict[str, Any], ...]:
    """The records of a kind, all with the same keys."""
    found = [record for record in records if record["record"] == kind]
    keys = dict.fromkeys(key for record in found for key in record if key != "record")
    return tuple({key: record.get(key) for key in keys} for record in found)


def _steps_per_epoch(path: Path, steps: tuple[dict[str, Any], ...]) -> int | None:
    """By the manifest; that of a run of before is silent, and the last step that was logged of any
    epoch is taken."""
    told = run_folder.read_manifest(path).get("steps_per_epoch")
    if type(told) is int and told > 0:
        return told
    if not steps:
        return None
    most: int = max(record["step"] for record in steps)
    tell_once(
        f"the manifest of '{path}' does not say how many steps an epoch has: {most} are taken, the "
        "last that were logged"
    )
    return most
