"""Folders that people filled: `train/<class>/*` and `test/<class>/*`, and the files of a class.

What a system or an editor leaves there counts for nothing: names that begin with a dot
(`.ipynb_checkpoints`, `._0.png`), and some that are known.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clifctl import amounts
from clifctl.data.contract import PARTS
from clifctl.data.images import Place

LEFT_THERE = frozenset({"__MACOSX", "__pycache__", "@eaDir", "lost+found"})


@dataclass(frozen=True)
class Found:
    """Files with an ending that was looked for, and all others, in the order of their paths."""

    files: tuple[Path, ...]
    others: tuple[Path, ...]


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in LEFT_THERE


def files_in(folder: Path, endings: Collection[str], place: Place, *, below: bool = False) -> Found:
    """The files in `folder`, with `below` at any depth; `endings` are small letters.

    Raises DataError for a file that was looked for and is a link to nothing, and for a folder that
    cannot be read, or is a link below `folder`. A folder that is not there has no files.
    """

    found = list(walked(folder, place, below=below)) if folder.is_dir() else []
    files = [path for path in found if path.suffix.lower() in endings]
    for path in files:
        if not path.is_file():
            raise place.error(
                f"'{path}' is {'a link to nothing' if path.is_symlink() else 'no file'}"
            )
    return Found(tuple(sorted(files)), tuple(sorted({*found} - {*files})))


def walked(folder: Path, place: Place, *, below: bool = True) -> Iterator[Path]:
    """The files in `folder`, with `below` at any depth, folder by folder and each in the order of
    its names, of which one folder's are held at a time. Raises DataError as `files_in` does."""

    def refuse(refused: OSError) -> None:
        raise place.error(f"'{refused.filename}' cannot be read: {refused.strerror}") from refused

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(filter(_counts, folders)) if below else ()
        for linked in (path for name in folders if (path := Path(parent, name)).is_symlink()):
            raise place.error(
                f"'{linked}' is a link to a folder, which is not followed",
                hint="link to the files, or make the class's own folder a link",
            )
        yield from (Path(parent, name) for name in sorted(names) if _counts(name))


def classes_in(folder: Path, endings: Collection[str], place: Place) -> list[str]:
    """The names of the classes in `folder`, in the order of their labels.

    Raises DataError, also for a file with one of `endings` that is in no class's folder.
    """
    if not folder.is_dir():
        raise place.error(f"the folder '{folder}' is missing")
    stray = files_in(folder, endings, place).files
    if stray:
        raise place.error(
            f"'{stray[0]}' is in no class's folder", hint=f"move it into '{folder}/<class>/'"
        )
    classes = _classes(folder)
    if len(classes) < 2:
        raise place.error(
            f"'{folder}' has {len(classes) or 'no'} folder of a class, two or more are needed",
            hint=f"one folder per class: '{folder}/<class>/'",
        )
    return classes


def _classes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if _counts(path.name) and path.is_dir())


def classes_of(root: Path, endings: Collection[str], place: Place) -> list[str]:
    """The names of the classes of both parts below `root`, in the order of their labels. Raises
    DataError, also where the two parts have others."""
    train, test = (classes_in(root / part, endings, place) for part in PARTS)
    different = sorted(set(train) ^ set(test))
    if different:
        has, lacks = PARTS if different[0] in train else reversed(PARTS)
        raise place.error(
            f"class '{different[0]}' is in '{root / has}' and not in '{root / lacks}'"
        )
    return train


def names_of_classes(root: Path) -> tuple[str, ...] | None:
    """The names of the classes in the order of their labels; None where there are none."""
    with suppress(OSError):
        return tuple(_classes(root / PARTS[0])) or None
    return None


def counted(classes: int, what: str, files: int, others: Collection[Path]) -> str:
    """How many classes and files were found, and how many files are passed over."""
    text = f"{amounts.counted(classes, 'class', 'classes')}, {files:,} {what}"
    if others:
        kinds = sorted({path.suffix.lower() or path.name for path in others})
        more = ", ..." if len(kinds) > 3 else ""
        one = "" if len(others) == 1 else "s"
        text += f", {len(others):,} other file{one} ({', '.join(kinds[:3])}{more}) passed over"
    return text
