"""Events as lines of text: a first line that names the columns, then an event a line.

It is read here and not by the package faery, which takes the order of the columns for given, and
raises a time that runs backwards to the one before.
"""

import io

import numpy as np

from clifctl.data.events.recordings import (
    BadRecording,
    Events,
    geometry_of,
    is_on,
    require_room,
    whole,
)

# What the columns are called, in small letters.
NAMES = {
    "t": ("t", "time", "timestamp", "ts"),
    "x": ("x", "column"),
    "y": ("y", "row"),
    "p": ("p", "pol", "polarity", "on"),
}


def read_csv(content: bytes) -> tuple[Events, tuple[int, int] | None]:
    """The events in `content`, in its order: whole numbers, times in microseconds. Rows and columns
    of the camera where the names of y and x have them, as faery writes them ("t,x@640,y@480,on").

    Raises BadRecording where the columns have no names, for a line that is no event, and where the
    last line has no end.
    """
    first, _, rest = content.partition(b"\n")
    line = first.decode("utf-8", "replace").removeprefix("\ufeff")
    named = [name.strip().strip('"').lower().partition("@") for name in line.split(",")]
    columns = _columns([name for name, _, _ in named])
    height, width = (named[columns["txyp".index(key)]][2] for key in "yx")
    if not rest.strip():
        raise BadRecording("no event")
    if not rest.endswith(b"\n"):
        raise BadRecording("cut off: its last line does not end")
    require_room(rest.count(b"\n"))
    try:
        with io.TextIOWrapper(io.BytesIO(rest), "utf-8") as lines:
            table = np.loadtxt(lines, np.int64, delimiter=",", usecols=columns, ndmin=2)
    except ValueError as wrong:
        raise BadRecording(f"a line that is no event of whole numbers: {wrong}") from None
    t, x, y, p = (whole(key, column) for key, column in zip("txyp", table.T, strict=True))
    return Events(t, x, y, is_on(p)), geometry_of(height, width)


def _columns(names: list[str]) -> list[int]:
    """Where t, x, y and p are among the names of the columns."""
    found: list[int] = []
    for key, known in NAMES.items():
        places = [place for place, name in enumerate(names) if name in known]
        if len(places) != 1:
            raise BadRecording(
                f"its first line names {'no' if not places else 'more than one'} column {key}: it "
                "must name the columns of the events, such as t,x,y,p"
            )
        found += places
    return found
