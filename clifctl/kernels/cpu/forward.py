"""A connection, forward: the sum of the rows of weights of the inputs that are active.

For a tile of the output, lists say which rows of weights each of its places adds up (see
`clifctl.kernels.cpu.lists`); all outputs share them. Weights lie in blocks, rows of some outputs
side by side, one row for each tap and channel, in chunks that stay in the first-level cache. There
are four ways:

windows  any kernel: the list of a place is one range of a list of columns
points   kernels of one tap (linear layers too): a list of channels for each place
patches  few channels: the bits under a window are gathered into one string first
tables   few taps and channels: every four bits of that string choose one of the 16 sums of their
         rows, made beforehand; as fast for any rate

The order in which an output is summed up depends on shapes and on its list alone, so a result does
not depend on tiles or threads.
"""

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import forward_kernels
from clifctl.kernels.cpu.forward_plan import WINDOWS, plan_of, weight_places
from clifctl.kernels.cpu.geometry import MOST_TAPS, Geometry
from clifctl.kernels.cpu.packing import offsets_in_memory_order, weight_memory
from clifctl.kernels.cpu.source import Active, bits_bytes
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.workspace import borrowed


class Forward:
    """A connection's forward, prepared for its shape. Raises ValueError for a kernel of more than
    MOST_TAPS."""

    def __init__(self, geometry: Geometry, with_values: bool = False) -> None:
        if geometry.taps > MOST_TAPS:
            raise ValueError(f"a kernel of {geometry.taps} taps; lists allow {MOST_TAPS}")
        self.geometry = geometry
        self._with_values = with_values
        g = geometry
        plan, self._scratch = plan_of(g, with_values)
        self._elements = _elements(g)
        self._plan = plan._replace(elements=self._elements.ctypes.data)
        self._numbers = tuple(self._plan)
        self._offsets: dict[bool, tuple[np.ndarray, int]] = {}
        if plan.way == WINDOWS:
            self._tiles = -(-g.samples // plan.tile_samples) * -(-g.out_height // plan.tile_rows)
        else:
            self._tiles = -(-g.samples * g.out_height * g.out_width // plan.places)
        self._size = g.output_shape
        row = g.out_width * g.outputs
        self._stride = (g.out_height * row, 1, row, g.outputs)
        # As long as so many steps of a neuron, about.
        self._work = g.samples * g.out_height * g.out_width * g.outputs * g.taps // 8

    def __call__(self, active: Active, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`weight` `[out, C, kh, kw]` (or `[out, C]`), applied to what is active, plus `bias`
        `[out]`: float32 `[N, out, H', W']`, channels innermost in memory."""
        self._check(active, weight, bias)
        memory, channels_last = weight_memory(weight)
        shift = None if bias is None else bias.detach().contiguous()
        y = torch.empty_strided(self._size, self._stride, device=CPU)
        # Threads share few tiles evenly if the blocks of one can be those of several threads.
        threads = torch.get_num_threads()
        groups = self._plan.blocks if threads > 1 and self._tiles < 8 * threads else 1
        arguments = (
            groups,
            self._numbers,
            active.bits.data_ptr(),
            0 if active.values is None else active.values.data_ptr(),
            memory.data_ptr(),
            self._offsets_of(channels_last),
            float(active.value),
            0 if shift is None else shift.data_ptr(),
            y.data_ptr(),
        )

        def run(first: int, last: int) -> None:
            with borrowed(self._scratch) as scratch:
                forward_kernels.run(first, last, *arguments, scratch)

        run_units(run, self._tiles * groups, self._work)
        return y

    def _check(self, active: Active, weight: Tensor, bias: Tensor | None) -> None:
        """Raises ValueError for what the kernels would read or write out of bounds."""
        g, values = self.geometry, active.values
        fits = active.bits.numel() >= bits_bytes(g.inputs)
        fits &= (values is not None) is self._with_values
        fits &= values is None or (values.numel() == g.inputs and values.is_contiguous())
        fits &= weight.numel() == g.outputs * g.channels * g.taps
        fits &= bias is None or bias.numel() == g.outputs
        if not fits:
            raise ValueError(f"these tensors are not those of a connection {g}")

    def _offsets_of(self, channels_last: bool) -> int:
        """The address of the table that says where each weight goes in its block."""
        if channels_last not in self._offsets:
            places = weight_places(self.geometry, self._plan)
            table = offsets_in_memory_order(places, channels_last)
            self._offsets[channels_last] = table, table.ctypes.data
        return self._offsets[channels_last][1]


def _elements(g: Geometry) -> np.ndarray:
    """The elements of the input `[H, W, C]` that lie under the taps of a window, channel by
    channel, from its first one on."""
    rows, columns, channels = np.indices((*g.kernel, g.channels))
    return ((rows * g.width + columns) * g.channels + channels).reshape(-1).astype(np.uint32)
