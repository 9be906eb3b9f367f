"""Reading files that somebody else may have made: regular files alone, and no larger than they may
be."""

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

MIB = 2**20
MOST_GIVEN_BYTES = 8 * MIB  # of a recipe, or of numbers in JSON
MOST_LOG_BYTES = 1024 * MIB  # of the metrics of a run
MOST_TEXT_BYTES = 64 * MIB  # of a list of files, or of what a text says of them
# Of packed files so much is read whatever it was packed into; what grows further beyond is taken
# for a bomb.
ALWAYS_READ_BYTES = 64 * MIB
MOST_GROWTH = 32


class TooLarge(OSError):
    """A file that is larger than any honest one of its kind."""


def open_regular(path: Path) -> BufferedReader:
    """`path`, open for reading. Raises OSError where it is no regular file: a pipe would be waited
    for, a device has no end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as unnameable:  # a zero byte, or a character that no file name has
        raise OSError(errno.EINVAL, f"no name of a file ({unnameable})", str(path)) from None
    file = os.fdopen(descriptor, "rb")
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def size_bytes(file: BufferedReader) -> int:
    """The size of an open file."""
    return os.fstat(file.fileno()).st_size


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError (TooLarge)."""
    with open_regular(path) as file:
        size = size_bytes(file)
        if size > most:
            reason = f"it has {size:,} bytes, at most {most:,} are read"
            raise TooLarge(errno.EFBIG, reason, str(path))
        return file.read(size)


def read_text(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """The text of a regular file in UTF-8, line ends as Python reads them. Raises OSError,
    UnicodeDecodeError."""
    return _lines(read_bytes(path, most))


def read_json(path: Path, most: int = MOST_TEXT_BYTES) -> Any:
    """The value of a JSON file that clifctl wrote, or somebody in its place. Raises OSError, and
    ValueError for what is no JSON, or is nested without measure."""
    try:
        return json.loads(read_text(path, most))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_lines(path: Path, most: int = MOST_LOG_BYTES) -> list[str]:
    """The lines of a log of clifctl's own; what is no UTF-8 in it is marked. Raises OSError."""
    return read_bytes(path, most).decode(errors="replace").splitlines()


def read_given_text(path: Path, most: int = MOST_GIVEN_BYTES) -> str:
    """The text in UTF-8 of a file that a person named, which may be a pipe; of what has no end,
    no more than `most` bytes are taken. Raises OSError (TooLarge), UnicodeDecodeError."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLarge(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return _lines(content)


def _lines(content: bytes) -> str:
    return content.decode().replace("\r\n", "\n").replace("\r", "\n")
