"""Arrays out of .npz files that other people wrote."""

from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


class BadArrays(Exception):
    """A file that is no whole .npz of plain arrays; the message says why and names no file."""


def read_arrays(path: Path) -> Arrays:
    """The arrays of the .npz file `path` by their names, in its order.

    Raises BadArrays for a file that is broken, or whose arrays would have to be unpickled, OSError
    for one that cannot be opened.
    """
    # Opened here: numpy leaves a file open that turns out to be no archive.
    with path.open("rb") as stream:
        try:
            opened = np.load(stream, allow_pickle=False)
            if isinstance(opened, np.ndarray):
                raise ValueError("one array, as in an .npy file")
            with opened:
                found = {name: opened[name] for name in opened.files}
        except Exception as broken:
            # Broken bytes make zip and numpy raise anything; the file is refused as a whole. numpy
            # goes on with how to load it unsafely.
            why = str(broken).partition(". ")[0]
            raise BadArrays(f"corrupted, cut off, or no .npz of plain arrays ({why})") from broken
    # What else lies in the archive comes as its bytes.
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}
