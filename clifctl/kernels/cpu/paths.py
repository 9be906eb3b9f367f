"""Which way each connection went, event-driven or dense: recorded on request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.rule import Choice, Direction


@dataclass(frozen=True)
class Path:
    """How a direction of a connection ran once.

    `weight` is the address of its weights, by which a net's connection is known in both passes.
    `geometry` is None where a connection has none, `density` where it was not counted.
    """

    direction: Direction
    weight: int
    geometry: Geometry | None
    density: float | None
    event: bool
    reason: str


# Who asks. Of the process, not of a thread: autograd may run a backward pass in one of its own.
_records: list[list[Path]] = []


@contextmanager
def recorded_paths() -> Iterator[list[Path]]:
    """A list to which every connection that runs meanwhile adds its way, in order."""
    paths: list[Path] = []
    _records.append(paths)
    try:
        yield paths
    finally:
        # By identity: lists are equal where their content is.
        del _records[next(i for i, held in enumerate(_records) if held is paths)]


def recording() -> bool:
    """Whether anybody asks."""
    return bool(_records)


def record(
    direction: Direction,
    weight: Tensor,
    choice: Choice,
    *,
    geometry: Geometry | None = None,
    density: float | None = None,
) -> None:
    """Note a way that was taken, where anybody asks."""
    if not _records:
        return
    path = Path(
        direction, weight.detach().data_ptr(), geometry, density, choice.event, choice.reason
    )
    for paths in _records:
        paths.append(path)
