"""How a run stands: running, interrupted, failed, lost or done, by the files of its folder alone.

What ends a run notes it in the manifest (`noted_end`); a process that was killed notes nothing.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clifctl.errors import OutputError
from clifctl.reading import read_json
from clifctl.results.runs import RunState
from clifctl.training import run_folder
from clifctl.training.lock import is_held

_ENDED = "ended"


@dataclass(frozen=True)
class Standing:
    """`epoch` and `step` are where the last checkpoint of a run that was stopped stands: finished
    epochs, and steps of the next; None where nothing says so. `problem`: why it failed."""

    state: RunState
    epoch: int | None = None
    step: int | None = None
    problem: str | None = None


def note_end(folder: Path, end: Standing) -> None:
    """Note how a run ended that did not come to its end. A disk that is full costs the note."""
    with suppress(OutputError):
        run_folder.note_in_manifest(folder, **{_ENDED: vars(end)})


def standing_of(folder: Path) -> Standing:
    """How the run in `folder` stands. Writes nothing."""
    if is_held(folder):
        return Standing("running")
    if run_folder.holds_something(folder / run_folder.RESULT):
        return Standing("done")
    noted = _noted(folder)
    if noted is not None:
        return noted
    return _of_trial(folder) or Standing("interrupted")


def _noted(folder: Path) -> Standing | None:
    manifest = run_folder.read_manifest(folder)
    last = (manifest.get("continued") or [manifest])[-1]
    ended = last.get(_ENDED)
    if not isinstance(ended, dict) or ended.get("state") not in ("interrupted", "failed"):
        return None
    place = {name: ended.get(name) for name in ("epoch", "step")}
    whole = all(type(value) is int for value in place.values())
    problem = ended.get("problem")
    return Standing(
        ended["state"],
        **(place if whole else {}),
        problem=problem if isinstance(problem, str) else None,
    )


def _of_trial(folder: Path) -> Standing | None:
    """How the trial of a grid came to nothing that ran in `folder`, by the record beside it."""
    try:
        record: Any = read_json(folder.with_name(f"{folder.name}.json"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("state") not in ("failed", "lost"):
        return None
    problem = record.get("problem")
    return Standing(record["state"], problem=problem if isinstance(problem, str) else None)
