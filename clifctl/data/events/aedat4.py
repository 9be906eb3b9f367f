"""AEDAT 4.0, the files of iniVation's cameras (DV), read by faery.

A file is "#!AER-DAT4.0", a header, packets, and a table of the packets, where the program that
wrote it came to its end. Header, packets and table are FlatBuffers; the last two may be packed.
faery takes what a header says for true, makes room for whatever a packet unpacks to, and raises a
time that runs backwards to the one before it: so the container is looked at here first. Times can
be seen here only where packets are not packed.

Sources: docs.inivation.com, AEDAT 4.0; lz4_Frame_format.md of LZ4; RFC 8878 of Zstandard.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.faery_files import events_of, refusing
from clifctl.data.events.recordings import BadRecording, Events, require_in_order
from clifctl.reading import ALWAYS_READ_BYTES, MIB, MOST_GROWTH

MAGIC = b"#!AER-DAT4.0\r\n"
MOST_HEADER_BYTES = MIB
MOST_DEPTH = 32  # of the description, which is XML
# All packets together, unpacked: some seconds' work.
MOST_UNPACKED_BYTES = 16 * 1024 * MIB
LEAST_PACKET_BYTES = 12  # a size, the place of a table, its type
PACKET = struct.Struct("<iI")  # stream, size
EVENT = np.dtype({"names": ["t"], "formats": ["<i8"], "itemsize": 16})
LZ4_MAGIC, ZSTD_MAGIC = 0x184D2204, 0xFD2FB528
MOST_ZSTD_BLOCK = 128 * 1024
LZ4_GROWTH = 255  # no block of LZ4 becomes more times its size


class _Bytes:
    """Numbers out of a part of a file. Raises BadRecording where they lie outside of it."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content = content
        self.name = name

    def number(self, kind: str, place: int) -> int:
        size = struct.calcsize(kind)
        if place < 0 or place + size > len(self.content):
            raise self.damaged()
        return int(struct.unpack_from(f"<{kind}", self.content, place)[0])

    def damaged(self) -> BadRecording:
        return BadRecording(f"cut off or damaged: {self.name} does not hold what it says")

    def fields(self, root: int, identifier: bytes) -> list[int]:
        """Where the fields of the FlatBuffer's table at `root` are; 0: it has not that one."""
        if self.content[root + 4 : root + 8] != identifier:
            raise BadRecording(f"{self.name} is not of type {identifier.decode()}")
        table = root + self.number("I", root)
        places = table - self.number("i", table)
        size, table_size = self.number("H", places), self.number("H", places + 2)
        if table + table_size > len(self.content) or size % 2:
            raise self.damaged()
        offsets = [self.number("H", places + at) for at in range(4, size, 2)]
        if max(offsets, default=0) >= table_size:
            raise self.damaged()
        return [offset and table + offset for offset in offsets]

    def vector(self, place: int, item_bytes: int) -> tuple[int, int]:
        """Where the vector that is referred to at `place` begins, and how many items it has."""
        start = place + self.number("I", place)
        count = self.number("I", start)
        if start + 4 + count * item_bytes > len(self.content):
            raise self.damaged()
        return start + 4, count


@dataclass(frozen=True)
class _IoHeader:
    compression: int
    table: int  # where the table of packets is; -1: there is none
    packets: int  # where the first packet is


def read_aedat4(path: Path, content: bytes) -> tuple[Events, tuple[int, int] | None]:
    """The events of the AEDAT 4 file at `path`, which holds `content`, in its order, and rows and
    columns of the camera. Raises BadRecording, OSError."""
    _require_sound(content)
    with refusing():
        from faery.extension import aedat

        decoder = aedat.Decoder(path)
        streams = [one for one in decoder.tracks() if one.data_type == "events"]
        if len(streams) != 1:
            raise BadRecording(f"{len(streams)} streams of events, one is read")
        width, height = streams[0].dimensions
        return events_of(_packets(decoder, streams[0].id)), (height, width)


def _packets(decoder: Any, stream: int) -> Iterator[Array]:
    for track, packet in decoder:
        if track.id == stream:
            yield packet


def _require_sound(content: bytes) -> None:
    """Raise BadRecording for what faery must not be given."""
    header = _header(content)
    unpacked = UNPACKED.get(header.compression)
    if unpacked is None:
        raise BadRecording(f"it is packed by an unknown method, number {header.compression}")
    end = len(content) if header.table < 0 else header.table
    if not header.packets <= end <= len(content):
        raise BadRecording(
            f"cut off: the table of its packets is at byte {end:,}, it has {len(content):,}"
        )
    times: list[Array] = []
    total = 0
    for packet in _bodies(content, header.packets, end):
        total += _require_bounded(unpacked(packet), len(packet))
        if header.compression == 0 and len(packet) < LEAST_PACKET_BYTES:
            raise BadRecording(f"a packet of {len(packet)} bytes, which is none")
        if header.compression == 0 and packet[8:12] == b"EVTS":
            times.append(_times(packet))
        if total > MOST_UNPACKED_BYTES:
            raise BadRecording(f"its packets may unpack to more than {MOST_UNPACKED_BYTES:,} bytes")
    if header.table >= 0:
        table = content[end:]
        _require_bounded(unpacked(table), len(table))
        # Not packed, it is a size and so many bytes.
        stated = _Bytes(table, "the table of its packets").number("I", 0)
        if header.compression == 0 and stated != len(table) - 4:
            raise BadRecording("cut off: it ends within the table of its packets")
    if times:
        joined = np.concatenate(times)
        require_in_order(Events(joined, joined, joined, joined > 0))


def _bodies(content: bytes, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        if end - start < PACKET.size:
            raise BadRecording("cut off: it ends within the header of a packet")
        _, size = PACKET.unpack_from(content, start)
        start += PACKET.size
        if end - start < size:
            raise BadRecording(f"cut off: it ends within a packet of {size:,} bytes")
        yield content[start : start + size]
        start += size


def _require_bounded(unpacked: int, size: int) -> int:
    if unpacked > max(ALWAYS_READ_BYTES, MOST_GROWTH * size):
        raise BadRecording(f"a packet of {size:,} bytes that may unpack to {unpacked:,}")
    return unpacked


def _header(content: bytes) -> _IoHeader:
    if not content.startswith(MAGIC):
        raise BadRecording("not an AEDAT 4 file: it does not begin with '#!AER-DAT4.0'")
    start = len(MAGIC) + 4
    size = _Bytes(content, "its header").number("I", len(MAGIC))
    if size > MOST_HEADER_BYTES:
        raise BadRecording(f"a header of {size:,} bytes, no recording has so large a one")
    if len(content) < start + size:
        raise BadRecording("cut off: it ends within its header")
    header = _Bytes(content[start : start + size], "its header")
    compression, table, description = [*header.fields(0, b"IOHE"), 0, 0, 0][:3]
    if not description:
        raise BadRecording("its header has no description of its streams")
    begin, length = header.vector(description, 1)
    _require_flat(header.content[begin : begin + length])
    return _IoHeader(
        header.number("i", compression) if compression else 0,
        header.number("q", table) if table else -1,
        start + size,
    )


def _require_flat(description: bytes) -> None:
    """Raise BadRecording for XML that is none, declares entities, or is nested without measure."""
    depth = 0

    def down(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise BadRecording("the description of its streams is nested too deeply")

    def up(name: str) -> None:
        nonlocal depth
        depth -= 1

    def declared(*what: object) -> None:
        raise BadRecording("the description of its streams declares a document type")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = down, up
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(description, True)
    except expat.ExpatError as wrong:
        raise BadRecording(f"the description of its streams is no XML ({wrong})") from None


def _times(packet: bytes) -> Array:
    """The times of a packet of events that is not packed: a size, and a FlatBuffer."""
    part = _Bytes(packet, "a packet of events")
    fields = part.fields(4, b"EVTS")
    if not fields or not fields[0]:
        return np.zeros(0, np.int64)
    start, count = part.vector(fields[0], EVENT.itemsize)
    return np.frombuffer(packet, EVENT, count, start)["t"].astype(np.int64)


def _lz4(packet: bytes) -> int:
    """The most bytes that a frame of LZ4 can become."""
    frame = _Bytes(packet, "a packet")
    flags, sizes = frame.number("B", 4), frame.number("B", 5) >> 4
    if frame.number("I", 0) != LZ4_MAGIC or flags >> 6 != 1 or not 4 <= sizes <= 7:
        raise BadRecording("a packet that is no frame of LZ4")
    most = 1 << 2 * sizes + 8
    place = 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
    total = 0
    while stated := frame.number("I", place):  # 0: the end, and maybe a checksum
        size = stated & 0x7FFFFFFF
        total += min(most, size if stated >> 31 else LZ4_GROWTH * size)
        place += 4 + size + 4 * (flags >> 4 & 1)
    if place + 4 + 4 * (flags >> 2 & 1) != len(packet):
        raise frame.damaged()
    return total


def _zstd(packet: bytes) -> int:
    """The most bytes that a frame of Zstandard can become."""
    frame = _Bytes(packet, "a packet")
    if frame.number("I", 0) != ZSTD_MAGIC:
        raise BadRecording("a packet that is no frame of Zstandard")
    flags = frame.number("B", 4)
    alone = flags >> 5 & 1
    place = 5 + (1 - alone) + (0, 1, 2, 4)[flags & 3]
    kind, size = (("B", alone), ("H", 2), ("I", 4), ("Q", 8))[flags >> 6]
    if alone:  # one window of the content's size
        most = frame.number(kind, place) + (256 if kind == "H" else 0)
    else:
        window = frame.number("B", 5)
        base = 1 << 10 + (window >> 3)
        most = base + (base >> 3) * (window & 7)
    most = min(most, MOST_ZSTD_BLOCK)
    place += size
    total, last = 0, 0
    while not last:
        block = frame.number("H", place) | frame.number("B", place + 2) << 16
        last, how, size = block & 1, block >> 1 & 3, block >> 3
        total += most if how >= 2 else min(size, most)
        place += 3 + (1 if how == 1 else size)
    if place + 4 * (flags >> 2 & 1) != len(packet):
        raise frame.damaged()
    return total


# How much a packet may become, by the number of the method in the header.
UNPACKED: dict[int, Callable[[bytes], int]] = {0: len, 1: _lz4, 2: _lz4, 3: _zstd, 4: _zstd}
