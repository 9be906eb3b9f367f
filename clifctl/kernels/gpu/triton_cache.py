"""Triton's machine code: kept in a trusted folder, and used only where its checksum holds.

Triton's own cache runs what it finds below ~/.triton, unchecked; without a home directory it makes
a folder `~` where it is called.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from clifctl.kernels.cache_folder import (
    close_to_others,
    folder_at,
    give_up,
    may_be_read,
    preferred_folder,
    require_trusted,
    writable_folder,
)

FOLDER, MANAGER = "TRITON_CACHE_DIR", "TRITON_CACHE_MANAGER"
# In the folder of kernels.
_OWN = "triton"
_CHECKSUM = ".sha256"


@lru_cache(maxsize=1)
def use_checked_cache() -> None:
    """Tell Triton where its cache is, and how it is read. A folder that the environment names is
    used where it may be trusted; a manager that it names (TRITON_CACHE_MANAGER) is left in
    place."""
    try:
        from triton import knobs
    except ImportError:  # Triton before 3.4: where its cache is can be told, not how it is read
        knobs = None

    if FOLDER in os.environ or "TRITON_HOME" in os.environ:
        named = _named_folder()
        try:
            named.mkdir(mode=0o755, parents=True, exist_ok=True)
            require_trusted(named)
        except OSError as refused:
            warnings.warn(
                f"Triton's cache '{named}' is not used: {refused.strerror}",
                RuntimeWarning,
                stacklevel=2,
            )
            _use_own_folder()
    else:
        _use_own_folder()
    if knobs is not None and MANAGER not in os.environ:
        knobs.cache.manager_class = _manager()


def _named_folder() -> Path:
    """The folder that the environment names, as Triton reads it."""
    if folder := os.environ.get(FOLDER, "").strip():
        return Path(folder)
    return Path(os.environ.get("TRITON_HOME", "")) / ".triton" / "cache"


def damaged(folder: Path) -> Iterator[Path]:
    """Triton's files in a folder of kernels that are not what their checksum says."""
    for checksum in sorted((folder / _OWN).glob(f"*/*{_CHECKSUM}")):
        path = checksum.with_name(checksum.name.removesuffix(_CHECKSUM))
        if not _holds(path):
            yield path


def _use_own_folder() -> None:
    folder = writable_folder()
    if folder is not None:
        own = folder / _OWN
        with suppress(OSError):
            own.mkdir(mode=0o755, exist_ok=True)
        os.environ[FOLDER] = str(own)


def _manager() -> Any:
    """The class of Triton's cache of one kernel, with a checksum beside each file."""
    from triton.runtime.cache import FileCacheManager

    class CheckedCache(FileCacheManager):  # type: ignore[misc]
        """Files without their checksum are not there: Triton compiles again, and replaces them."""

        def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
            try:
                super().__init__(key, override=override, dump=dump)
            except OSError as refused:
                self._move(key, refused)
                super().__init__(key, override=override, dump=dump)
            # Kernels that a person puts in the place of compiled ones have no checksum.
            self._checked = not (override or dump)
            if self._checked:
                close_to_others(Path(self.cache_dir))

        def has_file(self, filename: str) -> bool:
            path = Path(self._make_path(filename))
            return _holds(path) if self._checked else path.exists()

        def get_group(self, filename: str) -> dict[str, str] | None:
            group: dict[str, str] | None = super().get_group(filename)
            whole = group is None or all(_holds(Path(path)) for path in group.values())
            return group if whole or not self._checked else None

        def put(self, data: Any, filename: str, binary: bool = True) -> str:
            try:
                return self._put(data, filename)
            except OSError as refused:
                self._move(self.key, refused)
                super().__init__(self.key)
                return self._put(data, filename)

        def _put(self, data: Any, filename: str) -> str:
            content = data if isinstance(data, bytes) else str(data).encode()
            path: str = super().put(content, filename)
            if self._checked:
                _settle(path)
                checksum = hashlib.sha256(content).hexdigest().encode()
                _settle(super().put(checksum, filename + _CHECKSUM))
            return path

        def _move(self, key: str, refused: OSError) -> None:
            """Go on in the temporary folder, where the disk of this one refuses."""
            preferred = folder_at(preferred_folder())
            before = os.environ.get(FOLDER)
            if preferred is not None and before == str(preferred.path / _OWN):
                give_up(preferred, refused)
                _use_own_folder()
            if os.environ.get(FOLDER) == before:
                raise refused

    return CheckedCache


def _holds(path: Path) -> bool:
    """Whether a file is what its checksum says, and nobody else's."""
    with suppress(OSError, ValueError):
        checksum = path.with_name(path.name + _CHECKSUM).read_text(encoding="ascii")
        ours = may_be_read(path.parent.stat()) and may_be_read(path.lstat())
        return ours and hashlib.sha256(path.read_bytes()).hexdigest() == checksum
    return False


def _settle(path: str) -> None:
    """Close a file that was written to others, and have it on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
