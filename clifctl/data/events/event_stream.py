"""Event Stream, `.es`, read by faery: events of DVS and ATIS cameras, of one byte that has the time
since the one before, then column and row. A byte of overflow is time that passes without an event.

faery reads as far as a file goes. Where the events lie follows from what it reads: so all bytes are
compared here with the events that they are to be.

Source: github.com/neuromorphicsystems/event_stream, version 2.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.faery_files import events_of, refusing
from clifctl.data.events.recordings import BadRecording, Events, require_room

MAGIC = b"Event Stream"
HEADER_BYTES = 20
EVENT_BYTES = 5
DVS, ATIS = 1, 2
OVERFLOW = {DVS: 0xFF, ATIS: 0xFC}  # the lowest byte that is one
KINDS = {0: "generic", DVS: "DVS", ATIS: "ATIS", 4: "colour"}


def read_es(path: Path, content: bytes) -> tuple[Events, tuple[int, int] | None]:
    """The events of the file at `path`, which holds `content`, in its order, and rows and columns
    of the camera; row 0 is the topmost, where the format has the lowest. Of an ATIS camera the
    events of brightness are left out. Raises BadRecording, OSError."""
    if not content.startswith(MAGIC):
        raise BadRecording("not an Event Stream file: it does not begin with 'Event Stream'")
    if len(content) < HEADER_BYTES:
        raise BadRecording("cut off: it ends within its header")
    version, kind = content[len(MAGIC)], content[len(MAGIC) + 3]
    if version != 2 or kind not in (DVS, ATIS):
        what = KINDS.get(kind, f"type {kind}")
        raise BadRecording(f"version {version}, {what} events: version 2, DVS and ATIS are read")
    width, height = (int.from_bytes(content[at : at + 2], "little") for at in (16, 18))
    with refusing():
        from faery.extension import es

        found = _joined(es.Decoder(path, 0))
    _require_whole(np.frombuffer(content, np.uint8, offset=HEADER_BYTES), found, kind)
    events = events_of([_changes(found) if kind == ATIS else found])
    return Events(events.t, events.x, height - 1 - events.y, events.p), (height, width)


def _joined(packets: Iterable[Array]) -> Array:
    found: list[Array] = []
    total = 0
    for packet in packets:
        total += len(packet)
        require_room(total)
        found.append(packet)
    if not total:
        raise BadRecording("no event")
    return np.concatenate(found)


def _changes(found: Array) -> Any:
    """The events of an ATIS camera that are changes, as those of a DVS."""
    changes = found[~found["exposure"]]
    return {"t": changes["t"], "x": changes["x"], "y": changes["y"], "on": changes["polarity"]}


def _require_whole(body: Array, found: Array, kind: int) -> None:
    """Raise BadRecording where `body` is not the events `found`, each after its overflow, and time
    after them."""
    since: Array = np.diff(found["t"].astype(np.int64), prepend=0)
    if kind == DVS:
        overflows, first = since // 127, since % 127 << 1 | found["on"]
    else:  # a byte of overflow is up to three times
        overflows = -(-(since // 63) // 3)
        first = since % 63 << 2 | found["polarity"].astype(np.int64) << 1 | found["exposure"]
    places = np.cumsum(overflows) + EVENT_BYTES * np.arange(len(found))
    end = int(places[-1]) + EVENT_BYTES
    address = np.stack([found["x"], found["y"]], 1).astype("<u2").view(np.uint8)
    same = end <= len(body) and (body[places] == first).all()
    if not same or not all((body[places + 1 + at] == address[:, at]).all() for at in range(4)):
        raise BadRecording("its bytes are not those of its events: damaged, or of another writer")
    event = np.flatnonzero(body[end:] < OVERFLOW[kind])
    if len(event):
        rest = len(body) - end - int(event[0])
        raise BadRecording(f"cut off: it ends {rest} bytes into an event of {EVENT_BYTES}")
