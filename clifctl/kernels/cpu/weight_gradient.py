"""The gradient of a connection's weights, by adding up what active inputs cause.

The gradient of the weight from channel c through a tap to an output is the sum of the output's
gradient at what the tap reaches from the places where c is active. So the places of each channel
are listed, tile by tile; then, for LANES outputs at a time, their gradient is packed so that a
place and what it reaches lie at fixed distances, and the vectors that a list hits are added up in
registers, one sum a tap.
"""

import math

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import channel_lists
from clifctl.kernels.cpu import weight_gradient_kernels as kernels
from clifctl.kernels.cpu.channel_lists import OVERRUN
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.lists import PLACES, UNALIGNED_WORD, WORD
from clifctl.kernels.cpu.source import Active, bits_bytes
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES
from clifctl.kernels.cpu.weight_gradient_plan import WeightGradientPlan, distances, plan_of
from clifctl.kernels.cpu.workspace import borrowed

# Bytes that the sums of a unit take at most: they stay in the second-level cache.
_SUMS_BYTES = 300 * 1024
# Places of a tile whose grids for all blocks of a band fit into the first-level cache together:
# then the list of a single tap is gone through once for all of them.
_JOINT_PLACES = 128
_TABLE = int(PLACES.ctypes.data)


class WeightGradient:
    """The weight gradient of connections of a shape, prepared once.

    With `with_values`, the inputs are not all of one value. With `channels_last`, the gradient lies
    in memory as weights in torch's channels_last do, else contiguously."""

    def __init__(
        self, geometry: Geometry, with_values: bool = False, channels_last: bool = False
    ) -> None:
        plan = plan_of(geometry)
        self._geometry, self._with_values = geometry, with_values
        self._size = geometry.outputs, geometry.channels, *geometry.kernel
        row, columns = geometry.channels * geometry.taps, geometry.kernel[1]
        innermost = (row, 1, columns * geometry.channels, geometry.channels)
        self._stride = innermost if channels_last else (row, geometry.taps, columns, 1)
        classes, self._groups = _classes_and_groups(geometry, plan)
        blocks = -(-geometry.outputs // LANES)
        joint = geometry.taps == 1 and blocks >= kernels.BAND and plan.places <= _JOINT_PLACES
        multiples = _multiples(plan, self._groups, len(classes), joint)
        self._classes = np.array(
            [(*each, multiple) for each, multiple in zip(classes, multiples, strict=True)], np.int64
        )
        words = -(-(plan.last_place + 1) // 64) * 64
        inputs = plan.images * plan.rows * plan.columns * geometry.channels * len(classes)
        self._lists = geometry.channels * len(classes)
        self._room = inputs + geometry.channels * sum(multiples) + OVERRUN
        self._tiles = plan.tiles
        self._bands = -(-blocks // kernels.BAND)
        grid = max(plan.places + plan.beyond, LANES)
        self._plan = plan.record(
            tiles=plan.tiles,
            blocks=blocks,
            bands=self._bands,
            # From a tap to that of the next row, or column, of the same class.
            tap_row=geometry.stride[0] * geometry.kernel[1],
            tap_column=geometry.stride[1],
            grid=grid,
            joint=int(joint),
            channels_last=int(channels_last),
            nowhere=-1 if plan.nowhere is None else plan.nowhere,
            # Lists: words of bits for the places of a tile, channels a word, entries of a tile.
            words=words,
            chunk=UNALIGNED_WORD if geometry.channels % 8 else WORD,
            lists=self._lists,
            room=self._room,
        )
        self._words_bytes = 65 * 8 * words
        band_bytes = min(blocks, kernels.BAND) * VECTOR_BYTES
        channel_bytes = geometry.taps * band_bytes
        self._spans = -(-geometry.channels * channel_bytes // _SUMS_BYTES)
        self._span = _span(geometry.channels, self._spans)
        self._scratch_bytes = band_bytes * (grid + 1) + self._span * channel_bytes
        self._pixels = _pixels(geometry, plan) if with_values else None

    def __call__(self, active: Active, g: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the weights `[outputs, channels, *kernel]` and of the bias `[outputs]`
        from the gradient `g` of the output (see `Geometry.output_shape`), float32."""
        self._check(active, g)
        g = g.detach().contiguous(memory_format=torch.channels_last)
        gradient = torch.empty_strided(self._size, self._stride, device=CPU)
        bias_gradient = torch.empty_strided(self._size[:1], (1,), device=CPU)
        lists_bytes = -(-2 * self._room * self._tiles // 64) * 64
        starts_bytes = -(-4 * (self._lists + 1) * self._tiles // 64) * 64
        values_bytes = 4 * self._room * self._tiles if self._with_values else 0
        with borrowed(lists_bytes + starts_bytes + values_bytes) as lists:
            starts = lists + lists_bytes
            listed = starts + starts_bytes
            self._list(active, lists, starts, listed)
            self._sum(active.value, g, lists, starts, listed, gradient, bias_gradient)
        return gradient, bias_gradient

    def _check(self, active: Active, g: Tensor) -> None:
        """Raises ValueError for what the kernels would read out of bounds."""
        shape, values = self._geometry, active.values
        fits = active.bits.numel() >= bits_bytes(shape.inputs)
        fits &= (values is not None) is self._with_values
        fits &= values is None or (values.numel() == shape.inputs and values.is_contiguous())
        fits &= g.shape == shape.output_shape and g.dtype == torch.float32
        if not fits:
            raise ValueError(f"these tensors are not those of a connection {shape}")

    def _list(self, active: Active, lists: int, starts: int, listed: int) -> None:
        bits = active.bits.data_ptr()

        def run(first: int, last: int) -> None:
            with borrowed(self._words_bytes) as words:
                channel_lists.list_channels(
                    first, last, self._plan, self._classes, bits, _TABLE, words, lists, starts
                )
            if active.values is not None:
                channel_lists.list_values(
                    first,
                    last,
                    self._plan,
                    self._classes,
                    active.values.data_ptr(),
                    self._pixels,
                    lists,
                    starts,
                    listed,
                )

        run_units(run, self._tiles, self._geometry.inputs // 8)

    def _sum(
        self,
        value: float,
        g: Tensor,
        lists: int,
        starts: int,
        listed: int,
        gradient: Tensor,
        bias_gradient: Tensor,
    ) -> None:
        kernel = kernels.sum_units_of_values if self._with_values else kernels.sum_units_of_spikes
        addresses = g.data_ptr(), lists, starts, listed
        made = gradient.data_ptr(), bias_gradient.data_ptr()
        scale = np.float32(value)

        channels = self._geometry.channels
        # A unit for each thread at least; what units there are has no influence on any sum.
        span = _span(channels, max(self._spans, -(-torch.get_num_threads() // self._bands)))

        def run(first: int, last: int) -> None:
            with borrowed(self._scratch_bytes) as scratch:
                kernel(
                    first, last, self._plan, self._groups, span, *addresses, scale, scratch, *made
                )

        run_units(run, self._bands * -(-channels // span), self._geometry.inputs * self._bands)


def _multiples(
    plan: WeightGradientPlan, groups: np.ndarray, classes: int, joint: bool
) -> list[int]:
    """What the length of each class's lists is made a multiple of, so that no entry is added alone
    where several can be at once."""
    multiples = [1] * classes
    if plan.nowhere is not None:
        for kind, number, *_ in groups.tolist():
            taps = kernels.BAND if joint else math.prod(kernels.GROUPS[kind])
            multiples[number] = max(multiples[number], kernels.entries_together(taps))
    return multiples


def _span(channels: int, spans: int) -> int:
    """Channels of each of about `spans` spans: whole vectors, so that lines are written whole."""
    return -(-channels // spans // LANES) * LANES


def _classes_and_groups(
    geometry: Geometry, plan: WeightGradientPlan
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The classes of positions that any tap meets, and the groups of taps: of each which of GROUPS
    it is, its class, where in the grid [bytes] place 0 hits through its first tap, and that tap."""
    rows, columns = (
        _classes(*each)
        for each in zip(geometry.kernel, geometry.stride, geometry.padding, strict=True)
    )
    classes = [(row, column) for row in rows for column in columns]
    groups = []
    for number, (row, column) in enumerate(classes):
        for first_row, height in _parts(rows[row]):
            for first_column, width in _parts(columns[column]):
                (tap_row, down), (tap_column, right) = first_row, first_column
                at = plan.origin + down * plan.pitch + right
                kind = kernels.GROUPS.index((height, width))
                groups.append(
                    (kind, number, VECTOR_BYTES * at, tap_row * geometry.kernel[1] + tap_column)
                )
    return classes, np.array(groups, np.int64)


def _classes(kernel: int, stride: int, padding: int) -> dict[int, list[tuple[int, int]]]:
    """For each class along an axis its taps, each with the distance of its output."""
    classes: dict[int, list[tuple[int, int]]] = {}
    for tap, (number, distance) in enumerate(distances(kernel, stride, padding)):
        classes.setdefault(number, []).append((tap, distance))
    return classes


def _parts(taps: list[tuple[int, int]]) -> list[tuple[tuple[int, int], int]]:
    """Taps of a class along an axis, three at a time: the first one, and how many."""
    return [(taps[first], len(taps[first : first + 3])) for first in range(0, len(taps), 3)]


def _pixels(geometry: Geometry, plan: WeightGradientPlan) -> np.ndarray:
    """For each place of a tile the position's pixel in the input, counted from the tile's first."""
    n, y, x = np.indices((plan.images, plan.rows, plan.columns))
    pixels = np.zeros(plan.last_place + 1, np.int64)
    places = n * plan.image_pitch + y * plan.pitch + x
    pixels[places] = (
        n * geometry.height + y * geometry.stride[0]
    ) * geometry.width + x * geometry.stride[1]
    return pixels
