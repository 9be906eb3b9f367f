"""HDF5 files of data sets, packed with gzip or not."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from clifctl import hdf5
from clifctl.data.archives import BadArchive
from clifctl.data.gzip_files import is_packed, unpacked
from clifctl.reading import ALWAYS_READ_BYTES, MOST_GROWTH, open_regular, size_bytes


@contextmanager
def open_hdf5(path: Path) -> Iterator[hdf5.Hdf5File]:
    """The file `path`, as `clifctl.hdf5.open_hdf5` opens it. What is packed is unpacked into a
    temporary file that nobody else sees.

    Raises BadArchive for whatever is wrong with the file, OSError where the system refuses it.
    """
    with open_regular(path) as file, tempfile.NamedTemporaryFile() as room:
        if packed := is_packed(file):
            _unpack(file, room)
        try:
            with hdf5.open_hdf5(Path(room.name) if packed else path) as opened:
                yield opened
        except hdf5.BadHdf5 as bad:
            raise BadArchive(str(bad)) from bad


def _unpack(file: BufferedReader, room: IO[bytes]) -> None:
    """Write what a packed file holds into `room`."""
    most = max(ALWAYS_READ_BYTES, MOST_GROWTH * size_bytes(file))
    for portion in unpacked(file):
        if (most := most - len(portion)) < 0:
            raise BadArchive("it becomes far larger than it is: unpack it with gunzip")
        room.write(portion)
    room.flush()
