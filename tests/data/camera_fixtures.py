"""Writers of the files of event cameras, number by number as their formats are published. Sizes
are rows and columns."""

import struct
from typing import Any

import numpy as np

Events = dict[str, np.ndarray[Any, np.dtype[np.int64]]]
Size = tuple[int, int]


def draw(number: int, size: Size, *, seed: int = 0, start: int = 0, most_gap: int = 400) -> Events:
    """Events in the order of their times, with gaps that are long now and then."""
    random = np.random.default_rng(seed)
    gaps = random.integers(0, 3, number) * random.integers(0, 2, number)
    gaps[random.integers(0, number, number // 10)] = random.integers(0, most_gap, number // 10)
    return {
        "t": start + np.cumsum(gaps),
        "x": random.integers(0, size[1], number),
        "y": random.integers(0, size[0], number),
        "p": random.integers(0, 2, number),
    }


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    """t, x, y and p of each event."""
    return list(zip(*(events[key].tolist() for key in "txyp"), strict=True))


def evt2(events: Events, size: Size) -> bytes:
    """RAW, EVT 2.0: a word with the upper 28 of 34 bits of the time, where they change."""
    content = b"% evt 2.0\n% geometry " + f"{size[1]}x{size[0]}\n% end\n".encode()
    before = None
    for t, x, y, p in rows(events):
        high = t >> 6 & 0xFFFFFFF
        if high != before:
            content += struct.pack("<I", 0x8 << 28 | high)
            before = high
        content += struct.pack("<I", p << 28 | (t & 0x3F) << 22 | x << 11 | y)
    return content


def evt3(events: Events, size: Size) -> bytes:
    """RAW, EVT 3.0: words of what changes; events that follow each other in one row, of one time
    and polarity, as a vector of 12 or 8 columns."""
    height, width = size
    content = f"% format EVT3;height={height};width={width}\n% end\n".encode()
    words: list[int] = []
    time = row = None
    listed = rows(events)
    while listed:
        t, x, y, p = listed.pop(0)
        if time is None or t >> 12 != time >> 12:
            words.append(0x8000 | t >> 12 & 0xFFF)
            time = t & ~0xFFF
        if t != time:
            words.append(0x6000 | t & 0xFFF)
            time = t
        if y != row:
            words.append(y)
            row = y
        columns = [x]
        while (
            listed and listed[0][0] == t and listed[0][2:] == (y, p) and listed[0][1] > columns[-1]
        ):
            columns.append(listed.pop(0)[1])
        if len(columns) == 1:
            words.append(0x2000 | p << 11 | x)
            continue
        words.append(0x3000 | p << 11 | x)
        first, wide = x, 12
        while columns:
            bits = sum(1 << column - first for column in columns if column < first + wide)
            words.append((0x4000 if wide == 12 else 0x5000) | bits)
            columns = [column for column in columns if column >= first + wide]
            first, wide = first + wide, 20 - wide
    return content + struct.pack(f"<{len(words)}H", *words)


def dat(events: Events, size: Size | None, *, kind: int = 0x0C, version: int = 2) -> bytes:
    """DAT: a 32-bit time and a word of column, row and polarity for each event."""
    content = f"% Data file containing CD events.\n% Version {version}\n".encode()
    if size is not None:
        content += f"% Height {size[0]}\n% Width {size[1]}\n".encode()
    columns, rows_ = {1: (9, 8), 2: (14, 14)}[version]
    content += bytes([kind, 8])
    for t, x, y, p in rows(events):
        content += struct.pack("<II", t & 0xFFFFFFFF, p << columns + rows_ | y << columns | x)
    return content


def es(events: Events, size: Size) -> bytes:
    """Event Stream of a DVS: rows are counted from below."""
    content = b"Event Stream\2\0\0\1" + struct.pack("<HH", size[1], size[0])
    before = 0
    for t, x, y, p in rows(events):
        passed, since = divmod(t - before, 127)
        content += b"\xff" * passed
        content += struct.pack("<BHH", since << 1 | p, x, size[0] - 1 - y)
        before = t
    return content


def es_of_atis(events: Events, size: Size) -> bytes:
    """Event Stream of an ATIS: before each event, one of brightness."""
    content = b"Event Stream\2\0\0\2" + struct.pack("<HH", size[1], size[0])
    before = 0
    for t, x, y, p in rows(events):
        passed, since = divmod(t - before, 63)
        threes, rest = divmod(passed, 3)
        content += b"\xff" * threes + bytes([0xFC | rest] if rest else [])
        content += struct.pack("<BHH", since << 2 | 1 | p << 1, 0, 0)
        content += struct.pack("<BHH", p << 1, x, size[0] - 1 - y)
        before = t
    return content


def csv(events: Events, size: Size, *, order: str = "txyp") -> bytes:
    """Lines of text, with the names of the columns above."""
    lines = [
        ",".join(order),
        *(
            ",".join(map(str, row))
            for row in zip(*(events[key].tolist() for key in order), strict=True)
        ),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def flat(identifier: bytes, *fields: bytes | None, after: bytes = b"") -> bytes:
    """A FlatBuffer with one table: fields of four or eight bytes, None: left out; then `after`."""
    offsets, body = [], b"\0" * 4
    for field in fields:
        if field is None:
            offsets.append(0)
            continue
        body += b"\0" * (-len(body) % len(field))
        offsets.append(len(body))
        body += field
    places = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), len(body), *offsets)
    places += b"\0" * (-(8 + len(places)) % 8)
    table = 8 + len(places)
    body = struct.pack("<i", len(places)) + body[4:]
    return struct.pack("<I4s", table, identifier) + places + body + after


def aedat4(
    events: Events,
    size: Size,
    *,
    compression: int = 0,
    pack: Any = bytes,
    describe: Any = None,
    per_packet: int = 100,
) -> bytes:
    """AEDAT 4 without a table of packets, as a recording that was interrupted has it."""
    node = '<node name="{}" path="">{}</node>'
    attribute = '<attr key="{}" type="{}">{}</attr>'
    info = attribute.format("sizeX", "int", size[1]) + attribute.format("sizeY", "int", size[0])
    stream = attribute.format("typeIdentifier", "string", "EVTS") + node.format("info", info)
    text = f'<dv version="2.0">{node.format("outInfo", node.format("0", stream))}</dv>'
    description = (describe(text) if describe else text).encode()
    # The text lies behind the table, whose last field says how far.
    header = flat(
        b"IOHE",
        struct.pack("<i", compression),
        struct.pack("<q", -1),
        struct.pack("<I", 4),
        after=struct.pack("<I", len(description)) + description + b"\0" * 8,
    )
    content = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(header)) + header
    listed = rows(events)
    for start in range(0, len(listed), per_packet):
        part = listed[start : start + per_packet]
        packed = b"".join(struct.pack("<qhhB3x", *one) for one in part)
        body = flat(b"EVTS", struct.pack("<I", 4), after=struct.pack("<I", len(part)) + packed)
        body = pack(struct.pack("<I", len(body)) + body)
        content += struct.pack("<iI", 0, len(body)) + body
    return content
