"""Batch norm and neuron on the CPU, prepared for one shape: a step is a few native calls.

Forward: sums over parts of the input; what follows from them, running averages included; the
neuron's kernel. Backward: the neuron's kernel; what its sums give; the correction of the gradient.
Units of work are shared out to threads within a call, so no result depends on their number.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from clifctl.devices import CPU
from clifctl.kernels.blocks import ALIGNED
from clifctl.kernels.cpu.neuron import Array, PreparedNeuron, array
from clifctl.kernels.cpu.numba_target import DTYPES, NumbaKernel, prepared
from clifctl.kernels.cpu.parts import parts_of
from clifctl.kernels.cpu.source import Active, room_for_bits
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.layout import Layout
from clifctl.kernels.spikes.tensor import Spikes
from clifctl.kernels.window import Window


class NormTensors(NamedTuple):
    """The tensors of a batch norm: `[C]`, and a number."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    tracked: Tensor


class NormChoice(NamedTuple):
    """How a batch norm works. Its statistics are `of_batch`, of each step's or of all steps
    `together`, or its running averages; those are updated where it `tracks`, with `momentum` (None:
    the average of all updates)."""

    channels: int
    eps: float
    momentum: float | None
    together: bool
    of_batch: bool
    tracks: bool


class _Scratch:
    """Memory of one call at a time, and where its parts lie."""

    def __init__(self, work: "NormAndNeuron") -> None:
        neuron, parts, like = work.neuron, work.parts, work.like
        steps, period = neuron.steps, neuron.blocks.period
        rows, channels = parts.rows, work.choice.channels
        self.found = parts.room()
        self.columns = np.empty((2, parts.counts.shape[1]))
        self.moments = np.empty((2, work.kinds, channels))
        # A vector that begins within a row can be read.
        room = np.zeros(3 * steps * period + ALIGNED, like.dtype)
        self.prologue = room[:-ALIGNED].reshape(3, steps, period)
        self.parameters = [each.ctypes.data for each in self.prologue]
        self.sums = neuron.room_for_sums()
        self.of_norm = [array(each) for each in self.sums[-2:]]
        self.sums_at = [each.data_ptr() for each in self.sums]
        self.sum = np.empty(period)
        self.terms = np.empty((3, rows if work.count else 0, period), like.dtype)
        self.gradient = np.empty((steps, neuron.size) if work.apart else (0, 0), like.dtype)
        self.gradient_at = self.gradient.ctypes.data


_free: dict[object, list[_Scratch]] = defaultdict(list)


class NormAndNeuron:
    """Batch norm and neuron for an input of one shape, dtype and layout, `steps` time steps.

    An input of one row stands for as many equal steps. `kernel` is that of the neuron with a norm
    for its prologue; `given_state` says that initial states come with each call.
    """

    def __init__(
        self,
        kernel: NumbaKernel,
        x: Tensor,
        steps: int,
        choice: NormChoice,
        window: Window | None,
        *,
        given_state: bool,
    ) -> None:
        from clifctl.kernels.cpu import norm

        self._native = norm
        self._correct = getattr(norm, f"correct_{DTYPES[x.dtype]}")
        self.choice, self.window = choice, window
        self._layout = layout = Layout.of(x)
        rows, size, sample = x.shape[0], x[0].numel(), layout.sample
        self.neuron: PreparedNeuron = prepared(kernel, steps, size, sample)
        self.parts = parts_of(rows, size, sample, x.dtype)
        # How many means there are, one for each row or one for all; how many elements share one.
        self.kinds = 1 if choice.together or not choice.of_batch else rows
        self.count = x.numel() // (self.kinds * choice.channels) if choice.of_batch else 0
        self._dtype, self._held = x.dtype, kernel.dtype
        # The kernel's gradient of x is not yet what the caller gets: it is added up, or rounded.
        self.apart = rows < steps or self._held != x.dtype
        strides = layout.empty(x, steps=steps, dtype=x.dtype).stride()
        self._x = (tuple(x.shape), strides)
        self._out = ((steps, *x.shape[1:]), strides)
        self._state = (tuple(x.shape[1:]), strides[1:])
        self._as_it_is = layout.rows(x, x.dtype).data_ptr() == x.data_ptr()
        self._stride = 0 if rows == 1 else size * x.element_size()
        self._has_window = kernel.has_window
        self._states = len(kernel.neuron.states)
        self._given = self._states if given_state else 0
        self._no_states = (0,) * self._states
        self.like, self._nothing = np.empty(0, DTYPES[self._held]), np.empty((0, 0))
        self._tracking = self._tracking_by(steps // rows)
        # Layers of the same kernels and shape use the same memory, one after the other.
        self._scratch = _free[self.neuron, rows, self.kinds, self.count > 0, self.apart]

    def _tracking_by(self, repeats: int) -> Array:
        """See `clifctl.kernels.cpu.norm.track`."""
        choice, count = self.choice, self.count
        if not (choice.tracks and choice.of_batch):
            return np.empty(0)
        if choice.together:
            count, repeats = count * repeats, 1
        updates = self.kinds * repeats
        unbiased = count / (count - 1)
        if choice.momentum is None:
            return np.array([0.0, unbiased, updates, repeats])
        stays = 1 - choice.momentum
        # What is left of each step's share once the steps after it have been added.
        left = np.array([stays**t for t in range(updates - repeats, -1, -repeats)])
        return np.array([stays**updates, unbiased, updates, repeats, *left * (1 - stays**repeats)])

    def forward(
        self, x: Tensor, norm: NormTensors, tensors: Sequence[Tensor], windows: bool | None = None
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Output, final states, and what `backward` needs of the norm; running averages change.

        `tensors` are the initial states, where they are given, and the learnable parameters of the
        neuron without a norm. Unless `windows` is None the output are `Spikes`, with the windows of
        the surrogate or without; floats all the same where any is NaN.
        """
        scratch, rows = self._take(), self._rows(x)
        statistics = self._measure(rows.data_ptr(), norm, scratch)
        finals = [
            torch.empty_strided(*self._state, dtype=self._held, device=CPU) for _ in self._no_states
        ]
        states, parameters = self._of_neuron(tensors)
        at = (rows.data_ptr(), self._stride)
        given = (
            *_addresses(states, self._no_states),
            *_addresses(parameters),
            *scratch.parameters,
            *_addresses(finals),
        )
        out = None if windows is None else self._spikes(windows, *at, *given)
        if out is None:
            out = torch.empty_strided(*self._out, dtype=self._dtype, device=CPU)
            self.neuron.run("forward", *at, out.data_ptr(), *given)
        self._scratch.append(scratch)
        return out, finals, statistics

    def _spikes(self, windows: bool, x: int, stride: int, *given: int) -> Tensor | None:
        """The output as spikes, unless any is NaN."""
        elements = self.neuron.steps * self.neuron.size
        bits = room_for_bits(elements)
        window = room_for_bits(elements) if windows and self._has_window else None
        unusable = self.neuron.forward_spikes(x, stride, bits, window, *given)
        return None if unusable else Spikes.whole(Active(bits), self._out[0], window)

    def backward(
        self,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        statistics: Tensor,
        tensors: Sequence[Tensor],
        gradients: Sequence[Tensor | None],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight, bias, states and learnables, from those of output and final
        states."""
        scratch, rows, inner = self._take(), self._rows(x), self._layout.sample.inner
        of_norm = (statistics.data_ptr(), self.kinds, self.choice.channels, inner, _at(weight))
        self._native.spread(*of_norm, _at(bias), self.like, scratch.prologue)
        g_x = torch.empty_strided(*self._x, dtype=self._dtype, device=CPU)
        g = scratch.gradient_at if self.apart else g_x.data_ptr()
        states, parameters = self._of_neuron(tensors)
        g_states = [torch.empty_strided(*self._state, dtype=self._held, device=CPU) for _ in states]
        g_out = self._of_output(gradients[0])
        g_finals = [None if t is None else self._layout.rows(t, self._held) for t in gradients[1:]]
        self.neuron.backward(
            rows.data_ptr(),
            self._stride,
            self.window,
            g_out.data_ptr(),
            g,
            *_addresses(states, self._no_states),
            *_addresses(parameters),
            *scratch.parameters,
            *_addresses(g_finals),
            *_addresses(g_states, self._no_states),
            *scratch.sums_at,
        )
        g_weight = None if weight is None else torch.empty_like(weight)
        g_bias = None if bias is None else torch.empty_like(bias)
        self._native.corrections(
            *of_norm,
            float(self.count),
            *scratch.of_norm,
            scratch.sum,
            self.like,
            _at(g_weight),
            _at(g_bias),
            scratch.terms,
        )
        if self.count or self.apart:
            self._finish(g, rows.data_ptr(), g_x.data_ptr(), scratch.terms)
        g_learnables = self.neuron.totals(tensors[self._given :], scratch.sums[:-2])
        found = (g_x, g_weight, g_bias, *g_states, *g_learnables)
        self._scratch.append(scratch)
        return found

    def _measure(self, rows: int, norm: NormTensors, scratch: _Scratch) -> Tensor:
        """Mean and one over the deviation `[2, 1 or T, C]`, and the kernel's prologue by them."""
        parts, choice = self.parts, self.choice
        statistics = torch.empty((2, self.kinds, choice.channels), dtype=self._held, device=CPU)
        if choice.of_batch:
            parts.find(rows, scratch.found)
        self._native.begin(
            parts.counts if choice.of_batch else self._nothing,
            scratch.found,
            parts.inner,
            scratch.columns,
            scratch.moments,
            choice.eps,
            self.like,
            self._tracking,
            norm.running_mean.data_ptr(),
            norm.running_var.data_ptr(),
            norm.tracked.data_ptr(),
            statistics.data_ptr(),
            self._layout.sample.inner,
            _at(norm.weight),
            _at(norm.bias),
            scratch.prologue,
        )
        if self._tracking.size:
            increment_version(norm[2:])
        return statistics

    def _finish(self, g: int, rows: int, out: int, terms: Array) -> None:
        """Add up and correct the gradient of x."""
        blocks, correct = self.neuron.blocks, self._correct
        steps, size = self.neuron.steps, self.neuron.size
        given = (g, rows, out, self.parts.rows, steps, size, terms)
        cut_of_work = (blocks.chunks, blocks.groups, blocks.block)
        run_units(
            lambda first, last: correct(first, last, *given, *cut_of_work),
            self.parts.rows * blocks.units,
            steps * size,
        )

    def _take(self) -> _Scratch:
        # Lists are changed under the interpreter's lock: no two threads get the same.
        try:
            return self._scratch.pop()
        except IndexError:
            return _Scratch(self)

    def _rows(self, x: Tensor) -> Tensor:
        return x if self._as_it_is else self._layout.rows(x, self._dtype)

    def _of_neuron(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Initial states and learnable parameters as the kernels take them."""
        if not tensors:
            return [], []
        states = [self._layout.rows(state, self._held) for state in tensors[: self._given]]
        return states, self.neuron.parameters(tensors[self._given :])

    def _of_output(self, g: Tensor | None) -> Tensor:
        if g is None:
            return torch.zeros(self.neuron.steps, self.neuron.size, dtype=self._dtype, device=CPU)
        if g.stride() == self._out[1] and g.dtype == self._dtype and type(g) is Tensor:
            return g
        return self._layout.rows(g, self._dtype)


def _addresses(tensors: Sequence[Tensor | None], otherwise: tuple[int, ...] = ()) -> Sequence[int]:
    """Where they lie; `otherwise` where there are none."""
    return [_at(tensor) for tensor in tensors] or otherwise


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
