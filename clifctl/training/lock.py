"""Locks of files: one process at a time in a run folder, or at a trial."""

import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clifctl.errors import OutputError
from clifctl.files import cannot_write, remove_irregular, write_text
from clifctl.reading import read_json

# The lock of a run folder, and beside it who holds it: a lock's own file says nothing.
LOCK, OWNER = "run.lock", "run.owner"


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Try to hold the lock `path`, a file of clifctl's own, until the end of the block; yields
    False where another process or thread holds it.

    The system releases the lock of a process that dies. Where the file system has no locks (some
    network ones), filelock's marker file takes their place, and counts for nothing once its process
    is gone from this machine. Raises OutputError where the file cannot be written.
    """
    held = FileLock(path, thread_local=False)
    while True:
        try:
            remove_irregular(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a marker serves as well
                held.acquire(blocking=False)
            break
        except Timeout:
            # Whoever held it may have let go, and removed it, between the two calls.
            if path.exists():
                yield False
                return
        except OSError as refused:
            raise cannot_write(path, refused) from None
    try:
        yield True
    finally:
        # Before it is released: afterwards it may be another's. A marker removes itself.
        if not getattr(held, "is_lock_held_by_us", False):
            with suppress(OSError):
                path.unlink()
        held.release()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the run folder `folder`, which exists. Raises OutputError where another
    process or thread holds it, saying which."""
    owner = folder / OWNER
    with lock(folder / LOCK) as is_mine:
        if not is_mine:
            raise OutputError(
                f"run folder '{folder}' is in use by {_named(owner)}",
                hint="wait until that run is done, stop it, or choose another --out",
            )
        try:
            write_text(owner, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            yield
        finally:
            with suppress(OSError):
                owner.unlink()


def is_held(folder: Path) -> bool:
    """Whether a process works in the run folder `folder`. Writes nothing, and needs no right to."""
    path = folder / LOCK
    if not path.is_file() or _is_dead(folder / OWNER):
        return False
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return True  # no locks here: the file is the marker
    return False


def _is_dead(owner: Path) -> bool:
    """Whether the process that a lock's owner names is one of this machine, and gone."""
    try:
        document = read_json(owner)
        pid, host = int(document["pid"]), document["host"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return False
    if host != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _named(owner: Path) -> str:
    """Who holds a lock, by the file that says so."""
    try:
        document = read_json(owner)
        return f"process {int(document['pid'])} on {document['host']}"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "another process"
