"""The CPU target: generated numba kernels on torch tensors."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from clifctl.kernels.cache import load_module
from clifctl.kernels.cpu.neuron import CompiledNeuron, PreparedNeuron, address
from clifctl.kernels.cpu.numba_source import REMEMBERED, Source, print_source
from clifctl.kernels.flat import Gradients, KernelInput, SampleLayout
from clifctl.kernels.ir.passes import make_passes
from clifctl.kernels.ir.trace import is_binary, spike_window, trace
from clifctl.kernels.window import Window
from clifctl.neurons import Hyperparameters, Neuron

# What comes in and goes out. float16 is converted: no CPU that runs this is fast at it.
DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


@lru_cache(maxsize=256)
def source(neuron: Neuron, hyperparameters: Hyperparameters, dtype: str) -> Source:
    """The source of a neuron's kernels for `float32`, `float64` or `bfloat16`."""
    states = tuple(state.name for state in neuron.states)
    program = trace(neuron, hyperparameters)
    passes = make_passes(neuron.name, program, states, neuron.learnables, REMEMBERED)
    return print_source(neuron.name, passes, dtype)


@lru_cache(maxsize=256)
def kernel(neuron: Neuron, hyperparameters: Hyperparameters, dtype: torch.dtype) -> "NumbaKernel":
    """The kernels of a neuron, compiled at their first call (or read from the cache)."""
    from clifctl.kernels.cpu import elementary, elementwise, staging, vectors
    from clifctl.kernels.cpu.machine_code import keep

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
    return NumbaKernel(neuron, module, printed, held, initial, has_spikes, has_window)


@dataclass(frozen=True, eq=False)
class NumbaKernel(CompiledNeuron):
    """Forward and backward of one neuron, see `clifctl.kernels.flat.Kernel`."""

    # Whether `forward_spikes` can write spikes, and windows beside them.
    has_spikes: bool
    has_window: bool
    one_row = True

    def forward(
        self,
        given: KernelInput,
        out: Tensor,
        finals: Sequence[Tensor],
    ) -> None:
        """See `clifctl.kernels.flat.Kernel.forward`."""
        work = prepared(self, *out.shape, given.sample)
        parameters = work.parameters(given.learnables)
        addresses = map(address, (out, *given.states, *parameters, *finals))
        work.run("forward", address(given.x), _stride(given.x), *addresses)

    def forward_spikes(
        self,
        given: KernelInput,
        steps: int,
        bits: Tensor,
        window: Tensor | None,
        finals: Sequence[Tensor],
    ) -> bool:
        """`forward` of so many `steps` with spikes for an output, as bits: bit t * M + j of `bits`
        (see `clifctl.kernels.cpu.source.room_for_bits`) is the spike of element j at step t, that
        of `window` (unless it is None) whether the surrogate's derivative is not 0 there. Nothing
        behind the last bit's byte is written.

        Returns whether any output is NaN, which bits cannot say: they are of no use then. Only for
        float32, and a neuron whose output is a spike; `window` only where `has_window`.
        """
        work = prepared(self, steps, given.x.shape[1], given.sample)
        parameters = work.parameters(given.learnables)
        addresses = map(address, (*given.states, *parameters, *finals))
        return work.forward_spikes(address(given.x), _stride(given.x), bits, window, *addresses)

    def backward(
        self,
        given: KernelInput,
        g_out: Tensor,
        g_finals: Sequence[Tensor | None],
        window: Window | None,
        g_x: Tensor,
    ) -> Gradients:
        """See `clifctl.kernels.flat.Kernel.backward`."""
        work = prepared(self, *g_x.shape, given.sample)
        g_states = tuple(None if s is None else torch.empty_like(s) for s in given.states)
        parameters, sums = work.parameters(given.learnables), work.room_for_sums()
        tensors = (g_out, g_x, *given.states, *parameters, *g_finals, *g_states, *sums)
        work.backward(address(given.x), _stride(given.x), window, *map(address, tensors))
        return Gradients(g_states, tuple(work.totals(given.learnables, sums)))


@lru_cache(maxsize=1024)
def prepared(kernel: NumbaKernel, steps: int, size: int, sample: SampleLayout) -> PreparedNeuron:
    """The kernels for rows `[steps, size]`."""
    return PreparedNeuron(kernel, steps, size, sample)


def _stride(x: Tensor) -> int:
    """Bytes from one row to the next; an input that is equal at every step is one row."""
    rows, size = x.shape
    return 0 if rows == 1 else size * x.element_size()
