"""The files that event cameras and their programs write, one sample in each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clifctl.data.events.aedat4 import read_aedat4
from clifctl.data.events.csv_files import read_csv
from clifctl.data.events.event_stream import read_es
from clifctl.data.events.prophesee import read_dat, read_raw
from clifctl.data.events.recordings import BadRecording, Events, Sample, require_in_order
from clifctl.reading import MIB, TooLarge, read_bytes

# Events, and rows and columns of the camera where the file has them.
Read = tuple[Events, tuple[int, int] | None]
MOST_BYTES = 512 * MIB
# By the endings of their names, in small letters.
READERS: dict[str, Callable[[Path, bytes], Read]] = {
    ".aedat4": read_aedat4,
    ".raw": lambda path, content: read_raw(content),
    ".dat": lambda path, content: read_dat(content),
    ".es": read_es,
    ".csv": lambda path, content: read_csv(content),
}
READ_BY_FAERY = (".aedat4", ".es")
# Recordings that were cut out of a larger one are kept as these, with a geometry of their own.
MAY_BE_SMALLER = (".dat",)


@dataclass(frozen=True)
class CameraRecording:
    """One sample in a file of a camera's, which is to have `sensor` rows and columns."""

    path: Path
    name: str
    label: int
    sensor: tuple[int, int]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return (Sample(self.name, self.label),)

    @property
    def cut(self) -> str:
        return ""

    def read(self) -> list[Events]:
        """The events, in the order of the file. Raises BadRecording, also where times run
        backwards, or the camera has another sensor; OSError."""
        ending = self.path.suffix.lower()
        try:
            content = read_bytes(self.path, MOST_BYTES)
        except TooLarge as large:
            raise BadRecording(large.strerror) from None
        events, geometry = READERS[ending](self.path, content)
        if geometry is not None:
            self._require_sensor(geometry, smaller=ending in MAY_BE_SMALLER)
        require_in_order(events)
        return [events]

    def _require_sensor(self, geometry: tuple[int, int], *, smaller: bool) -> None:
        (height, width), (rows, columns) = geometry, self.sensor
        fits = height <= rows and width <= columns if smaller else geometry == self.sensor
        if not fits:
            raise BadRecording(
                f"its camera has {height} rows and {width} columns, the recipe's sensor has {rows} "
                f"and {columns}: data.sensor=[{height},{width}]"
            )
