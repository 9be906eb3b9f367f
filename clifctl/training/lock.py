"""One run at a time in a run folder."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clifctl.errors import OutputError
from clifctl.files import cannot_write, open_own
from clifctl.reading import read_json

LOCK = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which exists. Raises OutputError where another process holds it.

    The system releases the lock of a process that dies. Where the file system has no locks (some
    network ones), the process that the file names decides: one of this machine that is gone counts
    for nothing. Threads of one process exclude each other, too.
    """
    path = folder / LOCK
    descriptor = _acquire(path)
    try:
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        try:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, owner.encode(), 0)
        except OSError as refused:  # a full disk
            raise cannot_write(path, refused) from None
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """An open, locked descriptor of `path`."""
    while True:
        try:
            descriptor = open_own(path, os.O_RDWR)
        except OSError as refused:
            raise cannot_write(path, refused) from None
        if not _lock(descriptor):
            if _owner_is_gone(path) and _still_gone(path):
                with suppress(OSError):
                    path.unlink()
                os.close(descriptor)
                continue
            os.close(descriptor)
            raise OutputError(
                f"run folder '{path.parent}' is in use by {_owner(path)}",
                hint="wait until that run is done, stop it, or choose another --out",
            )
        # Whoever held it may have removed the file between the two calls.
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        # No locks here: an empty file is new, any other has an owner.
        return os.fstat(descriptor).st_size == 0
    return True


def _named(path: Path) -> tuple[int, str] | None:
    """Process id and host that the lock names."""
    try:
        document = read_json(path)
        return int(document["pid"]), str(document["host"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _still_gone(path: Path) -> bool:
    """A second look: the name may be an old one, and its new owner about to write its own."""
    time.sleep(0.2)
    return _owner_is_gone(path)


def _owner(path: Path) -> str:
    named = _named(path)
    return f"process {named[0]} on {named[1]}" if named else "another process"


def _owner_is_gone(path: Path) -> bool:
    """Whether the lock names a process of this machine that is no more: the system would have
    released a lock of its own, so this is a file system without."""
    named = _named(path)
    if named is None or named[1] != socket.gethostname():
        return False
    try:
        os.kill(named[0], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
