"""The run folder: resolved recipe, manifest, metrics and checkpoints, each written atomically."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from clifctl.errors import OutputError
from clifctl.results import EpochRecord

RECIPE, MANIFEST, METRICS = "recipe.yaml", "manifest.json", "metrics.jsonl"
LAST, BEST = "last.pt", "best.pt"
FILES = (RECIPE, MANIFEST, METRICS, LAST, BEST)


def check_run_folder(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a run must not, or cannot, be written to `path`. Writes nothing."""
    if path.exists() and not path.is_dir():
        raise OutputError(f"'{path}' is a file, a run needs a folder", hint="choose another --out")
    if path.is_dir() and any(path.iterdir()):
        is_run = (path / MANIFEST).is_file() and (path / RECIPE).is_file()
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
    require_writable(path)


def create_run_folder(path: Path, *, overwrite: bool) -> None:
    """Make an empty run folder at `path`. With `overwrite`, an earlier run's files are removed."""
    check_run_folder(path, overwrite=overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (path / name).unlink(missing_ok=True)
    except OSError as refused:
        raise _cannot_write(path, refused) from None


def claim_numbered_folder(parent: Path, name: str) -> Path:
    """Make the first free `parent/name-n`, n from 1; two processes never get the same one."""
    number = next_number(parent, name)
    while True:
        path = parent / f"{name}-{number}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            number += 1
        except OSError as refused:
            raise _cannot_write(path, refused) from None
        else:
            return path


def next_number(parent: Path, name: str) -> int:
    """One more than the highest number in use for `parent/name-n`."""
    taken = [
        int(path.name.removeprefix(f"{name}-"))
        for path in parent.glob(f"{name}-*")
        if path.name.removeprefix(f"{name}-").isdecimal()
    ]
    return max(taken, default=0) + 1


def require_writable(path: Path) -> None:
    """Raise OutputError if `path` could not be made or written to. Writes nothing."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if existing != path.absolute() and not existing.is_dir():
        raise OutputError(
            f"cannot write '{path}': '{existing}' is a file", hint="choose another place"
        )
    if not os.access(existing, os.W_OK):
        raise OutputError(
            f"cannot write '{path}': no permission in '{existing}'", hint="choose another place"
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Raises OutputError where it cannot be written."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file atomically. Raises OutputError where it cannot be written."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def append_metrics(path: Path, record: EpochRecord) -> None:
    """Append one line to `metrics.jsonl`. Raises OutputError where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"record": "epoch", **asdict(record)}) + "\n")
    except OSError as refused:
        raise _cannot_write(path, refused) from None


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write through a temporary file, fsync and rename: `path` is the old file or the new one."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as refused:
        raise _cannot_write(path, refused) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner alone; give it what open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as refused:
        raise _cannot_write(path, refused) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _cannot_write(path: Path, refused: OSError) -> OutputError:
    return OutputError(
        f"cannot write '{path}': {refused.strerror or refused}", hint="choose another place"
    )
