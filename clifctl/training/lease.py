"""Locks as leases: their holder renews them, and others take them over once it no longer does."""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout

# A holder renews its lease three times as often. Every process has to agree on it.
SECONDS = 30.0
_LOOKS = 60

# A lease that was seen unchanged for long enough is taken over: who looks again and again does so
# with the same object.
_seen: dict[str, SoftFileLease] = {}
_guard = threading.Lock()


def take(path: Path, *, patient: bool) -> SoftFileLease | None:
    """The lease `path`, None where another process or thread holds it. `patient`: waits until it
    shows that its holder is alive, or gone. Raises OSError where the file cannot be written."""
    deadline = time.monotonic() + 1.5 * SECONDS
    first = _written(path)
    while (lease := _attempt(path)) is None:
        now = _written(path)
        renewed = first is not None and now is not None and now != first
        if not patient or renewed or time.monotonic() > deadline:
            return None
        time.sleep(SECONDS / _LOOKS)
    return lease


def is_one(path: Path) -> bool:
    """Whether a file that is there is a lease: a lock of the system's is empty."""
    with suppress(OSError):
        if path.stat().st_size:
            owner = SoftFileLease(path).owner
            return owner is not None and owner.mode == "lease"
    return False


def is_held(path: Path) -> bool:
    """Whether the lease `path` is being renewed. Writes nothing."""
    written = _written(path)
    return written is not None and time.time() - written[1] / 1e9 < 2 * SECONDS


def _attempt(path: Path) -> SoftFileLease | None:
    name = str(path.absolute())
    with _guard:
        lease = _seen.get(name)
        if lease is None:
            lease = SoftFileLease(
                name, lease_duration=SECONDS, on_compromise=_lost, thread_local=False
            )
            _seen[name] = lease
        if lease.is_locked:  # another thread's: it would be given to this one too
            return None
        try:
            lease.acquire(blocking=False)
        except Timeout:
            return None
        return lease


def let_go(lease: SoftFileLease) -> None:
    """Give a lease back."""
    with _guard:
        lease.release()
        _seen.pop(str(lease.lock_file), None)


def _written(path: Path) -> tuple[int, int] | None:
    """What changes whenever a lease is renewed or taken."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_ino, found.st_mtime_ns
    return None


def _lost(compromise: LeaseCompromise) -> None:
    """End this process as if it were killed: another one may work where it did."""
    sys.stderr.write(
        f"error: the lease '{compromise.lock_file}' was lost ({compromise.reason}): another "
        "process may have it, so this one ends without saving\n"
        "hint: the same command goes on from the last checkpoint\n"
    )
    sys.stderr.flush()
    os._exit(1)
