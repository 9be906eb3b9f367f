"""The seal of a checkpoint: the SHA-256 of all that stands before it, as its archive's comment.

It shows damage, not malice: whoever changes a file can seal it anew.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

_MARK = b"clifctl sha256 "
_BYTES = len(_MARK) + 64


def sealed(archive: memoryview | bytes) -> Sequence[memoryview | bytes]:
    """A zip archive without a comment as its parts with the checksum as comment."""
    body = memoryview(archive)[:-2]
    length = _BYTES.to_bytes(2, "little")
    digest = hashlib.sha256(body)
    digest.update(length)
    return body, length, _MARK, digest.hexdigest().encode()


def seal_holds(content: memoryview) -> bool | None:
    """Whether the checksum fits the content; None where there is none."""
    seal = bytes(content[-_BYTES:])
    if not seal.startswith(_MARK):
        return None
    return seal == _MARK + hashlib.sha256(content[:-_BYTES]).hexdigest().encode()


def bears_seal(path: Path) -> bool:
    """Whether the file `path` ends as one that clifctl sealed, right or not. Reads no more of it
    than that."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _BYTES))
            return file.read(_BYTES).startswith(_MARK)
    except (OSError, ValueError):
        return False
