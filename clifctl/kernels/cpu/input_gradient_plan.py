"""What the shape of a connection decides for its input gradient (see there for the terms)."""

from typing import NamedTuple

from clifctl.kernels.cpu.geometry import Geometry, round_up
from clifctl.kernels.cpu.vectors import LANES
from clifctl.kernels.cpu.workspace import buffers

# Outputs of a part at most, and bytes of a part of the packed gradient of a tile at most, by the
# taps of a class on average (or more): the dot products of a part are to be long against adding up
# their lanes, and the lists of a tile against a few places too many. What is packed need not fit
# into the first-level cache: each vector is read several times before it is needed no more.
_PARTS = ((6, 64, 120 * 1024), (2, 128, 160 * 1024), (0, 256, 160 * 1024))
# Channels of which a pixel is short.
_FEW_CHANNELS = 64
# Places of a tile at most: the values of LANES channels stay in the first-level cache.
_MOST_PLACES = 640
# Columns of a tile that is not as wide as the map, at least.
_LEAST_COLUMNS = 8


class InputGradientPlan(NamedTuple):
    """What the shape of a connection decides, as the kernels read it."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    out_height: int
    out_width: int
    down: int
    right: int
    above: int
    before: int
    taps: int
    # Classes of places, and whether some places are in none, since no tap meets them.
    classes: int
    unmet: int
    # Whether the result is written number by number: rows are too short for squares, pixels so
    # short that a few lines of the cache hold those of a row.
    scattered: int
    # First place and the one behind the last.
    first_row: int
    end_row: int
    first_column: int
    end_column: int
    # Places before a place that its taps meet.
    back_rows: int
    back_columns: int
    # Places of a tile: so many whole images, or a part of one; tiles in an image.
    images: int
    rows: int
    columns: int
    row_tiles: int
    column_tiles: int
    # The packed gradient: rows from image to image, places from row to row, all places.
    image_rows: int
    pitch: int
    places: int
    # Outputs of a part, and parts.
    chunk: int
    parts: int
    # Channels whose window bits are read at once; words of one bit a place; entries of a list.
    word: int
    words: int
    room: int
    # Buffers in a thread's scratch memory.
    values: int = 0
    grid: int = 0
    lists: int = 0
    counts: int = 0
    by_place: int = 0
    by_channel: int = 0
    spread: int = 0
    square: int = 0
    # Bytes of all of them.
    scratch: int = 0


class PlaceClass(NamedTuple):
    """Places with the same taps."""

    # What is left of a row and a column, padding included, behind a multiple of the stride.
    row: int
    column: int
    # Places within the image.
    first_row: int
    end_row: int
    first_column: int
    end_column: int
    # Taps, and how many taps of other classes are packed before them.
    tap_rows: int
    tap_columns: int
    first_tap: int


def _axis(size: int, out: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int, int]:
    """Of rows or columns: the first place, the one behind the last, how many places before a place
    its taps meet, and how many zeros behind a row can be those before the next."""
    first, end = padding // stride, (size - 1 + padding) // stride + 1
    back = -(-kernel // stride) - 1
    return first, end, back, min(max(0, back - first), max(0, end - out))


def plan_of(geometry: Geometry) -> InputGradientPlan:
    """The plan for a connection."""
    (first_row, end_row, back_rows, shared_rows), (first_column, end_column, back, shared) = (
        _axis(*sizes)
        for sizes in zip(
            (geometry.height, geometry.width),
            (geometry.out_height, geometry.out_width),
            geometry.kernel,
            geometry.stride,
            geometry.padding,
            strict=True,
        )
    )
    classes = len(classes_of(geometry))
    chunk, parts, fit = _parts(geometry, classes)
    all_rows, all_columns = end_row - first_row, end_column - first_column
    columns = all_columns
    if (1 + back_rows) * (columns + back) > fit:
        columns = min(columns, max(_LEAST_COLUMNS, fit // (1 + back_rows) - back))
    whole = columns == all_columns
    pitch = columns + back - (shared if whole else 0)
    image_rows = all_rows + back_rows - shared_rows
    if whole and pitch * image_rows <= fit:
        images, rows = max(1, min(geometry.samples, fit // (pitch * image_rows))), all_rows
    else:
        images, rows = 1, max(1, min(all_rows, fit // pitch - back_rows))
    places = ((images - 1) * image_rows + rows + back_rows - 1) * pitch + columns + back
    last = ((images - 1) * image_rows + rows - 1) * pitch + columns - 1
    return _placed(
        InputGradientPlan(
            geometry.samples,
            geometry.channels,
            geometry.height,
            geometry.width,
            geometry.outputs,
            geometry.out_height,
            geometry.out_width,
            *geometry.stride,
            *geometry.padding,
            geometry.taps,
            classes,
            int(classes < geometry.stride[0] * geometry.stride[1]),
            int(geometry.width < LANES and geometry.channels <= _FEW_CHANNELS),
            first_row,
            end_row,
            first_column,
            end_column,
            back_rows,
            back,
            images,
            rows,
            columns,
            -(-all_rows // rows),
            -(-all_columns // columns),
            image_rows,
            pitch,
            places,
            chunk,
            parts,
            word=64 if geometry.channels % 8 == 0 else 56,
            words=last // 64 + 1,
            room=round_up(images * rows * columns, LANES) + LANES,
        )
    )


def _parts(geometry: Geometry, classes: int) -> tuple[int, int, int]:
    """Outputs of a part, how many parts, and how many places of the packed gradient fit."""
    most, size = next(
        (most, size) for taps, most, size in _PARTS if geometry.taps >= taps * classes
    )
    parts = -(-geometry.outputs // most)
    chunk = round_up(-(-geometry.outputs // parts), LANES)
    return chunk, parts, min(_MOST_PLACES, size // (4 * chunk))


def _placed(plan: InputGradientPlan) -> InputGradientPlan:
    """The plan with its buffers in their places."""
    sizes = {
        "values": 4 * plan.channels * plan.room,
        "grid": 4 * plan.parts * plan.places * plan.chunk,
        "lists": 2 * plan.channels * plan.room,
        "counts": 4 * plan.channels,
        "by_place": 8 * 64 * plan.words,
        "by_channel": 8 * 64 * plan.words,
        # Squares of LANES x LANES are read from it.
        "spread": 4 * LANES * (plan.places + 1),
        "square": 4 * LANES * LANES,
    }
    starts, scratch = buffers(sizes, alignment=64)
    return plan._replace(scratch=scratch, **starts)


def classes_of(geometry: Geometry) -> list[PlaceClass]:
    """The classes of places that have taps."""
    classes, first_tap = [], 0
    for row in range(min(geometry.kernel[0], geometry.stride[0])):
        for column in range(min(geometry.kernel[1], geometry.stride[1])):
            rows = _within(geometry.height, geometry.stride[0], geometry.padding[0], row)
            columns = _within(geometry.width, geometry.stride[1], geometry.padding[1], column)
            tap_rows = len(range(row, geometry.kernel[0], geometry.stride[0]))
            tap_columns = len(range(column, geometry.kernel[1], geometry.stride[1]))
            classes.append(
                PlaceClass(row, column, *rows, *columns, tap_rows, tap_columns, first_tap)
            )
            first_tap += tap_rows * tap_columns
    return classes


def _within(size: int, stride: int, padding: int, number: int) -> tuple[int, int]:
    """The first place of a class within the image, and the one behind the last."""
    return -((number - padding) // stride), -((number - padding - size) // stride)


def order_of(geometry: Geometry) -> list[int]:
    """Taps in the order in which they are packed: class by class, and so that those of a class meet
    places that ascend."""
    (rows, columns), (down, right) = geometry.kernel, geometry.stride
    return [
        row * columns + column
        for kind in classes_of(geometry)
        for row in reversed(range(kind.row, rows, down))
        for column in reversed(range(kind.column, columns, right))
    ]
