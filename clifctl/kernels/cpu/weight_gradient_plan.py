"""How the weight gradient of a connection goes through it, in tiles: whole images, or parts of one,
whose output gradient stays in the first-level cache, with zeros around it.

Input positions fall into classes by their row and column modulo the stride. Within a class the
position (y, x) is its y-th row and x-th column, and what it gives to through one tap lies at a
fixed distance from (y, x) in the output. So a tile is a grid of places: position (y, x) has the
place `y * pitch + x` (plus `image_pitch` for each image before it), and the output gradient's
(y, x) lies `origin` places further, so that with every distance added it is inside the grid.
Between rows and between images lie as many zeros as a tap may reach too far.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numba import njit

from clifctl.kernels.cpu.geometry import Geometry, equal_part, record
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES

# Bytes of a grid: what remains of a first-level cache of 48 KiB (of 32 KiB where vectors are
# shorter) besides a list and the sums.
_GRID_BYTES = 38 * 1024 if LANES == 16 else 28 * 1024
# What one place counts for in a list: an eighth of a vector, since a processor's instructions scale
# an index by 8 at most; and how many places 16 bits tell apart.
UNIT = VECTOR_BYTES // 8
_MOST_PLACES = (1 << 16) // UNIT
# Rows and columns below which a part is not made smaller, however many zeros surround it.
_LEAST = 8


@dataclass(frozen=True)
class WeightGradientPlan:
    """What the kernels must know of a connection and its tiles: whole numbers, all of them."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    out_height: int
    out_width: int
    taps: int
    row_stride: int
    column_stride: int
    # A tile: so many images, or rows and columns of a class; and so many tiles in each direction.
    images: int
    rows: int
    columns: int
    batches: int
    down: int
    across: int
    # The grid, and how far from a position its outputs may lie in it.
    pitch: int
    image_pitch: int
    origin: int
    places: int
    above: int
    below: int
    left: int
    right: int
    # Whether some places are zeros beyond the output.
    bordered: int

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.batches * self.down * self.across

    @property
    def nowhere(self) -> int | None:
        """A place behind the grid: what it hits are `beyond` places from there on, all of them
        zeros. None where no entry of a list can hold it."""
        return self.places if self.places < _MOST_PLACES else None

    @property
    def beyond(self) -> int:
        """How many places any place hits, and those between."""
        return self.origin + self.below * self.pitch + self.right + 1

    @property
    def last_place(self) -> int:
        """The last place of a position."""
        return (
            (self.images - 1) * self.image_pitch + (self.rows - 1) * self.pitch + self.columns - 1
        )

    def record(self, **more: int) -> np.ndarray:
        """As an array of one record, with `more` fields: see `clifctl.kernels.cpu.geometry`."""
        return record(asdict(self) | more)


@dataclass(frozen=True)
class _Axis:
    """Rows, or columns: of a class of the input, of the output, and how far taps reach."""

    positions: int
    outputs: int
    back: int
    ahead: int

    @property
    def end(self) -> int:
        """Behind the last output, or place beyond it, that a position reaches."""
        return max(self.outputs, self.positions + self.ahead)

    @property
    def pitch(self) -> int:
        """From a row to the next, the zeros between them serving both."""
        return max(self.outputs + self.back, self.end)


def distances(kernel: int, stride: int, padding: int) -> list[tuple[int, int]]:
    """For each tap along an axis the class that it meets, and how far its output lies from it."""
    return [((tap - padding) % stride, -((tap - padding) // stride)) for tap in range(kernel)]


def plan_of(geometry: Geometry) -> WeightGradientPlan:
    """The plan for a connection."""
    sizes = (geometry.height, geometry.width), (geometry.out_height, geometry.out_width)
    kernels = geometry.kernel, geometry.stride, geometry.padding
    rows, columns = (_axis(*each) for each in zip(*sizes, *kernels, strict=True))
    return _of_images(geometry, rows, columns) or _of_parts(geometry, rows, columns)


def _axis(size: int, outputs: int, kernel: int, stride: int, padding: int) -> _Axis:
    reach = [distance for _, distance in distances(kernel, stride, padding)]
    positions = -(-size // stride)
    # Outputs that nothing reaches are somebody's too.
    ahead = max(0, outputs - positions, *reach)
    return _Axis(positions, outputs, max(0, -min(reach)), ahead)


def _plan(
    geometry: Geometry,
    rows: _Axis,
    columns: _Axis,
    tile: tuple[int, int, int],
    pitch: int,
    end: int,
) -> WeightGradientPlan:
    """The plan for tiles of so many images, rows and columns; `end` is behind a row's last place,
    without zeros on the left."""
    g = geometry
    whole = tile[1] == rows.positions
    origin = rows.back * pitch + columns.back
    image_pitch = rows.pitch * pitch
    last_row = (rows.end if whole else tile[1] + rows.ahead) - 1
    places = origin + (tile[0] - 1) * image_pitch + last_row * pitch + end
    bordered = rows.pitch > rows.outputs or columns.pitch > columns.outputs
    return WeightGradientPlan(
        g.samples,
        g.channels,
        g.height,
        g.width,
        g.outputs,
        g.out_height,
        g.out_width,
        g.taps,
        *g.stride,
        *tile,
        -(-g.samples // tile[0]),
        -(-rows.positions // tile[1]),
        -(-columns.positions // tile[2]),
        pitch,
        image_pitch,
        origin,
        places,
        rows.back,
        rows.ahead,
        columns.back,
        columns.ahead,
        int(bordered),
    )


def _of_images(geometry: Geometry, rows: _Axis, columns: _Axis) -> WeightGradientPlan | None:
    """Tiles of whole images; None where the grid of one is too large."""

    def plan(images: int) -> WeightGradientPlan:
        tile = (images, rows.positions, columns.positions)
        return _plan(geometry, rows, columns, tile, columns.pitch, columns.end)

    one = plan(1)
    room = _GRID_BYTES // VECTOR_BYTES - one.places
    if room < 0:
        return None
    images = min(geometry.samples, 1 + room // one.image_pitch)
    return plan(equal_part(geometry.samples, images))


def _of_parts(geometry: Geometry, rows: _Axis, columns: _Axis) -> WeightGradientPlan:
    """Tiles of parts of an image, of whole rows or narrower: those of the most positions whose grid
    fits, or else of the smallest grid."""
    width, plans = columns.positions, []
    while True:
        whole = width == columns.positions
        pitch = columns.pitch if whole else columns.back + width + columns.ahead
        end = columns.end if whole else width + columns.ahead
        listed = _MOST_PLACES // pitch
        height = _GRID_BYTES // VECTOR_BYTES // pitch - rows.back - rows.ahead
        height = max(1, min(rows.positions, listed, max(height, _LEAST)))
        tile = (1, equal_part(rows.positions, height), width)
        plans.append(_plan(geometry, rows, columns, tile, pitch, end))
        if width <= _LEAST:
            break
        width = equal_part(columns.positions, width // 2)

    def worth(plan: WeightGradientPlan) -> tuple[bool, int]:
        fits = plan.places * VECTOR_BYTES <= _GRID_BYTES
        return fits, plan.rows * plan.columns if fits else -plan.places

    return max((plan for plan in plans if plan.last_place < _MOST_PLACES), key=worth)


@njit(nogil=True, error_model="numpy")
def images_of(p, tile):  # type: ignore[no-untyped-def]
    """The first image of a tile and the one behind its last."""
    first = tile // (p.down * p.across) * p.images
    return first, min(first + p.images, p.samples)


@njit(nogil=True, error_model="numpy")
def corner_of(p, tile):  # type: ignore[no-untyped-def]
    """The row and the column of a tile's first position, in its class."""
    return tile // p.across % p.down * p.rows, tile % p.across * p.columns
