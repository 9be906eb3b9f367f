"""The AEDAT files of event cameras: 2.0 (CIFAR10-DVS) and 3.1 (DVS128 Gesture)."""

from pathlib import Path
from struct import Struct

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.recordings import BadRecording, Events
from clifctl.reading import MIB, TooLarge, read_bytes

# Type, source, size of an event [bytes], where in it the time is, overflow of the time, and how
# many events the packet has room for, holds, and holds that are valid.
PACKET = Struct("<HHIIIIII")
POLARITY_EVENT = 1
END_OF_HEADER = b"#!END-HEADER"
# The longest recordings of the sets that are read, DVS128 Gesture's, have some 100 MB.
MOST_BYTES = 512 * MIB


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_BYTES)
    except TooLarge as large:
        raise BadRecording(large.strerror) from None


def read_aedat2(path: Path) -> tuple[Array, Array]:
    """Addresses and times [us] `[events]` as they are written: big-endian pairs of 32 bits.

    Raises BadRecording for a file that is cut off within an event, OSError.
    """
    content = _content(path)
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        if end < 0:
            raise BadRecording("it ends within its header")
        start = end + 1
    body = memoryview(content)[start:]
    if len(body) % 8:
        raise BadRecording(f"cut off: it ends {len(body) % 8} bytes into an event of 8")
    words = np.frombuffer(body, dtype=">u4").astype(np.int64)
    return words[0::2], words[1::2]


def read_aedat3(path: Path) -> Events:
    """The polarity events of an AEDAT 3.1 file, in its order: x and y as the camera numbers them.

    Raises BadRecording for a file that is cut off, or is none, OSError.
    """
    content = _content(path)
    if not content.startswith(b"#!AER-DAT3"):
        raise BadRecording("not an AEDAT 3 file: it does not begin with '#!AER-DAT3'")
    place = content.find(END_OF_HEADER)
    place = content.find(b"\n", place) + 1 if place >= 0 else 0
    if not place:
        raise BadRecording("it ends within its header")
    words, times = [], []
    while place < len(content):
        if len(content) - place < PACKET.size:
            raise BadRecording("cut off: it ends within the header of a packet")
        kind, _, size, _, overflow, capacity, number, _ = PACKET.unpack_from(content, place)
        place += PACKET.size
        if len(content) - place < size * capacity:
            raise BadRecording(f"cut off: it ends within a packet of {capacity} events")
        if kind == POLARITY_EVENT and (size != 8 or number > capacity):
            raise BadRecording(f"a packet of {number} events of {size} bytes, in {capacity}")
        if kind == POLARITY_EVENT and number:
            pairs = np.frombuffer(content, dtype="<u4", count=2 * number, offset=place)
            words.append(pairs[0::2])
            times.append(pairs[1::2].astype(np.int64) | overflow << 31)
        place += size * capacity
    if not words:
        raise BadRecording("no event")
    data = np.concatenate(words).astype(np.int64)
    return Events(
        t=np.concatenate(times),
        x=(data >> 17) & 0x7FFF,
        y=(data >> 2) & 0x7FFF,
        p=((data >> 1) & 1).astype(bool),
    )
