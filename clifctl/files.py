"""Files: what `~` stands for, one answer to "may this be written", atomic writes, JSON.


Two kinds of files are written in two ways. A file that a person has named (`write_output`) is
written where that name leads. A file of clifctl's own, in a folder that others may share
(`write_atomically`, `open_own`), is written there and nowhere else: a link is replaced.
"""

import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from clifctl.errors import DiskFailed, OutputError, UsageError


def expanded(path: str | Path) -> Path:
    """`path` with the home folder that its `~` or `~name` stands for. Raises UsageError where there
    is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        home = Path(path).parts[0]
        raise UsageError(
            f"'{path}': no home folder is known for '{home}'", hint="write the folder in full"
        ) from None


Writer = Callable[[IO[bytes]], Any]
# What the system answers for a disk that is full or broken, or a quota that is used up.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# Neither through a link nor waiting for the other end of a pipe, where the system can say so.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def exists(path: Path) -> bool:
    """Whether something is at `path`, a dangling link included. Raises OutputError if the system
    will not say."""
    try:
        return os.path.lexists(path)
    except (OSError, ValueError) as refused:
        raise cannot_write(path, refused) from None


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder. Raises OutputError if the system will not say."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as refused:
        raise cannot_write(path, refused) from None


def require_folder_possible(path: Path) -> None:
    """Raise OutputError unless `path` is a folder that can be written to, or could be made."""
    place = path.absolute()
    while not exists(place):
        place = place.parent
    if not is_folder(place):
        what = "is a file" if place.is_file() else "is no folder"
        raise OutputError(f"cannot write '{path}': '{place}' {what}", hint="choose another place")
    _require_permission(path, place)


def require_file_possible(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError unless the file `path` can be written, and may be: an existing file needs
    `overwrite`, a device or a pipe does not. Writes nothing."""
    if is_folder(path):
        raise OutputError(f"'{path}' is a folder", hint="give the name of a file")
    there = exists(path)
    if there and not path.exists():
        raise OutputError(f"'{path}' is a link to nothing", hint="choose another name")
    if there and path.is_file() and not overwrite:
        raise OutputError(
            f"'{path}' exists already", hint="choose another name, or add --overwrite"
        )
    parent = path.absolute().parent
    if not is_folder(parent):
        raise OutputError(f"no folder '{path.parent}'", hint="make the folder first")
    _require_permission(path, path if there else parent)
    if len(os.fsencode(path.name)) > 240:
        raise OutputError(
            f"the name '{path.name[:40]}...' is too long", hint="choose a shorter one"
        )


def _require_permission(path: Path, place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise OutputError(
            f"cannot write '{path}': no permission, or a file system that is read-only",
            hint="choose another place",
        )


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file, whether it exists or not."""
    return os.path.realpath(one) == os.path.realpath(other)


def write_text(path: Path, text: str) -> None:
    """Write a text file of clifctl's own, as `write_atomically` does. Raises OutputError."""
    # A name need not be UTF-8: what cannot be shown is escaped, as on a terminal.
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_atomically(path: Path, write: Writer) -> None:
    """Write a file of clifctl's own, in a folder that others may share, through a temporary file,
    fsync and rename: `path` is the old file or the new one. A link there, or a pipe, is replaced
    and never followed. Raises OutputError where that fails."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    except OSError as refused:
        raise cannot_write(path, refused) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            # mkstemp makes files for the owner alone; give it what open() would have given. Not by
            # its name, which in a shared folder may be another file's by now.
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as refused:
        raise cannot_write(path, refused) from None
    finally:
        with suppress(OSError):  # what went wrong before is what is told
            Path(temporary).unlink(missing_ok=True)


def write_output(path: Path, write: Writer) -> None:
    """Write the file that a person has named: where a link points to, atomically, on whatever file
    system that is; a device or a pipe as it is. Raises OutputError where that fails."""
    if not exists(path) or path.is_file():
        write_atomically(Path(os.path.realpath(path)), write)
        return
    try:
        with path.open("wb") as stream:
            write(stream)
    except OSError as refused:
        raise cannot_write(path, refused) from None


def open_own(path: Path, flags: int) -> int:
    """A descriptor of the regular file `path` of clifctl's own, in a folder that others may share,
    made where it is not there. A link there, or a pipe, is replaced and never followed. Raises
    OSError."""
    while True:
        remove_irregular(path)
        try:
            descriptor = os.open(path, flags | os.O_CREAT | _AS_IT_IS, 0o666)
        except OSError as refused:
            # Someone has put a link there just now; of a file system that has none it is final.
            if refused.errno == errno.ELOOP and path.is_symlink():
                continue
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)


def remove_irregular(path: Path) -> None:
    """Remove the link or the pipe that is where a regular file of clifctl's own belongs. Raises
    OSError."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def cannot_write(path: Path, refused: Exception) -> OutputError:
    """The error for a system's refusal at `path`."""
    reason = getattr(refused, "strerror", None) or str(refused)
    if isinstance(refused, OSError) and refused.errno in DISK:
        return DiskFailed(
            f"cannot write '{path}': {reason}", hint="make room there, or choose another place"
        )
    return OutputError(f"cannot write '{path}': {reason}", hint="choose another place")


def parse_json(text: str) -> Any:
    """The value that a JSON text of a person's own holds. Raises ValueError, in words, for what is
    no JSON, for nesting without measure, and for a key that is given twice."""
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as broken:
        raise ValueError(f"is not JSON: {broken.msg}, line {broken.lineno}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == one for one, _ in pairs) > 1)
        raise ValueError(f"gives the key {json.dumps(twice)} twice")
    return found


def to_json(document: Any, *, indent: int | None = None) -> str:
    """JSON text; a number that JSON does not have (NaN, infinity) is null."""
    return json.dumps(plain(document), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` with tuples as lists and numbers that are not finite as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
