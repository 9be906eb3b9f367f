"""Locks of files: one process at a time in a run folder, or at a trial."""

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from clifctl.errors import OutputError
from clifctl.files import cannot_write, remove_irregular, write_text
from clifctl.reading import read_json
from clifctl.training import lease
from clifctl.training.lock_kind import kind_in

# The lock of a run folder, and beside it who holds it: a lock's own file says nothing.
LOCK, OWNER = "run.lock", "run.owner"
# What a file system says that has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_LOOKS, _BETWEEN_LOOKS_SECONDS = 3, 0.005


@contextmanager
def lock(path: Path, *, patient: bool = False) -> Iterator[bool]:
    """Try to hold the lock `path`, a file of clifctl's own, until the end of the block; yields
    False where another process or thread holds it.

    The system releases the lock of a process that dies. Where the file system does not keep such
    locks it is a lease (`clifctl.training.lease`), which others take over once nobody renews it;
    `patient`: that is waited for. Raises OutputError where the file cannot be written.
    """
    let_go: Callable[[], None] | None
    try:
        remove_irregular(path)
        if _is_lease(path):
            let_go = _take_lease(path, patient=patient)
        else:
            try:
                let_go = _take(path)
            except NotImplementedError:
                let_go = _take_lease(path, patient=patient)
    except OSError as refused:
        raise cannot_write(path, refused) from None
    if let_go is None:
        yield False
        return
    try:
        yield True
    finally:
        let_go()


def _is_lease(path: Path) -> bool:
    """Whether the lock `path` is a lease: where locks are, and where somebody has made it one."""
    return kind_in(path.parent).leases or lease.is_one(path)


def _take_lease(path: Path, *, patient: bool) -> Callable[[], None] | None:
    taken = lease.take(path, patient=patient)
    return None if taken is None else partial(lease.let_go, taken)


def _take(path: Path) -> Callable[[], None] | None:
    """Take the system's lock; what lets go of it, or None where another has it. Raises
    NotImplementedError where the file system has no locks, or gives one to everybody."""
    held = FileLock(path, thread_local=False, fallback_to_soft=False)
    looks = 0
    while True:
        try:
            held.acquire(blocking=False)
            break
        except Timeout:
            # Whoever held it may have let go, and removed it, between the two calls; and who looks
            # whether it is held holds it for a moment.
            looks += path.exists()
            if looks == _LOOKS:
                return None
            time.sleep(_BETWEEN_LOOKS_SECONDS)
        except OSError as refused:
            if refused.errno not in _NO_LOCKS:
                raise
            if not lease.is_one(path):
                path.unlink(missing_ok=True)
            raise NotImplementedError from None

    def let_go() -> None:
        # Removed before it is released: afterwards it may be another's.
        with suppress(OSError):
            path.unlink()
        held.release()

    if not _keeps_others_out(path):
        let_go()
        raise NotImplementedError
    return let_go


def _keeps_others_out(path: Path) -> bool:
    """Whether the lock `path`, which is held, cannot be had a second time."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # a system with locks of another kind, or one that refuses
        return True
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the run folder `folder`, which exists. Raises OutputError where another
    process or thread holds it, saying which."""
    owner = folder / OWNER
    with lock(folder / LOCK, patient=not _is_alive(owner)) as is_mine:
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
    return (folder / LOCK).is_file() and not _is_dead(folder / OWNER) and is_locked(folder / LOCK)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock `path`. Writes nothing, and needs no right to."""
    if not path.is_file():
        return False
    if _is_lease(path):
        return lease.is_held(path)
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return True  # no locks here
    return False


def _is_dead(owner: Path) -> bool:
    """Whether the process that a lock's owner names is one of this machine, and gone."""
    return _is_alive(owner) is False


def _is_alive(owner: Path) -> bool | None:
    """Whether the process that a lock's owner names is there; None for one of another machine."""
    try:
        document = read_json(owner)
        pid, host = int(document["pid"]), document["host"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    if host != socket.gethostname() or os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return None
    except OSError:
        return True  # of another person
    return True


def _named(owner: Path) -> str:
    """Who holds a lock, by the file that says so."""
    try:
        document = read_json(owner)
        return f"process {int(document['pid'])} on {document['host']}"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "another process"
