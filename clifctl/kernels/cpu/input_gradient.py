"""The gradient of a connection's input where somebody needs it, and nowhere else.

Behind a surrogate of bounded support the gradient of a spike is multiplied by 0 unless the neuron's
potential lay within the surrogate's window, so it is computed at open windows alone. There it is a
dot product over taps and outputs: the gradient of the output around the place with the weights of
the input's channel.

A place of the input is, in rows and likewise in columns, `stride` * place + class - padding; the
gradient of the output is indexed by places, and tap j of a class meets place - j. So all places of
a class have their taps at the same distances. A tile of places at a time: the gradient of the
output is packed in parts of some outputs, with zeros around it; the open places of each channel are
listed; some of them at once are multiplied with each vector of weights, and the totals are put
where they belong, among zeros.
"""

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import input_gradient_kernels as kernels
from clifctl.kernels.cpu.geometry import Geometry, record
from clifctl.kernels.cpu.input_gradient_plan import classes_of, order_of, plan_of
from clifctl.kernels.cpu.packing import offsets_in_memory_order, weight_memory
from clifctl.kernels.cpu.source import bits_bytes
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.vectors import LANES
from clifctl.kernels.cpu.workspace import borrowed


class InputGradient:
    """The input gradient of connections of a shape, prepared once."""

    def __init__(self, geometry: Geometry) -> None:
        plan = plan_of(geometry)
        self._geometry = geometry
        pixel = geometry.channels
        self._shape = (geometry.samples, pixel, geometry.height, geometry.width)
        row = geometry.width * pixel
        self._strides = (geometry.height * row, 1, row, pixel)
        self._plan, self._scratch = record(plan._asdict()), plan.scratch
        self._classes = np.concatenate([record(kind._asdict()) for kind in classes_of(geometry)])
        self._tiles = -(-plan.samples // plan.images) * plan.row_tiles * plan.column_tiles
        self._work = plan.samples * plan.out_height * plan.out_width * plan.outputs * plan.taps
        self._outputs, self._columns = plan.outputs, plan.channels * plan.taps
        self._chunk, self._blocks = plan.chunk, plan.parts * plan.chunk // LANES
        self._weight_bytes = 4 * plan.parts * plan.chunk * self._columns
        taps = np.argsort(order_of(geometry)) + plan.taps * np.arange(plan.channels)[:, None]
        self._offsets = [
            offsets_in_memory_order(4 * plan.chunk * taps, channels_last)
            for channels_last in (False, True)
        ]
        self._offsets_at = [offsets.ctypes.data for offsets in self._offsets]

    def __call__(self, window_bits: Tensor, g: Tensor, weight: Tensor) -> Tensor:
        """The gradient `[N, C, H, W]`, channels innermost in memory, 0 where the window is closed.

        `window_bits` are as in `Active`, `g` is `[N, outputs, H', W']` and `weight`
        `[outputs, C, kh, kw]`, both float32. Raises ValueError for tensors of another connection.
        """
        self._check(window_bits, g, weight)
        dx = torch.empty_strided(self._shape, self._strides, device=CPU)
        g = g.detach().contiguous(memory_format=torch.channels_last)
        weight, channels_last = weight_memory(weight)
        window_at, g_at, dx_at = window_bits.data_ptr(), g.data_ptr(), dx.data_ptr()
        with borrowed(self._weight_bytes) as packed:
            self._pack(weight.data_ptr(), self._offsets_at[channels_last], packed)

            def run(first: int, last: int) -> None:
                with borrowed(self._scratch) as scratch:
                    kernels.gradient(
                        first,
                        last,
                        self._plan,
                        self._classes,
                        _table_at,
                        window_at,
                        g_at,
                        packed,
                        dx_at,
                        scratch,
                    )

            run_units(run, self._tiles, self._work)
        return dx

    def _check(self, window_bits: Tensor, g: Tensor, weight: Tensor) -> None:
        """Raises ValueError for what the kernels would read out of bounds."""
        shape = self._geometry
        fits = window_bits.numel() >= bits_bytes(shape.inputs)
        fits &= g.shape == shape.output_shape and g.dtype == torch.float32
        fits &= weight.numel() == self._outputs * self._columns and weight.dtype == torch.float32
        if not fits:
            raise ValueError(f"these tensors are not those of a connection {shape}")

    def _pack(self, source: int, offsets: int, packed: int) -> None:
        outputs, columns, chunk = self._outputs, self._columns, self._chunk
        run_units(
            lambda first, last: kernels.pack_weights(
                first, last, source, 4 * columns, outputs, columns, offsets, chunk, packed
            ),
            self._blocks,
            outputs * columns,
        )


def _places_of_bytes() -> np.ndarray:
    """For each of the 256 bytes the numbers of its bits that are set, then zeros: `[256, 8]`."""
    table = np.zeros((256, 8), np.uint16)
    for byte in range(256):
        places = [place for place in range(8) if byte >> place & 1]
        table[byte, : len(places)] = places
    return table


_table = _places_of_bytes()
_table_at = _table.ctypes.data
