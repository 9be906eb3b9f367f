"""The gradient of a connection's input where somebody needs it, and nowhere else.

Behind a surrogate of bounded support the gradient of a spike is multiplied by 0 unless the neuron's
potential lay within the surrogate's window, so it is computed at open windows alone. There it is a
dot product over taps and outputs: the gradient of the output around the place with the weights of
the input's channel.

A place of the input is, in rows and likewise in columns, `stride` * place + class - padding; the
gradient of the output is indexed by places, and tap j of a class meets place - j. So all places of
a class have their taps at the same distances. A tile of places at a time: the gradient of the
output is packed in parts of some outputs, with zeros around it, which stay in the first-level
cache; the open places of each channel are listed; some of them at once are multiplied with each
vector of weights, and the totals go to where they belong.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from clifctl.kernels.cpu import input_gradient_kernels as kernels
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.input_gradient_kernels import PlaceClass, Plan
from clifctl.kernels.cpu.packing import offsets_in_memory_order, weight_memory
from clifctl.kernels.cpu.vectors import LANES
from clifctl.kernels.cpu.workspace import borrowed
from clifctl.kernels.threads import run_units

# Bytes of one part of the packed gradient.
import os

TILE = int(os.environ.get("TILE", "40")) * 1024
CH = int(os.environ.get("CH", "4"))


class InputGradient:
    """The input gradient of a connection, prepared."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._plan, self._scratch = _plan(geometry)
        plan = self._plan
        classes = _classes(geometry)
        self._classes = np.array(classes, np.int64).reshape(len(classes), -1)
        self._tables = np.zeros((len(classes), 256, 8), np.uint16)
        for number, kind in enumerate(classes):
            distances, padded = _group_of_eight(plan, kind)
            self._classes[number, PlaceClass._fields.index("padded")] = padded
            self._tables[number] = _choices(distances)
        self._tiles = -(-plan.samples // plan.images) * plan.row_tiles * plan.column_tiles
        self._blocks = plan.parts * plan.chunk // LANES
        weights = 4 * plan.channels * plan.taps
        self._weight_bytes = weights * plan.parts * plan.chunk
        offsets = np.argsort(_order(geometry)) + plan.taps * np.arange(plan.channels)[:, None]
        self._offsets = [
            offsets_in_memory_order(4 * plan.chunk * offsets, channels_last)
            for channels_last in (False, True)
        ]
        self._work = plan.samples * plan.out_height * plan.out_width * plan.outputs * plan.taps

    def __call__(self, window_bits: Tensor, g: Tensor, weight: Tensor) -> Tensor:
        """The gradient `[N, C, H, W]`, channels innermost in memory, 0 where the window is closed.

        `window_bits` are as in `Active`, `g` is `[N, outputs, H', W']` and `weight`
        `[outputs, C, kh, kw]`, both float32.
        """
        plan = self._plan
        shape = (plan.samples, plan.channels, plan.height, plan.width)
        dx = torch.empty(shape, memory_format=torch.channels_last)
        g = g.detach().contiguous(memory_format=torch.channels_last)
        weight, channels_last = weight_memory(weight)
        window_at, g_at, dx_at = window_bits.data_ptr(), g.data_ptr(), dx.data_ptr()
        with borrowed(self._weight_bytes) as packed:
            self._pack(weight, channels_last, packed)

            def run(first: int, last: int) -> None:
                with borrowed(self._scratch) as scratch:
                    kernels.gradient(
                        first, last, plan, self._classes, self._tables,
                        window_at, g_at, packed, dx_at, scratch,
                    )  # fmt: skip

            run_units(run, self._tiles, self._work)
        return dx

    def _pack(self, weight: Tensor, channels_last: bool, packed: int) -> None:
        plan = self._plan
        source, columns = weight.data_ptr(), plan.channels * plan.taps
        offsets = self._offsets[channels_last].ctypes.data
        run_units(
            lambda first, last: kernels.pack_weights(
                first, last, source, 4 * columns, plan.outputs, columns, offsets, plan.chunk, packed
            ),
            self._blocks,
            plan.outputs * columns,
        )


@lru_cache(maxsize=256)
def input_gradient(geometry: Geometry) -> InputGradient:
    """The input gradient of a connection of this shape."""
    return InputGradient(geometry)


def _up(n: int, to: int) -> int:
    return -(-n // to) * to


def _axis(size: int, out: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int, int]:
    """Of rows or columns: the first place, the one behind the last, how many places before a place
    its taps meet, and how many zeros behind a row can be those before the next."""
    first, end = padding // stride, (size - 1 + padding) // stride + 1
    back = -(-kernel // stride) - 1
    return first, end, back, min(max(0, back - first), max(0, end - out))


def _plan(geometry: Geometry) -> tuple[Plan, int]:
    """The plan, and the bytes of scratch memory that a thread needs."""
    axes = [
        _axis(*sizes)
        for sizes in zip(
            (geometry.height, geometry.width), (geometry.out_height, geometry.out_width),
            geometry.kernel, geometry.stride, geometry.padding, strict=True,
        )
    ]  # fmt: skip
    (first_row, end_row, back_rows, shared_rows), (first_column, end_column, back, shared) = axes
    all_rows, all_columns = end_row - first_row, end_column - first_column
    chunk = min(_up(geometry.outputs, LANES), CH * LANES)
    fit = TILE // (4 * chunk)
    columns = all_columns
    if (1 + back_rows) * (columns + back) > fit:
        columns = min(columns, max(8, fit // (1 + back_rows) - back))
    whole = columns == all_columns
    stride = columns + back - shared if whole else columns + back
    image_rows = all_rows + back_rows - shared_rows
    if whole and stride * image_rows <= fit:
        images, rows = max(1, min(geometry.samples, fit // (stride * image_rows))), all_rows
    else:
        images, rows = 1, max(1, min(all_rows, fit // stride - back_rows))
    plan = Plan(
        geometry.samples, geometry.channels, geometry.height, geometry.width,
        geometry.outputs, geometry.out_height, geometry.out_width,
        *geometry.stride, *geometry.padding, geometry.taps,
        images, rows, columns, -(-all_rows // rows), -(-all_columns // columns),
        first_row, end_row, first_column, end_column,
        back_rows, back, image_rows, stride, chunk, -(-geometry.outputs // chunk),
        word=64 if geometry.channels % 8 == 0 else 56, classes=len(_classes(geometry)),
        some_untouched=any(s > k for s, k in zip(geometry.stride, geometry.kernel, strict=True)),
        places=0, room=0, part_bytes=0, channel_bytes=0,
        grid=0, lists=0, counts=0, words=0, bits=0, bases=0, spread=0, block=0,
    )  # fmt: skip
    return _placed(plan._replace(places=_grid(plan)))


def _grid(plan: Plan) -> int:
    """Places in the packed gradient of a tile."""
    rows = (plan.images - 1) * plan.image_rows + plan.rows + plan.back_rows
    return (rows - 1) * plan.stride + plan.columns + plan.back_columns


def _placed(plan: Plan) -> tuple[Plan, int]:
    """The plan with its buffers in their places, and the bytes of all of them."""
    slots = _up(plan.images * plan.rows * _up(plan.columns, 8), 64)
    room = slots + LANES
    part_bytes, channel_bytes = 4 * plan.places * plan.chunk, slots // 8
    sizes = {
        "values": 4 * plan.channels * room,
        "grid": plan.parts * part_bytes,
        "lists": 2 * plan.channels * room,
        "counts": 4 * plan.channels,
        "words": 8 * slots,
        "bits": (_up(plan.channels, plan.word) + 64) * channel_bytes,
        "bases": slots // 4,
        # Squares of LANES x LANES are read from it.
        "spread": 4 * LANES * (plan.places + 1),
        "block": 4 * LANES * LANES,
    }
    at, places = 0, {}
    for name, size in sizes.items():
        places[name] = at
        at += _up(size, 64) + 64
    del places["values"]  # they come first
    plan = plan._replace(room=room, part_bytes=part_bytes, channel_bytes=channel_bytes, **places)
    return plan, at


def _classes(geometry: Geometry) -> list[PlaceClass]:
    """Those that have taps."""
    classes, first_tap = [], 0
    for row in range(min(geometry.kernel[0], geometry.stride[0])):
        for column in range(min(geometry.kernel[1], geometry.stride[1])):
            rows = _within(geometry.height, geometry.stride[0], geometry.padding[0], row)
            columns = _within(geometry.width, geometry.stride[1], geometry.padding[1], column)
            tap_rows = len(range(row, geometry.kernel[0], geometry.stride[0]))
            tap_columns = len(range(column, geometry.kernel[1], geometry.stride[1]))
            classes.append(
                PlaceClass(row, column, *rows, *columns, tap_rows, tap_columns, first_tap, 0)
            )
            first_tap += tap_rows * tap_columns
    return classes


def _within(size: int, stride: int, padding: int, number: int) -> tuple[int, int]:
    """The first place of a class within the image, and the one behind the last."""
    return -((number - padding) // stride), -((number - padding - size) // stride)


def _order(geometry: Geometry) -> list[int]:
    """Taps in the order in which they are packed: class by class, and so that those of a class meet
    places that ascend."""
    (rows, columns), (down, right) = geometry.kernel, geometry.stride
    return [
        row * columns + column
        for kind in _classes(geometry)
        for row in reversed(range(kind.row, rows, down))
        for column in reversed(range(kind.column, columns, right))
    ]


def _group_of_eight(plan: Plan, kind: PlaceClass) -> tuple[np.ndarray, bool]:
    """The distances of eight places that follow each other from the first of them, and whether rows
    have to be filled up so that they hold for every group of eight."""
    if plan.column_tiles == 1:
        rows = plan.rows if plan.images == 1 else kind.end_row - kind.first_row
        images = plan.image_rows * np.arange(plan.images)[:, None, None]
        lines = plan.stride * (images + np.arange(rows)[:, None])
        slots = (lines + np.arange(kind.end_column - kind.first_column)).reshape(-1)
        groups = [slots[i : i + 8] - slots[i] for i in range(0, len(slots), 8)]
        first = np.pad(slots[:8] - slots[:1], (0, 8 - len(slots[:8])))
        if all((group == first[: len(group)]).all() for group in groups):
            return first, False
    return np.arange(8), True


def _choices(distances: np.ndarray) -> np.ndarray:
    """`[256, 8]`: the distances of those whose bits a byte has, one behind the other."""
    chosen = [[d for bit, d in enumerate(distances) if byte >> bit & 1] for byte in range(256)]
    return np.array([row + [0] * (8 - len(row)) for row in chosen], np.uint16)
