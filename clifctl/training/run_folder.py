"""The run folder: resolved recipe, manifest, metrics and checkpoints."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clifctl.errors import OutputError
from clifctl.files import (
    cannot_write,
    exists,
    is_folder,
    require_folder_possible,
    to_json,
    write_text,
)
from clifctl.results import EpochRecord

RECIPE, MANIFEST, METRICS = "recipe.yaml", "manifest.json", "metrics.jsonl"
LAST, BEST = "last.pt", "best.pt"
FILES = (RECIPE, MANIFEST, METRICS, LAST, BEST)


def check_run_folder(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a run must not, or cannot, be written to `path`. Writes nothing."""
    if exists(path) and not is_folder(path):
        raise OutputError(f"'{path}' is a file, a run needs a folder", hint="choose another --out")
    require_folder_possible(path)
    names = {entry.name for entry in path.iterdir()} if is_folder(path) else set()
    if not names:
        return
    # A run that was killed at its start holds some of a run's files and no other.
    is_run = {MANIFEST, RECIPE} <= names or names <= set(FILES)
    if not is_run:
        raise OutputError(
            f"folder '{path}' is not empty and not a run of clifctl: it is left alone",
            hint="choose another --out",
        )
    if not overwrite:
        raise OutputError(
            f"run folder '{path}' exists already",
            hint="choose another --out, or replace that run with --overwrite",
        )


def create_run_folder(path: Path, *, overwrite: bool) -> None:
    """Make an empty run folder at `path`. With `overwrite`, an earlier run's files are removed."""
    check_run_folder(path, overwrite=overwrite)
    try:
        # A folder that was not there a moment ago and is there now is another run's.
        path.mkdir(parents=True, exist_ok=is_folder(path))
        for name in FILES:
            (path / name).unlink(missing_ok=True)
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


def append_metrics(path: Path, record: EpochRecord) -> None:
    """Append one line to `metrics.jsonl`. Raises OutputError where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(to_json({"record": "epoch", **asdict(record)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as refused:
        raise cannot_write(path, refused) from None
