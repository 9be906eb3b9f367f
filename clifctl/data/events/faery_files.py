"""What is read by the package faery: which looks at no size before it makes room, so that a file is
looked at here first, and what goes wrong in it is BadRecording."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.recordings import BadRecording, Events, require_room

INSTALL = "pip install 'clifctl[cameras]'"


def is_installed() -> bool:
    """Whether faery is there."""
    return find_spec("faery") is not None


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever faery cannot read within it is BadRecording."""
    try:
        yield
    except ImportError:
        raise BadRecording(f"the package faery, which reads it, is missing: {INSTALL}") from None
    except (BadRecording, OSError, MemoryError):
        raise
    except Exception as refused:
        raise BadRecording(f"faery cannot read it: {refused}") from refused
    except BaseException as panic:  # what faery has not foreseen; the type cannot be imported
        if type(panic).__name__ != "PanicException":
            raise
        raise BadRecording(f"faery cannot read it: {panic}") from None


def events_of(packets: Iterable[Array]) -> Events:
    """The events of faery's arrays, one after the other. Raises BadRecording."""
    found: list[Events] = []
    total = 0
    for packet in packets:
        total += len(packet)
        require_room(total)
        t, x, y = (packet[key].astype(np.int64) for key in "txy")
        on: Any = packet["on"]
        found.append(Events(t, x, y, on.astype(bool)))
    return Events.joined(found)
