"""The CPU target: generated numba kernels on torch tensors."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.blocks import ALIGNED, Blocks, cut
from clifctl.kernels.cache import load_module
from clifctl.kernels.cpu.source import BitRows
from clifctl.kernels.cpu.workspace import borrowed
from clifctl.kernels.flat import Gradients, Sample
from clifctl.kernels.numba_source import REMEMBERED, Source, print_source
from clifctl.kernels.plan import make_plan
from clifctl.kernels.threads import run_units
from clifctl.kernels.trace import is_binary, spike_window, trace
from clifctl.kernels.window import Window
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.neurons.contract import Learnable

Array = np.ndarray[Any, "np.dtype[Any]"]
# What comes in and goes out. float16 is converted: no CPU that runs this is fast at it.
DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


@lru_cache(maxsize=256)
def source(neuron: Neuron, hyperparameters: Hyperparameters, dtype: str) -> Source:
    """The source of a neuron's kernels for `float32`, `float64` or `bfloat16`."""
    states = tuple(state.name for state in neuron.states)
    program = trace(neuron, hyperparameters)
    plan = make_plan(neuron.name, program, states, neuron.learnables, REMEMBERED)
    return print_source(neuron.name, plan, dtype)


@lru_cache(maxsize=256)
def kernel(neuron: Neuron, hyperparameters: Hyperparameters, dtype: torch.dtype) -> "Kernel":
    """The kernels of a neuron, compiled at their first call (or read from the cache)."""
    from clifctl.kernels.cpu import elementary, elementwise, staging, vectors
    from clifctl.kernels.machine_code import keep

    printed = source(neuron, hyperparameters, DTYPES[dtype])
    # What is compiled with it is part of what its machine code is made of.
    text = "".join(
        [printed.text, *map(inspect.getsource, (elementary, elementwise, staging, vectors))]
    )
    module = keep(load_module(neuron.name, printed.text), text)
    initial = tuple(state.start(hyperparameters) for state in neuron.states)
    held = torch.float64 if dtype == torch.float64 else torch.float32
    has_spikes = dtype == torch.float32 and is_binary(neuron, hyperparameters)
    has_window = has_spikes and spike_window(neuron, hyperparameters) is not None
    return Kernel(neuron, module, printed, held, initial, has_spikes, has_window)


@dataclass(frozen=True)
class Kernel:
    """Forward and backward of one neuron, see `clifctl.kernels.flat.Kernel`."""

    neuron: Neuron
    module: ModuleType
    source: Source
    dtype: torch.dtype
    initial: tuple[float, ...]
    # Whether `forward_spikes` can write spikes, and windows beside them.
    has_spikes: bool
    has_window: bool
    one_row = True

    def forward(
        self, x: Tensor, states: Sequence[Tensor | None], learnables: Sequence[Tensor],
        sample: Sample, out: Tensor, finals: Sequence[Tensor],
    ) -> None:  # fmt: skip
        """See `clifctl.kernels.flat.Kernel.forward`."""
        blocks = self._blocks(x, sample, len(out))
        parameters = self._parameters(learnables, blocks, sample)
        arguments = [
            *map(address, (out, *states, *parameters, *finals)),
        ]
        self._run("forward", blocks, len(out), x, arguments)

    def forward_spikes(
        self, x: Tensor, states: Sequence[Tensor | None], learnables: Sequence[Tensor],
        sample: Sample, steps: int, bits: Tensor, window: Tensor | None, finals: Sequence[Tensor],
    ) -> bool:  # fmt: skip
        """`forward` of so many `steps` with spikes for an output, as bits: bit t * M + j of `bits`
        (see `clifctl.kernels.cpu.source.room_for_bits`) is the spike of element j at step t, that
        of `window` (unless it is None) whether the surrogate's derivative is not 0 there. Nothing
        behind the last bit's byte is written.

        Returns whether any output is NaN, which bits cannot say: they are of no use then. Only for
        float32, and a neuron whose output is a spike; `window` only where `has_window`.
        """
        blocks = self._blocks(x, sample, steps)
        parameters = self._parameters(learnables, blocks, sample)
        spikes = BitRows(bits, steps, x.shape[1])
        opened = None if window is None else BitRows(window, steps, x.shape[1])
        broken = torch.zeros(blocks.units, dtype=torch.uint8, device=CPU)
        arguments = [
            address(spikes.rows),
            0 if opened is None else address(opened.rows),
            spikes.rows.shape[1],
            *map(address, (broken, *states, *parameters, *finals)),
        ]
        self._run("forward_spikes", blocks, steps, x, arguments)
        for rows in (spikes, opened):
            if rows is not None:
                rows.finish()
        return bool(broken.any())

    def backward(
        self, x: Tensor, states: Sequence[Tensor | None], learnables: Sequence[Tensor],
        sample: Sample, g_out: Tensor, g_finals: Sequence[Tensor | None], window: Window | None,
        g_x: Tensor,
    ) -> Gradients:  # fmt: skip
        """See `clifctl.kernels.flat.Kernel.backward`."""
        blocks = self._blocks(x, sample, len(g_x))
        g_states = tuple(None if state is None else torch.empty_like(state) for state in states)
        parameters = self._parameters(learnables, blocks, sample)
        sums = self._sums(g_x, blocks)
        given = (g_out, g_x, *states, *parameters, *g_finals, *g_states, *sums)
        arguments = [*map(address, given)]
        if window is not None and window.sliding:
            self._run("windowed", blocks, len(g_x), x, [*arguments, window.k])
        else:
            cuts = _cuts(window, len(g_x))
            self._run("backward", blocks, len(g_x), x, [*arguments, address(cuts)])
        found = dict(zip(self.source.summed, sums, strict=True))
        totals = tuple(
            self._total(declared, found[declared.name], learnable, sample)
            if declared.name in found
            else torch.zeros_like(learnable)
            for declared, learnable in zip(self.neuron.learnables, learnables, strict=True)
        )
        return Gradients(g_states, totals)

    @cached_property
    def _numbers(self) -> tuple[Tensor, Tensor]:
        """Constants and initial states, as kernels read them."""
        constants = torch.tensor(self.source.constants, dtype=self.dtype, device=CPU)
        return constants, torch.tensor(self.initial, dtype=self.dtype, device=CPU)

    def _blocks(self, x: Tensor, sample: Sample, steps: int) -> Blocks:
        by_channel = any(p.by_channel for p in self.neuron.learnables)
        return cut(
            x.shape[1],
            sample.period if by_channel else None,
            steps=steps,
            rows_per_step=self.source.rows_per_step,
            itemsize=self.dtype.itemsize,
        )

    def _run(
        self, name: str, blocks: Blocks, steps: int, x: Tensor, arguments: Sequence[int]
    ) -> None:
        function = getattr(self.module, name)
        fixed, by_step = self.source.rows[name]
        scratch_bytes = (fixed + by_step * steps) * blocks.block * self.dtype.itemsize
        rows, size = x.shape
        stride = 0 if rows == 1 else size * x.element_size()
        shared = (blocks.period, blocks.chunks, blocks.groups, blocks.block, size, steps)
        given = (*map(address, self._numbers), address(x), stride, *arguments)

        def run(first: int, last: int) -> None:
            with borrowed(scratch_bytes) as scratch:
                function(first, last, *shared, scratch, *given)

        run_units(run, blocks.units, steps * size)

    def _parameters(
        self, learnables: Sequence[Tensor], blocks: Blocks, sample: Sample
    ) -> list[Tensor]:
        """Each as `[1 or T, 1 or period]`: values by channel are spread over one period."""
        rows = []
        for declared, tensor in zip(self.neuron.learnables, learnables, strict=True):
            row = tensor.detach().reshape(tensor.shape[0] if declared.by_step else 1, -1)
            row = row.contiguous()
            rows.append(spread(row, sample, blocks.period) if declared.by_channel else row)
        return rows

    def _sums(self, g_x: Tensor, blocks: Blocks) -> list[Tensor]:
        """Room for partial sums: of a group for parameters by channel, else of a unit. What a group
        adds up at one place are few numbers, in the kernel's dtype; they are added in float64."""
        return [
            torch.empty(
                blocks.groups if p.by_channel else blocks.units,
                len(g_x) if p.by_step else 1,
                blocks.period if p.by_channel else 1,
                dtype=g_x.dtype if p.by_channel else torch.float64,
            )
            for p in self.neuron.learnables
            if p.name in self.source.summed
        ]

    def _total(
        self, declared: Learnable, sums: Tensor, learnable: Tensor, sample: Sample
    ) -> Tensor:
        if not declared.by_channel:
            return sums.sum(0).reshape(learnable.shape).to(learnable.dtype)
        from clifctl.kernels.numba_passes import by_channel

        total = learnable.new_empty((sums.shape[1], sample.channels))
        by_channel(array(sums), sample.inner, array(total))
        return total.view(learnable.shape)


@lru_cache(maxsize=256)
def _cuts(window: Window | None, steps: int) -> Tensor:
    """Whether the state that enters a step is detached, for each step."""
    cuts = [window is not None and window.cut_before(t) for t in range(steps)]
    return torch.tensor(cuts, dtype=torch.uint8, device=CPU)


def spread(values: Tensor, sample: Sample, period: int) -> Tensor:
    """Values by channel `[rows, C]` at each element of one period: `[rows, period]`. A period
    holds the channels a whole number of times. A vector that begins within a row can be read."""
    from clifctl.kernels.numba_passes import spread_out

    size = len(values) * period
    room = values.new_empty(size + ALIGNED)
    out = room[:size].view(len(values), period)
    spread_out(array(values), sample.inner, array(out))
    room[size:] = values[-1, -1]
    return out


def address(tensor: Tensor | None) -> int:
    """Where a contiguous tensor lies in memory; 0 for none."""
    if tensor is None:
        return 0
    assert tensor.is_contiguous()
    at: int = tensor.data_ptr()
    assert at or not tensor.numel(), "a tensor without memory of its own"
    return at


def array(tensor: Tensor) -> "Array":
    """The memory of a tensor on the CPU; that of bfloat16 as whole numbers."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()
