"""Where kernels are kept, and why that place may be trusted: what lies there is run as code.

A folder is used where it belongs to this user or to root and nobody else can write to it; so is a
file that is read from it. A checksum beside a file finds damage; it says nothing about who wrote
it, since whoever can replace a file can replace its checksum.
"""

import atexit
import errno
import os
import secrets
import shutil
import stat
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# Environment: the temporary folder of a command and of every process that it starts.
TEMPORARY = "CLIFCTL_TEMPORARY_KERNELS"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Folder:
    """A folder for kernels: whether what is in it may be run, whether more can be put there, and
    what stands against one of both (None: nothing)."""

    path: Path
    trusted: bool
    writable: bool
    problem: str | None


def preferred_folder() -> Path | None:
    """Where kernels should be kept, whether that is possible or not: $XDG_CACHE_HOME/clifctl, or
    ~/.cache/clifctl. A relative XDG_CACHE_HOME counts for nothing, as its specification says. None
    where this user has no home directory."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not given.is_absolute():
        try:
            given = Path.home() / ".cache"
        except RuntimeError:
            return None
    return given / "clifctl" / "kernels" if given.is_absolute() else None


def folder_at(folder: Path | None) -> Folder | None:
    """Make a folder where it is missing, and look whether it may be used: once a process."""
    return None if folder is None else _examined(folder)


def give_up(folder: Folder, refused: OSError) -> None:
    """Write no more to a folder whose disk is full, or that refuses for another reason."""
    _refusals[folder.path] = refused.strerror or str(refused)


def writable_folder() -> Path | None:
    """Where a kernel can be written now: the preferred folder, or a temporary one, which is said
    once. None where there is no place at all."""
    preferred = folder_at(preferred_folder())
    if preferred is None:
        return _temporary("kernels cannot be cached: this user has no home directory")
    problem = _refusals.get(preferred.path, preferred.problem)
    if problem is None:
        return preferred.path
    return _temporary(f"kernels cannot be cached in '{preferred.path}': {problem}")


def readable_folders() -> list[Path]:
    """Where kernels may be read from, in the order in which they are looked for."""
    preferred = folder_at(preferred_folder())
    found = [preferred.path] if preferred is not None and preferred.trusted else []
    temporary = os.environ.get(TEMPORARY)
    if temporary and _is_ours(Path(temporary)):
        found.append(Path(temporary))
    return found


def require_trusted(folder: Path) -> None:
    """Raise OSError, in words, where what lies in a folder must not be run."""
    problem = _distrust(folder) if folder.is_absolute() else f"'{folder}' is a relative path"
    if problem is not None:
        raise PermissionError(errno.EACCES, problem)


def settle() -> None:
    """Decide for the processes that this one is going to start: they share one temporary folder,
    if any is needed, and this process removes it."""
    _reserved()
    writable_folder()


def may_be_read(found: os.stat_result) -> bool:
    """Whether a file or folder is this user's or root's, and nobody else can write to it."""
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & _OTHERS_WRITE


def close_to_others(folder: Path) -> None:
    """Take the right to write from others, in a folder of this user."""
    found = folder.stat()
    if found.st_uid == os.geteuid() and found.st_mode & _OTHERS_WRITE:
        with suppress(OSError):
            folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS_WRITE)


_refusals: dict[Path, str] = {}


@lru_cache(maxsize=8)
def _examined(folder: Path) -> Folder:
    try:
        for part in (folder.parent, folder):
            part.mkdir(mode=0o755, parents=True, exist_ok=True)
            # Older versions made folders as the umask said; they left no file that is run here.
            close_to_others(part)
        problem = _distrust(folder.parent) or _distrust(folder)
    except OSError as refused:
        return Folder(folder, False, False, refused.strerror or str(refused))
    if problem is not None:
        return Folder(folder, False, False, problem)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Folder(folder, True, True, None)
    except OSError as refused:
        return Folder(folder, True, False, refused.strerror or str(refused))


def _distrust(folder: Path) -> str | None:
    """Why what lies in a folder is not run, None where it may be."""
    link, found = folder.lstat(), folder.stat()
    for seen in (link, found):
        if seen.st_uid not in (os.geteuid(), 0):
            return f"'{folder}' belongs to another user"
    if found.st_mode & _OTHERS_WRITE:
        return f"others can write to '{folder}'"
    return None


def _temporary(problem: str) -> Path | None:
    folder = _reserved()
    if _is_ours(folder):
        return folder
    if folder in _refusals:
        return None
    place = f"'{folder}' serves until this command ends"
    try:
        folder.mkdir(mode=0o700)
    except OSError as refused:
        _refusals[folder] = place = f"nor in '{folder}': {refused.strerror}"
    warnings.warn(
        f"{problem}; {place}; the next command compiles them again; set XDG_CACHE_HOME to a "
        "folder of yours",
        RuntimeWarning,
        stacklevel=4,
    )
    return folder if _is_ours(folder) else None


def _reserved() -> Path:
    """The name of the temporary folder of this tree of processes, whether it is there or not. The
    process that chose it removes it."""
    given = Path(os.environ.get(TEMPORARY, ""))
    if given.is_absolute() and (_is_ours(given) or not os.path.lexists(given)):
        return given
    chosen = Path(tempfile.gettempdir()).absolute() / f"clifctl-kernels-{secrets.token_hex(8)}"
    os.environ[TEMPORARY] = str(chosen)
    atexit.register(_remove, chosen, os.getpid())
    return chosen


def _is_ours(folder: Path) -> bool:
    """Whether a folder is this user's alone, and no link."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    mine = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    return folder.is_absolute() and stat.S_ISDIR(found.st_mode) and mine


def _remove(folder: Path, process: int) -> None:
    # A forked child ends too: the folder is its parent's.
    if os.getpid() == process and _is_ours(folder):
        shutil.rmtree(folder, ignore_errors=True)
