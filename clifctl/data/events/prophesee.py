"""The files of Prophesee's cameras: RAW, in the formats EVT 2.0 and EVT 3.0, and DAT.

Sources: docs.prophesee.ai, Data Encoding Formats (EVT 2.0, EVT 3.0) and DAT File Format. They are
read here and not by the package faery, which raises a time that runs backwards to the one before,
loses what a vector has beyond the sensor, takes a file without a geometry for one of 1280x720, and
refuses the DAT files of generic events ("2d"), as N-CARS has them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.recordings import BadRecording, Events, geometry_of, require_room

LINE = b"% "
END_OF_HEADER = "end"
MOST_HEADER_BYTES = 64 * 1024
# Words that are decoded at once: an EVT 3.0 word may be of twelve events.
CHUNK = 2**18
UNKNOWN = -1
# What the first byte after the header of a DAT file says of its events, and the second.
DAT_KINDS = {0x00: "generic (2d)", 0x0C: "contrast detection (cd)"}
DAT_EVENT_BYTES = 8
DAT_BITS = {"1": (9, 8), "2": (14, 14)}  # of column and row, by version


@dataclass(frozen=True)
class Header:
    """The lines at the start of a file, keyword -> value, and where what follows them begins."""

    values: dict[str, str]
    end: int

    @property
    def geometry(self) -> tuple[int, int] | None:
        """Rows and columns of the camera; None where they are not written down. Raises
        BadRecording."""
        named = dict(
            part.split("=", 1) for part in self.values.get("format", "").split(";") if "=" in part
        )
        if "geometry" in self.values:
            named = dict(zip(("width", "height"), self.values["geometry"].split("x"), strict=False))
        elif not named:
            named = {key.lower(): value for key, value in self.values.items()}
        width, height = (named.get(key, "").strip() for key in ("width", "height"))
        return geometry_of(height, width)

    @property
    def format(self) -> str | None:
        """EVT2, EVT3, ...; None where it is not written down."""
        if "format" in self.values:
            written = self.values["format"].split(";")[0].strip().upper()
        elif "evt" in self.values:
            written = f"EVT{self.values['evt']}"
        else:
            return None
        return written.removesuffix(".0")


def read_header(content: bytes) -> Header:
    """The header of `content`. Raises BadRecording where there is none, or no end of it."""
    values: dict[str, str] = {}
    place = 0
    while content.startswith(LINE, place):
        end = content.find(b"\n", place, MOST_HEADER_BYTES)
        if end < 0:
            raise BadRecording("it ends within its header, or has none that is known")
        words = content[place + len(LINE) : end].decode("latin-1").split(None, 1)
        place = end + 1
        if words == [END_OF_HEADER]:
            break
        if words:
            values[words[0]] = words[1].strip() if len(words) > 1 else ""
    if not values:
        raise BadRecording("not a file of Prophesee's: it does not begin with '% ' and a keyword")
    return Header(values, place)


def read_raw(content: bytes) -> tuple[Events, tuple[int, int] | None]:
    """The events of a RAW file in its order, and rows and columns of the camera if they are known.

    Events before the first time, or in EVT 3.0 before the first row, have none and are left out, as
    Prophesee's own reader does. Raises BadRecording.
    """
    header = read_header(content)
    if header.format not in WORDS:
        what = f"its format is {header.format}" if header.format else "its header names no format"
        raise BadRecording(f"{what}: {' and '.join(WORDS)} are read")
    if header.values.get("endianness", "little") != "little":
        raise BadRecording(f"its words are {header.values['endianness']}-endian: little are read")
    dtype, decoder = WORDS[header.format]
    if rest := (len(content) - header.end) % dtype.itemsize:
        raise BadRecording(f"cut off: it ends {rest} bytes into a word of {dtype.itemsize}")
    words = np.frombuffer(content, dtype, offset=header.end)
    decode = decoder()
    found: list[Events] = []
    total = 0
    for start in range(0, len(words), CHUNK):
        found.append(decode(words[start : start + CHUNK]))
        total += len(found[-1])
        require_room(total)
    return Events.joined(found), header.geometry


def _last(mask: Array, values: Array, before: int) -> Array:
    """For each word the value at the last one of `mask`, itself included: `before` where there is
    none. `values` are of the words of `mask`."""
    return np.concatenate([[before], values])[np.cumsum(mask)]


def _counted_on(values: Array, bits: int, before: int) -> Array:
    """Values of a counter of so many bits, as one that does not run over: the first after `before`,
    which is that kind of number, or UNKNOWN. A step is the shortest there is."""
    size = 1 << bits
    steps = np.diff(values, prepend=before if before >= 0 else values[:1])
    steps = (steps + size // 2) % size - size // 2
    return np.cumsum(steps) + (before if before >= 0 else values[:1])


class Evt2:
    """Words of 32 bits: each event has the lower six bits of its time, its column and its row."""

    OFF, ON, TIME_HIGH = 0x0, 0x1, 0x8

    def __init__(self) -> None:
        self.high = UNKNOWN

    def __call__(self, words: Array) -> Events:
        kind, words = words >> 28, words.astype(np.int64)
        is_high = kind == self.TIME_HIGH
        highs = _counted_on(words[is_high] & 0xFFFFFFF, 28, self.high)
        high = _last(is_high, highs, self.high)
        self.high = int(high[-1])
        event = (kind <= self.ON) & (high != UNKNOWN)
        words = words[event]
        return Events(
            t=high[event] << 6 | words >> 22 & 0x3F,
            x=words >> 11 & 0x7FF,
            y=words & 0x7FF,
            p=kind[event] == self.ON,
        )


class Evt3:
    """Words of 16 bits: what changes is written, and holds until it changes again."""

    ROW, COLUMN, BASE, VECTOR_12, VECTOR_8, TIME_LOW, TIME_HIGH = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8

    def __init__(self) -> None:
        self.high = self.row = UNKNOWN
        self.low = self.column = self.on = self.based = 0

    def __call__(self, words: Array) -> Events:
        kind, value = words >> 12, (words & 0xFFF).astype(np.int64)
        time = self._times(kind, value)
        is_row = kind == self.ROW
        row = _last(is_row, value[is_row] & 0x7FF, self.row)
        self.row = int(row[-1])
        wide = np.select([kind == self.VECTOR_12, kind == self.VECTOR_8], [12, 8], 0)
        first, on = self._bases(kind, value, wide)
        # [vectors, 12]: whether a vector has an event in the column so many after its first one.
        vectors = np.flatnonzero(wide)
        bits = value[vectors, None] & ((1 << wide[vectors, None]) - 1)
        number, offset = np.nonzero(bits >> np.arange(12) & 1)
        singles = np.flatnonzero(kind == self.COLUMN)
        word = np.concatenate([singles, vectors[number]])
        x = np.concatenate([value[singles] & 0x7FF, first[vectors[number]] + offset])
        in_order = np.argsort(word, kind="stable")
        word, x = word[in_order], x[in_order]
        known = (time[word] >= 0) & (row[word] != UNKNOWN)
        return Events(t=time[word], x=x, y=row[word], p=on[word] == 1).where(known)

    def _times(self, kind: Array, value: Array) -> Array:
        """The time at each word [us]: negative where it is not known."""
        is_high = kind == self.TIME_HIGH
        highs = _counted_on(value[is_high], 12, self.high)
        high = _last(is_high, highs, self.high)
        # The lower bits come anew after each new value of the upper ones.
        new = np.diff(high, prepend=self.high) != 0
        is_low = kind == self.TIME_LOW
        low = _last(is_low | new, np.where(is_low, value, 0)[is_low | new], self.low)
        self.high, self.low = int(high[-1]), int(low[-1])
        return np.where(high == UNKNOWN, UNKNOWN, high << 12 | low)

    def _bases(self, kind: Array, value: Array, wide: Array) -> tuple[Array, Array]:
        """The first column that a vector at each word has, and whether events there are ON."""
        sets = (kind == self.COLUMN) | (kind == self.BASE)
        based = _last(sets, (kind == self.BASE)[sets], self.based)
        if ((wide > 0) & (based == 0) & (value > 0)).any():
            raise BadRecording("a vector of events without its first column")
        on = _last(sets, value[sets] >> 11, self.on)
        passed = np.cumsum(wide)
        column = _last(sets, value[sets] & 0x7FF, self.column)
        column += passed - _last(sets, passed[sets], 0)
        self.column, self.on, self.based = int(column[-1]), int(on[-1]), int(based[-1])
        return column - wide, on


WORDS: dict[str, tuple[np.dtype[Any], type[Evt2 | Evt3]]] = {
    "EVT2": (np.dtype("<u4"), Evt2),
    "EVT3": (np.dtype("<u2"), Evt3),
}


def read_dat(content: bytes) -> tuple[Events, tuple[int, int] | None]:
    """The events of a DAT file in its order, and rows and columns of the camera if they are known.

    A file without a version is taken for one of version 2, as N-CARS is. Raises BadRecording.
    """
    header = read_header(content)
    if len(content) < header.end + 2:
        raise BadRecording("cut off: it ends before it says what its events are")
    kind, size = content[header.end], content[header.end + 1]
    if kind not in DAT_KINDS or size != DAT_EVENT_BYTES:
        known = " or ".join(f"{number} ({what})" for number, what in DAT_KINDS.items())
        raise BadRecording(
            f"events of type {kind} and {size} bytes: type {known} of {DAT_EVENT_BYTES} is read"
        )
    version = header.values.get("Version", "2").removesuffix(".0")
    if version not in DAT_BITS:
        raise BadRecording(f"it is of version {version}: 1 and 2 are read")
    start = header.end + 2
    if rest := (len(content) - start) % DAT_EVENT_BYTES:
        raise BadRecording(f"cut off: it ends {rest} bytes into an event of {DAT_EVENT_BYTES}")
    require_room((len(content) - start) // DAT_EVENT_BYTES)
    words = np.frombuffer(content, "<u4", offset=start)
    t, address = words[0::2].astype(np.int64), words[1::2].astype(np.int64)
    # A counter of 32 bits that ran over.
    t[1:] += np.cumsum(np.diff(t) <= -(2**31)) << 32
    columns, rows = DAT_BITS[version]
    p = address >> (columns + rows) & 0xF
    if (wrong := p[p > 1]).size:
        raise BadRecording(f"an event of polarity {wrong[0]}: 1 is ON, 0 is OFF")
    x, y = address & (1 << columns) - 1, address >> columns & (1 << rows) - 1
    return Events(t, x, y, p == 1), header.geometry
