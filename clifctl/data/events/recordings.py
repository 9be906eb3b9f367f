"""Events of a camera, and how they are read from files.

An event is (t, x, y, p): a time in microseconds, a column, a row, and a polarity: 1 (ON) where it
became brighter, 0 (OFF) where darker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from clifctl.data.archives import Array, ArrayMissing, BadArchive, read_arrays, require_memory

POLARITIES = ("OFF", "ON")
LARGEST = 2**62  # of times: their differences are whole numbers of 64 bits too
# As many as a file of 512 MiB has that takes eight bytes for each, as AEDAT and DAT do.
MOST_EVENTS = 2**26
EVENT_BYTES = 25  # of Events
MOST_DIGITS = 9  # of rows and columns


class BadRecording(Exception):
    """A file that is cut off, or holds no events that can be used; the message names no file."""


@dataclass(frozen=True)
class Events:
    """Times [us], columns, rows (all int64) and polarities (bool, True: ON) `[events]`."""

    t: Array
    x: Array
    y: Array
    p: Array

    def __len__(self) -> int:
        return len(self.t)

    @property
    def in_order(self) -> bool:
        """Whether no event is earlier than the one before it."""
        return bool((np.diff(self.t) >= 0).all())

    def where(self, mask: Array) -> "Events":
        """The events for which `mask` is true."""
        return Events(self.t[mask], self.x[mask], self.y[mask], self.p[mask])

    @classmethod
    def joined(cls, parts: Sequence["Events"]) -> "Events":
        """The events of all parts, one after the other."""
        if not parts:
            return cls(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int64, bool)))
        return cls(*(np.concatenate([getattr(one, key) for one in parts]) for key in "txyp"))

    def by_time(self) -> "Events":
        """The events in the order of their times, those of one time in the order that they have."""
        return self if self.in_order else self.where(np.argsort(self.t, kind="stable"))


def require_room(events: int) -> None:
    """Raise BadRecording for more events than an honest recording has, or than memory."""
    if events > MOST_EVENTS:
        raise BadRecording(f"more than {MOST_EVENTS:,} events, no recording has so many")
    try:
        require_memory(events * EVENT_BYTES)
    except BadArchive as full:
        raise BadRecording(str(full)) from None


def require_in_order(events: Events) -> None:
    """Raise BadRecording where times run backwards."""
    if not events.in_order:
        number = int(np.flatnonzero(np.diff(events.t) < 0)[0]) + 1
        before, after = events.t[number - 1 : number + 1].tolist()
        raise BadRecording(f"times run backwards: from {before} to {after} us at event {number}")


@dataclass(frozen=True)
class Sample:
    """What one sample is called, and its label."""

    name: str
    label: int


class Recording(Protocol):
    """A file with one or more samples. Workers read it: it can be pickled."""

    @property
    def path(self) -> Path: ...
    @property
    def samples(self) -> tuple[Sample, ...]: ...
    @property
    def cut(self) -> str:
        """What decides which events a sample has, beside the file: "" where it is all of them."""
        ...

    def read(self) -> list[Events]:
        """The events of each sample. Raises BadRecording, OSError."""
        ...


@dataclass(frozen=True)
class NpzRecording:
    """One sample as arrays t, x, y, p in an .npz file: SpikingJelly's `events_np`, or your own."""

    path: Path
    name: str
    label: int

    @property
    def samples(self) -> tuple[Sample, ...]:
        return (Sample(self.name, self.label),)

    @property
    def cut(self) -> str:
        return ""

    def read(self) -> list[Events]:
        """The events, in the order of the file. Raises BadRecording, OSError."""
        try:
            arrays = read_arrays(self.path, "txyp", used_as=8)
        except ArrayMissing as missing:
            raise BadRecording(str(missing)) from None
        except BadArchive as broken:
            raise BadRecording(
                f"corrupted, cut off, or not an .npz of plain arrays ({broken})"
            ) from broken
        t, x, y, p = (arrays[key] for key in "txyp")
        shapes = {array.shape for array in (t, x, y, p)}
        if len(shapes) != 1 or t.ndim != 1:
            raise BadRecording("t, x, y and p must be lists of the same length")
        found = {key: whole(key, arrays[key]) for key in "txyp"}
        if t.dtype.itemsize == 4:
            _require_no_overflow(found["t"])
        return [Events(found["t"], found["x"], found["y"], is_on(found["p"]))]


def geometry_of(height: str, width: str) -> tuple[int, int] | None:
    """Rows and columns of a camera after the words of a file; None where these are no numbers.
    Raises BadRecording."""
    if not (height.isdecimal() and width.isdecimal()):
        return None
    if max(len(height), len(width)) > MOST_DIGITS:
        raise BadRecording(f"a camera whose size has more than {MOST_DIGITS} digits")
    return int(height), int(width)


def whole(key: str, array: Array) -> Array:
    """The whole numbers of `array` as int64. Raises BadRecording."""
    if array.dtype.kind not in "uib":
        raise BadRecording(f"{key} is {array.dtype}, must be whole numbers")
    for number in (int(array.min()), int(array.max())) if len(array) else ():
        if abs(number) >= LARGEST:
            raise BadRecording(f"{key} holds {number}, which is beyond 2**62")
    return array.astype(np.int64)


def _require_no_overflow(t: Array) -> None:
    """Raise BadRecording where times of 32 bits go back as they do when their counter is full."""
    back = np.flatnonzero(np.diff(t) <= -(2**31))
    if len(back):
        number = int(back[0]) + 1
        raise BadRecording(
            f"t goes back from {t[number - 1]} to {t[number]} at event {number}: a counter of 32 "
            "bits ran over; add 2**32 from there on, as int64"
        )


def is_on(p: Array) -> Array:
    """Whether each event is ON. Raises BadRecording for what is no polarity."""
    wrong = p[(p < -1) | (p > 1)]
    if len(wrong):
        raise BadRecording(f"an event of polarity {wrong[0]}: 1 is ON, 0 and -1 are OFF")
    return np.equal(p, 1)
