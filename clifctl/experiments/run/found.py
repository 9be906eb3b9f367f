"""The folders below a folder: those of runs, and those of grids with their trials."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clifctl.errors import RunFolderError
from clifctl.training import run_folder

# runs/<run>, runs/<results of a grid>/<trial>
DEPTH = 3


@dataclass(frozen=True)
class FoundFolder:
    """A folder and the names of what lies in it; `refused` says why that cannot be read. Nothing
    was looked for in one that is `settled`."""

    path: Path
    names: frozenset[str] = frozenset()
    refused: RunFolderError | None = None
    settled: bool = False

    @property
    def is_run(self) -> bool:
        """Whether a run has begun in it, or it may hold one and cannot be looked into."""
        return self.refused is not None or run_folder.RECIPE in self.names


def folders(
    top: Path, depth: int = DEPTH, settled: Callable[[Path], bool] = lambda path: False
) -> Iterator[FoundFolder]:
    """`top` and the folders below it, a folder before what lies in it, run 10 after run 9. Nothing
    is looked for in the folder of a run, nor behind a symbolic link, nor where all is `settled`."""
    if settled(top):
        yield FoundFolder(top, settled=True)
        return
    try:
        with os.scandir(top) as entries:
            found = list(entries)
        below = (
            [] if not depth else [one.name for one in found if one.is_dir(follow_symlinks=False)]
        )
    except OSError as refused:
        problem = RunFolderError(f"it cannot be read: {refused.strerror}")
        yield FoundFolder(top, refused=problem)
        return
    here = FoundFolder(top, frozenset(one.name for one in found))
    yield here
    if not here.is_run:
        for name in sorted(below, key=natural):
            yield from folders(top / name, depth - 1, settled)


@lru_cache(maxsize=1 << 16)
def natural(name: str) -> tuple[str | float, ...]:
    """Sorts run 10 after run 9, and lr0.1 after lr0.05."""
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?)", name)
    return tuple(float(part) if at % 2 else part for at, part in enumerate(parts))
