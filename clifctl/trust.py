"""Which files of a person's own may be run: those that were named at the prompt, and those that lie
beside the recipe that names them and belong to this user.

A recipe, a checkpoint and a run folder may come from somebody else. What they name is not run for
that reason alone.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Ask = Callable[[str], bool]


@dataclass
class _Trusted:
    """The files of one command, by their absolute paths, and how a person can be asked."""

    files: set[str] = field(default_factory=set)
    named: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    ask: Ask | None = None


_trusted = _Trusted()


def is_file_reference(reference: str) -> bool:
    """Whether `reference` is FILE.py:NAME."""
    return ".py:" in reference


def name_in_file(reference: str) -> str:
    """The NAME of FILE.py:NAME."""
    return reference.rpartition(":")[2]


def file_of(reference: str) -> str:
    """The absolute path of the file of FILE.py:NAME, which is relative to the working folder."""
    return os.path.abspath(reference.rpartition(":")[0])


def allow(reference: str) -> None:
    """Trust the file of FILE.py:NAME, because a person named it."""
    _trusted.files.add(file_of(reference))
    if reference not in _trusted.named:
        _trusted.named.append(reference)


def named() -> tuple[str, ...]:
    """Every FILE.py:NAME that a person named, in order."""
    return tuple(_trusted.named)


def allow_files(files: Iterable[str]) -> None:
    """Trust files by their absolute paths, because another process of this command does."""
    _trusted.files.update(files)


def files() -> tuple[str, ...]:
    """The files that are trusted, to be handed on to a worker."""
    return tuple(sorted(_trusted.files))


def allow_named(value: Any) -> None:
    """Trust each FILE.py:NAME in a value that a person typed."""
    if isinstance(value, str) and is_file_reference(value):
        allow(value)
    elif isinstance(value, dict):
        allow_named(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            allow_named(item)


def allow_beside(reference: str, folder: Path) -> None:
    """Trust the file of FILE.py:NAME where it lies in `folder`, which a recipe does too, and
    belongs to this user; not one that everybody may write to. A link belongs where it leads to."""
    try:
        path = os.path.realpath(file_of(reference))
        status = os.stat(path)
        mine = status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH
    except (OSError, ValueError):
        return
    if mine and os.path.dirname(path) == os.path.realpath(folder):
        _trusted.files.add(file_of(reference))


def allows(reference: str) -> bool:
    """Whether the file of FILE.py:NAME may be run; a person who can be asked is asked once. A file
    that is not there cannot do any harm: that it is missing is told elsewhere."""
    path = file_of(reference)
    if path in _trusted.files or not os.path.isfile(path):
        return True
    if _trusted.ask is None or path in _trusted.refused:
        return False
    answered = _trusted.ask(f"a recipe or checkpoint names {reference}. Run the file '{path}'?")
    (_trusted.files if answered else _trusted.refused).add(path)
    return answered


@contextmanager
def only(references: Iterable[str], paths: Iterable[str] = ()) -> Iterator[None]:
    """Within it the files of `references` alone are trusted, as a person named them, and those of
    absolute `paths`; nobody is asked."""
    global _trusted
    before, _trusted = _trusted, _Trusted()
    try:
        allow_files(paths)
        for reference in references:
            allow(reference)
        yield
    finally:
        _trusted = before


def start(ask: Ask | None = None) -> None:
    """Trust nothing yet: a command begins. `ask` puts a question to a person, if there is one."""
    _trusted.files.clear()
    _trusted.named.clear()
    _trusted.refused.clear()
    _trusted.ask = ask
