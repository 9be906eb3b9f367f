"""Generated kernels on disk: their sources, to be read, and their machine code, to be run.

Sources are run from memory; their files are for people and debuggers. Machine code is read from
trusted folders alone (see `clifctl.kernels.cache_folder`), and only where its checksum holds:
whatever else is there is made again.
"""

import hashlib
import linecache
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from clifctl.kernels.cache_folder import (
    folder_at,
    give_up,
    may_be_read,
    preferred_folder,
    readable_folders,
    writable_folder,
)

NOT_IN_NAMES = r"[^A-Za-z0-9_]"
# The end of a file of machine code, which starts with the checksum of the rest.
CODE = ".code"
_CHECKSUM_BYTES = hashlib.sha256().digest_size
_DIGITS = 20


def load_module(name: str, text: str) -> ModuleType:
    """The module of a generated source, compiled once a process.

    What is run is `text`: a file of the same name that holds anything else is replaced.
    """
    full_name = f"clifctl_{re.sub(NOT_IN_NAMES, '_', name)}_{_digest(text.encode())}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    path = _source_file(f"{full_name}.py", text.encode())
    module = ModuleType(full_name)
    module.__file__ = str(path)
    # Tracebacks and Triton ask for lines by the file's name. Without a time they are kept.
    linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
    exec(compile(text, path, "exec"), vars(module))
    return sys.modules.setdefault(full_name, module)


def title_of(module: str) -> str:
    """The name of a module of kernels in words; a generated one's without its digest."""
    return re.sub(rf"^clifctl_|_[0-9a-f]{{{_DIGITS}}}$", "", module).replace("_", " ")


def load(name: str) -> bytes | None:
    """The machine code that was kept as `name`; None where there is none that can be used."""
    for folder in readable_folders():
        code = _code(folder / name)
        if code is not None:
            return code
    return None


def store(name: str, code: bytes) -> None:
    """Keep machine code as `name`, if that can be done anywhere."""
    _write(name, hashlib.sha256(code).digest() + code)


def damaged(folder: Path) -> Iterator[Path]:
    """The files of a folder of kernels that do not hold what was written: they will be replaced
    when they are needed."""
    for path in sorted(folder.glob(f"*{CODE}")):
        if _code(path) is None:
            yield path
    for path in sorted(folder.glob(f"clifctl_*_{'?' * _DIGITS}.py")):
        text = _read(path)
        if text is None or not path.stem.endswith(_digest(text)):
            yield path


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


def _source_file(name: str, text: bytes) -> Path:
    """The file that holds a source, if it can be written; its name in any case."""
    for folder in readable_folders():
        if _read(folder / name) == text:
            return folder / name
    written = _write(name, text)
    return written or (preferred_folder() or Path(tempfile.gettempdir())) / name


def _code(path: Path) -> bytes | None:
    held = _read(path)
    if held is None:
        return None
    checksum, code = held[:_CHECKSUM_BYTES], held[_CHECKSUM_BYTES:]
    return code if hashlib.sha256(code).digest() == checksum else None


def _read(path: Path) -> bytes | None:
    """A file's bytes; None for what is no file of this user's or root's alone, or no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            return file.read() if stat.S_ISREG(found.st_mode) and may_be_read(found) else None
    except OSError:
        return None


def _write(name: str, content: bytes) -> Path | None:
    """Write a file where one can be written, the temporary folder at the last; None without one."""
    folder = writable_folder()
    if folder is None:
        return None
    try:
        return _replace(folder / name, content)
    except OSError as refused:
        preferred = folder_at(preferred_folder())
        if preferred is None or folder != preferred.path:
            return None
        give_up(preferred, refused)
        return _write(name, content)


def _replace(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name and rename it: processes that start at once, and a
    machine that stops, leave all of it or none."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return path
