"""Generated sources as real files, in a folder keyed by their content."""

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from clifctl.errors import OutputError

NOT_IN_NAMES = r"[^A-Za-z0-9_]"


def load_module(name: str, text: str) -> ModuleType:
    """The module of a generated source: the same text is the same file, and compiled once.

    A file is written under a temporary name and renamed, so that processes that start at once see
    all of it or none. numba keeps its machine code beside it.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:20]
    full_name = f"clifctl_{re.sub(NOT_IN_NAMES, '_', name)}_{digest}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    path = cache_folder() / f"{full_name}.py"
    if not path.is_file():
        _write(path, text)
    spec = importlib.util.spec_from_file_location(full_name, path)
    if spec is None or spec.loader is None:
        raise OutputError(f"cannot load the generated kernel '{path}'")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return sys.modules.setdefault(full_name, module)


def cache_folder() -> Path:
    """Where generated kernels are kept: $XDG_CACHE_HOME/clifctl, ~/.cache/clifctl, or, where that
    cannot be written, a temporary folder, with a warning."""
    return _usable(preferred_folder())


def preferred_folder() -> Path:
    """Where generated kernels should be kept, whether that can be written or not."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "clifctl" / "kernels"


@lru_cache(maxsize=8)
def _usable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as refused:
        temporary = Path(tempfile.mkdtemp(prefix="clifctl-kernels-"))
        warnings.warn(
            f"kernels cannot be cached in '{folder}' ({refused.strerror}): using '{temporary}', "
            "they will be compiled again by every process; set XDG_CACHE_HOME",
            RuntimeWarning,
            stacklevel=2,
        )
        return temporary


def _write(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # Never replace a file of the same content: numba compares times of modification.
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:
            os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
