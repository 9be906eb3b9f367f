"""The run folder: resolved recipe, manifest, metrics, checkpoints, log and result."""

import json
import math
import os
import re
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from clifctl.commands import visible
from clifctl.errors import OutputError, RunFolderError
from clifctl.files import (
    cannot_write,
    exists,
    is_folder,
    open_own,
    require_folder_possible,
    to_json,
    write_text,
)
from clifctl.reading import MOST_LOG_BYTES, read_bytes, read_json, read_lines
from clifctl.results.train import EpochRecord, StepRecord
from clifctl.results.trials import Epochs
from clifctl.training.lock import LOCK, OWNER
from clifctl.training.seal import bears_seal

RECIPE, MANIFEST, METRICS = "recipe.yaml", "manifest.json", "metrics.jsonl"
LAST, BEST = "last.pt", "best.pt"
LOG, RESULT = "run.log", "result.json"
CURVES, RATES = "curves.png", "firing-rates.png"  # with --plots
FILES = (RECIPE, MANIFEST, METRICS, LAST, BEST, LOG, RESULT, CURVES, RATES)
_EPOCH_FILE = re.compile(r"epoch-(\d{4,})\.pt")
# There while a process works in the folder, or left by one that was killed: no part of the run.
_OF_THE_LOCK = frozenset((LOCK, OWNER))
# Left behind by a process that was killed while it wrote: see `clifctl.files.write_atomically`.
_TEMPORARY = re.compile(
    "|".join(rf"\.{re.escape(name)}\.\w+" for name in (*FILES, OWNER)) + r"|\.epoch-\d+\.pt\.\w+"
)


def epoch_file(epoch: int) -> str:
    """The name of the checkpoint that is kept of an epoch."""
    return f"epoch-{epoch:04d}.pt"


def is_run_file(name: str) -> bool:
    """Whether a run writes a file of that name into its folder."""
    known = name in FILES or name in _OF_THE_LOCK
    return known or bool(_EPOCH_FILE.fullmatch(name) or _TEMPORARY.fullmatch(name))


def check_run_folder(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a run must not, or cannot, be written to `path`. Writes nothing."""
    if exists(path) and not is_folder(path):
        raise OutputError(f"'{path}' is a file, a run needs a folder", hint="choose another --out")
    require_folder_possible(path)
    if require_run(path) and not overwrite:
        raise OutputError(
            f"run folder '{path}' exists already",
            hint="choose another --out, or replace that run with --overwrite",
        )


def require_run(path: Path) -> bool:
    """Whether there is a run in `path`, begun at least. Raises OutputError for a folder that holds
    something else."""
    names = {entry.name for entry in path.iterdir()} if is_folder(path) else set()
    if names <= _OF_THE_LOCK:
        return False
    if not _is_run(path, names):
        raise OutputError(
            f"folder '{path}' is not empty and not a run of clifctl: it is left alone",
            hint="choose another --out",
        )
    return True


def _is_run(path: Path, names: set[str]) -> bool:
    """Whether the folder `path`, which holds `names`, is a run's: names alone, such as last.pt, are
    other programs' too."""
    if str(read_manifest(path).get("schema")).startswith("clifctl."):
        return True
    if not all(map(is_run_file, names)):
        return False
    # A run that was killed at its start has nothing else; an empty file is nothing to lose.
    return any(map(bears_seal, checkpoints(path))) or not any(
        holds_something(path / name)
        for name in names
        if name not in (*_OF_THE_LOCK, RECIPE) and not _TEMPORARY.fullmatch(name)
    )


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run folder, empty ones left out: the last one, the best one, those kept
    of epochs, the latest first."""
    epochs = sorted(
        (int(match[1]), path)
        for path in (folder.iterdir() if is_folder(folder) else ())
        if (match := _EPOCH_FILE.fullmatch(path.name))
    )
    found = [folder / LAST, folder / BEST, *(path for _, path in reversed(epochs))]
    return [path for path in found if holds_something(path)]


def holds_something(path: Path) -> bool:
    """Whether `path` is a file that is not empty: a machine that loses its power leaves such."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Make the folder `path`, which was not there a moment ago. Raises OutputError where it cannot
    be made, or another process has made it."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise OutputError(
            f"run folder '{path}' was made by another process just now",
            hint="choose another --out, or wait until that run is done",
        ) from None
    except OSError as refused:
        raise cannot_write(path, refused) from None


def clear_run_folder(path: Path, *, overwrite: bool) -> None:
    """Make the folder `path`, which is there and locked, that of a new run. With `overwrite`, an
    earlier run's files are removed. Raises OutputError."""
    check_run_folder(path, overwrite=overwrite)
    try:
        # What says that it is a run goes last: a process that is killed here leaves no stranger.
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name in (RECIPE, MANIFEST)):
            if is_run_file(entry.name) and entry.name not in _OF_THE_LOCK:
                entry.unlink(missing_ok=True)
    except OSError as refused:
        raise cannot_write(path, refused) from None


def claim_numbered_folder(parent: Path, name: str) -> Path:
    """Make the first free `parent/name-n`, n from 1; two processes never get the same one."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise cannot_write(parent, refused) from None
    number = next_number(parent, name)
    while True:
        path = parent / f"{name}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        except OSError as refused:
            raise cannot_write(path, refused) from None
        else:
            return path


def next_number(parent: Path, name: str) -> int:
    """One more than the highest number in use for `parent/name-n`."""
    taken = [
        int(path.name.removeprefix(f"{name}-"))
        for path in parent.glob("*")
        if path.name.startswith(f"{name}-") and path.name.removeprefix(f"{name}-").isdecimal()
    ]
    return max(taken, default=0) + 1


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file atomically. Raises OutputError where it cannot be written."""
    write_text(path, to_json(document, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run; an empty one where it is lost or broken: a run goes on without it."""
    try:
        document = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return {}
    continued = document.get("continued", []) if isinstance(document, dict) else None
    whole = isinstance(continued, list) and all(isinstance(one, dict) for one in continued)
    return document if whole else {}


def kept_epochs(folder: Path) -> int:
    """How many epochs' checkpoints a run keeps: what was last asked for, by its manifest."""
    document = read_manifest(folder)
    asked = [one["keep"] for one in (document, *document.get("continued", [])) if "keep" in one]
    return asked[-1] if asked and type(asked[-1]) is int and asked[-1] >= 0 else 0


def neuron_sources(folder: Path) -> dict[str, str]:
    """The SHA-256 of each FILE.py:NAME that a run has last used, by its manifest."""
    document = read_manifest(folder)
    told = [one.get("neuron_sources") for one in (document, *document.get("continued", []))]
    known = [one for one in told if isinstance(one, dict)]
    return {str(name): str(digest) for name, digest in known[-1].items()} if known else {}


def add_to_manifest(folder: Path, continuation: dict[str, Any]) -> None:
    """Note in the manifest that, and with what, a run went on. Raises OutputError."""
    document = read_manifest(folder)
    earlier = document.get("continued", [])
    write_json(folder / MANIFEST, {**document, "continued": [*earlier, continuation]})


def note_in_manifest(folder: Path, **facts: Any) -> None:
    """Add to the manifest what has shown itself since the run began, or went on the last time.
    A manifest that is lost stays so. Raises OutputError."""
    document = read_manifest(folder)
    if not document:
        return
    *earlier, last = document.get("continued") or [document]
    changed = {**last, **facts}
    whole = changed if last is document else {**document, "continued": [*earlier, changed]}
    write_json(folder / MANIFEST, whole)


def remove_temporaries(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left. Raises OutputError."""
    try:
        for path in list(folder.iterdir()):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as refused:
        raise cannot_write(folder, refused) from None


def remove_old_epochs(folder: Path, keep: int) -> None:
    """Remove all but the last `keep` checkpoints of epochs. Raises OutputError."""
    found = [(m, path) for path in folder.iterdir() if (m := _EPOCH_FILE.fullmatch(path.name))]
    oldest_first = sorted(found, key=lambda item: int(item[0][1]))
    try:
        for _, path in oldest_first[: max(0, len(oldest_first) - keep)]:
            path.unlink(missing_ok=True)
    except OSError as refused:
        raise cannot_write(folder, refused) from None


def append_metrics(path: Path, record: EpochRecord | StepRecord) -> None:
    """Append one line to `metrics.jsonl`: on the disk after an epoch, on its way there after steps.
    Raises OutputError where it cannot be written."""
    kind = "epoch" if isinstance(record, EpochRecord) else "step"
    _append(path, to_json({"record": kind, **asdict(record)}), sync=kind == "epoch")


def sync(path: Path) -> None:
    """Have what was appended on the disk. Raises OutputError where that fails."""
    if not path.exists():
        return
    try:
        with _appending(path) as file:
            os.fsync(file.fileno())
    except OSError as refused:
        raise cannot_write(path, refused) from None


def _appending(path: Path) -> IO[bytes]:
    return os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab")


def append_log(path: Path, line: str) -> None:
    """Append one line to the log, with the time. Raises OutputError where it cannot be written."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    _append(path, f"{now} {visible(line)}", sync=False)


def _append(path: Path, line: str, *, sync: bool) -> None:
    try:
        with _appending(path) as file:
            file.write(f"{line}\n".encode())
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except OSError as refused:
        raise cannot_write(path, refused) from None


def _metric_lines(folder: Path) -> list[str]:
    """The lines of the metrics of a run folder, none where there are no metrics. Raises
    RunFolderError for metrics that cannot be read."""
    path = folder / METRICS
    try:
        return read_lines(path)
    except FileNotFoundError:
        return []
    except OSError as refused:
        raise RunFolderError(f"cannot read '{path}': {refused.strerror}") from None


def epoch_records(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics of a run folder that are epochs, none where there are no metrics. A
    line that is not whole (yet) is left out; each of the others has the numbers of `Epochs`.

    Raises RunFolderError for metrics that cannot be read, and for an epoch without them.
    """
    found = []
    for number, line in enumerate(_metric_lines(folder), 1):
        if '"epoch"' not in line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or record.get("record") != "epoch":
            continue
        for field in fields(Epochs):
            value = record.get(field.name, "nothing")
            # What is not finite was written as null.
            if type(value) not in (float, int, type(None)):
                where = f"'{folder / METRICS}', line {number}"
                raise RunFolderError(f"{where}: {field.name} is no number")
        found.append(record)
    return found


def metric_records(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics of a run folder that are epochs or steps, none where there are no
    metrics; one that is not whole (yet), or says no place, is left out. Raises RunFolderError for
    metrics that cannot be read."""
    records = [json.loads(line) for line in _metric_lines(folder) if _place(line) is not None]
    return [record for record in records if _is_metric(record)]


def _is_metric(record: dict[str, Any]) -> bool:
    places = {"epoch": ("epoch",), "step": ("epoch", "step")}.get(str(record.get("record")), ())
    whole = all(type(record.get(key)) is int and 0 <= record[key] < 2**31 for key in places)
    return bool(places) and whole


def read_epochs(folder: Path) -> Epochs:
    """The loss curves of the run in `folder`, so far. Raises RunFolderError."""
    records = epoch_records(folder)

    def curve(name: str) -> tuple[float, ...]:
        return tuple(math.nan if r[name] is None else float(r[name]) for r in records)

    return Epochs(**{field.name: curve(field.name) for field in fields(Epochs)})


def finished_epochs(path: Path) -> set[int]:
    """The epochs of which `metrics.jsonl` has a line, whatever else is in it."""
    try:
        lines = read_lines(path)
    except OSError:
        return set()
    return {epoch for epoch, step in filter(None, map(_place, lines)) if step is None}


def trim_metrics(path: Path, epochs: int, steps: int) -> None:
    """Cut `metrics.jsonl` back to `epochs` finished epochs and `steps` steps of the next: what was
    written after the checkpoint that a run goes on from, and a line that was not finished, are
    dropped. Raises OutputError where that cannot be written."""
    if not path.exists():
        return
    try:
        content = read_bytes(path, MOST_LOG_BYTES)
    except OSError as refused:
        raise cannot_write(path, refused) from None
    text = content.decode(errors="replace")
    kept = [line for line in text.splitlines() if _is_before(line, epochs, steps)]
    whole = "".join(line + "\n" for line in kept)
    if whole != text:
        write_text(path, whole)


def _place(line: str) -> tuple[int, int | None] | None:
    """Epoch and step (None: its end) of a line of the metrics; None for one that is not whole."""
    try:
        record = json.loads(line)
        step = record.get("step")
        return int(record["epoch"]), None if step is None else int(step)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _is_before(line: str, epochs: int, steps: int) -> bool:
    place = _place(line)
    if place is None:
        return False
    epoch, step = place
    return epoch <= epochs or (epoch == epochs + 1 and step is not None and step <= steps)
