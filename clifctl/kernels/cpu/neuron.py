"""A neuron's kernels for one shape: what depends on it alone is made once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.blocks import ALIGNED, Blocks, cut
from clifctl.kernels.cpu.numba_source import Source
from clifctl.kernels.cpu.source import BitRows
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.workspace import borrowed
from clifctl.kernels.flat import SampleLayout
from clifctl.kernels.window import Window
from clifctl.neurons import Neuron

Array = np.ndarray[Any, "np.dtype[Any]"]


@dataclass(frozen=True, eq=False)
class CompiledNeuron:
    """The module that was generated from a neuron's step, for arithmetic in `dtype`; `initial` are
    the values that its states start from."""

    neuron: Neuron
    module: ModuleType
    source: Source
    dtype: torch.dtype
    initial: tuple[float, ...]


class PreparedNeuron:
    """The kernels of a compiled neuron for rows `[steps, size]`, at addresses (0: not there).

    They take an input's address and the bytes from one of its rows to the next (0: one row for
    every step), what comes out, initial states `[size]`, parameters as `parameters` gives them,
    and final states; and the like on the way back. `blocks` is the cut of a row, where that is not
    free.
    """

    def __init__(
        self,
        compiled: CompiledNeuron,
        steps: int,
        size: int,
        sample: SampleLayout,
        blocks: Blocks | None = None,
    ) -> None:
        source, dtype = compiled.source, compiled.dtype
        self._learnables = learnables = compiled.neuron.learnables
        by_channel = any(p.by_channel for p in learnables)
        self.blocks = blocks = blocks or cut(
            size,
            sample.period if by_channel else None,
            steps=steps,
            rows_per_step=source.rows_per_step,
            itemsize=dtype.itemsize,
        )
        self.steps, self.size, self.sample, self.dtype = steps, size, sample, dtype
        self._module = compiled.module
        self._summed = [p for p in learnables if p.name in source.summed]
        self._shared = (blocks.period, blocks.chunks, blocks.groups, blocks.block, size, steps)
        self._scratch_bytes = {
            name: (fixed + by_step * steps) * blocks.block * dtype.itemsize
            for name, (fixed, by_step) in source.rows.items()
        }
        self._constants = torch.tensor(source.constants, dtype=dtype, device=CPU)
        self._initial = torch.tensor(compiled.initial, dtype=dtype, device=CPU)
        self._numbers = (address(self._constants), address(self._initial))
        self._cuts: dict[Window | None, Tensor] = {}

    def run(self, name: str, x: int, stride: int, *given: int) -> None:
        """Call the kernel `name`."""
        function, scratch_bytes = getattr(self._module, name), self._scratch_bytes[name]
        shared, numbers = self._shared, self._numbers

        def run(first: int, last: int) -> None:
            with borrowed(scratch_bytes) as scratch:
                function(first, last, *shared, scratch, *numbers, x, stride, *given)

        run_units(run, self.blocks.units, self.steps * self.size)

    def forward_spikes(
        self, x: int, stride: int, bits: Tensor, window: Tensor | None, *given: int
    ) -> bool:
        """See `clifctl.kernels.cpu.numba_target.NumbaKernel.forward_spikes`."""
        broken = np.zeros(self.blocks.units, np.uint8)
        notes = broken.ctypes.data
        if self.size % 8 == 0:
            into = (address(bits), address(window), self.size // 8, notes)
            self.run("forward_spikes", x, stride, *into, *given)
        else:
            rows = [
                None if t is None else BitRows(t, self.steps, self.size) for t in (bits, window)
            ]
            at = [0 if each is None else address(each.rows) for each in rows]
            self.run("forward_spikes", x, stride, *at, -(-self.size // 8), notes, *given)
            for each in rows:
                if each is not None:
                    each.finish()
        return bool(np.count_nonzero(broken))

    def backward(self, x: int, stride: int, window: Window | None, *given: int) -> None:
        """Gradients of x, of states that are given, and partial sums of those of parameters (see
        `room_for_sums`)."""
        if window is not None and window.sliding:
            self.run("windowed", x, stride, *given, window.k)
        else:
            self.run("backward", x, stride, *given, address(self._cut_before(window)))

    def parameters(self, learnables: Sequence[Tensor]) -> list[Tensor]:
        """Learnable parameters, from the first on, as the kernels take them: `[1 or T, 1 or
        period]`, values by channel spread over one period. A vector that begins within a row can
        be read."""
        from clifctl.kernels.cpu.numba_passes import spread_out

        rows = []
        for declared, tensor in zip(self._learnables, learnables, strict=False):
            row = tensor.detach().reshape(tensor.shape[0] if declared.by_step else 1, -1)
            row = row.contiguous()
            if declared.by_channel:
                values, size = row, len(row) * self.blocks.period
                room = values.new_empty(size + ALIGNED)
                room[size:] = values[-1, -1]
                row = room[:size].view(len(values), -1)
                spread_out(array(values), self.sample.inner, array(row))
            rows.append(row)
        return rows

    def room_for_sums(self) -> list[Tensor]:
        """Room for partial sums: of a group for parameters by channel, else of a unit. What a group
        adds up at one place are few numbers, in the kernel's dtype; they are added in float64."""
        return [
            torch.empty(
                self.blocks.groups if p.by_channel else self.blocks.units,
                self.steps if p.by_step else 1,
                self.blocks.period if p.by_channel else 1,
                dtype=self.dtype if p.by_channel else torch.float64,
                device=CPU,
            )
            for p in self._summed
        ]

    def totals(self, learnables: Sequence[Tensor], sums: Sequence[Tensor]) -> Iterator[Tensor]:
        """The gradients of learnable parameters, from the first on; zeros where none flows."""
        from clifctl.kernels.cpu.numba_passes import by_channel

        found = {p.name: parts for p, parts in zip(self._summed, sums, strict=False)}
        for declared, learnable in zip(self._learnables, learnables, strict=False):
            parts = found.get(declared.name)
            if parts is None:
                yield torch.zeros_like(learnable)
            elif declared.by_channel:
                total = learnable.new_empty((parts.shape[1], self.sample.channels))
                by_channel(array(parts), self.sample.inner, array(total))
                yield total.view(learnable.shape)
            else:
                yield parts.sum(0).reshape(learnable.shape).to(learnable.dtype)

    def _cut_before(self, window: Window | None) -> Tensor:
        if window not in self._cuts:
            cuts = [window is not None and window.cut_before(t) for t in range(self.steps)]
            self._cuts[window] = torch.tensor(cuts, dtype=torch.uint8, device=CPU)
        return self._cuts[window]


def address(tensor: Tensor | None) -> int:
    """Where a contiguous tensor lies in memory; 0 for none."""
    if tensor is None:
        return 0
    assert tensor.is_contiguous()
    at: int = tensor.detach().data_ptr()
    assert at or not tensor.numel(), "a tensor without memory of its own"
    return at


def array(tensor: Tensor) -> Array:
    """The memory of a tensor on the CPU; that of bfloat16 as whole numbers."""
    plain = tensor.detach() if tensor.requires_grad else tensor
    if plain.dtype is torch.bfloat16:
        return plain.view(torch.int16).numpy().view(np.uint16)
    return plain.numpy()
