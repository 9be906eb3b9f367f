"""The CPU target of `clifctl.kernels.recurrent`: generated numba kernels on torch tensors."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from clifctl.kernels.blocks import ALIGNED, Blocks
from clifctl.kernels.cache import load_module
from clifctl.kernels.cpu.neuron import CompiledNeuron, PreparedNeuron, address
from clifctl.kernels.cpu.numba_source import REMEMBERED, Source
from clifctl.kernels.cpu.recurrent_source import print_recurrent_source
from clifctl.kernels.flat import Gradients, SampleLayout
from clifctl.kernels.ir.passes import make_passes
from clifctl.kernels.ir.trace import trace
from clifctl.neurons import Hyperparameters, Neuron

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
# Numbers of a step that a unit of work goes through time with, unless a sample has more: what the
# way back remembers of all steps stays in a core's second-level cache.
NUMBERS = 512


@lru_cache(maxsize=256)
def source(neuron: Neuron, hyperparameters: Hyperparameters, dtype: str) -> Source:
    """The source of a recurrent neuron's kernels for `float32` or `float64`."""
    states = tuple(state.name for state in neuron.states)
    program = trace(neuron, hyperparameters)
    passes = make_passes(neuron.name, program, states, neuron.learnables, REMEMBERED)
    return print_recurrent_source(neuron.name, passes, dtype)


@lru_cache(maxsize=256)
def kernel(neuron: Neuron, hyperparameters: Hyperparameters, dtype: torch.dtype) -> CompiledNeuron:
    """The kernels of a recurrent neuron, compiled at their first call (or read from the cache)."""
    from clifctl.kernels.cpu import elementary, elementwise, feedback, staging, vectors
    from clifctl.kernels.cpu.machine_code import keep

    printed = source(neuron, hyperparameters, DTYPES[dtype])
    # What is compiled with it is part of what its machine code is made of.
    parts = (elementary, elementwise, feedback, staging, vectors)
    name = f"recurrent {neuron.name}"
    module = keep(
        load_module(name, printed.text), "".join([printed.text, *map(inspect.getsource, parts)])
    )
    initial = tuple(state.start(hyperparameters) for state in neuron.states)
    return CompiledNeuron(neuron, module, printed, dtype, initial)


@lru_cache(maxsize=1024)
def prepared(compiled: CompiledNeuron, steps: int, batch: int, features: int) -> PreparedNeuron:
    """The kernels for `[steps, batch, features]`."""
    samples = max(1, min(batch, NUMBERS // features))
    period = samples * features
    blocks = Blocks(
        period=period,
        chunks=1,
        groups=-(-batch // samples),
        block=-(-period // ALIGNED) * ALIGNED,
    )
    sample = SampleLayout(features, 1)
    return PreparedNeuron(compiled, steps, batch * features, sample, blocks)


@dataclass(frozen=True)
class RecurrentInput:
    """What the kernels read, all of one dtype and contiguous: `currents` `[T, N, n]`; `weight`
    `[n, n]` (to neuron, from neuron); the output `last` before the first step (None: none) and the
    initial states (None: the neuron's own), `[N, n]`; the learnable parameters."""

    currents: Tensor
    weight: Tensor
    last: Tensor | None
    states: Sequence[Tensor | None]
    learnables: Sequence[Tensor]


def forward(
    compiled: CompiledNeuron, given: RecurrentInput, out: Tensor, finals: Sequence[Tensor]
) -> None:
    """Write the output `[T, N, n]` and the final states; what is fed back is added to the currents,
    in their place."""
    work = prepared(compiled, *given.currents.shape)
    parameters = work.parameters(given.learnables)
    by_source = given.weight.t().contiguous()
    tensors = (out, *given.states, *parameters, *finals, given.last, by_source)
    _run(work, "forward", given, tensors)


def backward(
    compiled: CompiledNeuron,
    given: RecurrentInput,
    g_out: Tensor,
    g_finals: Sequence[Tensor | None],
    g_currents: Tensor,
) -> Gradients:
    """Gradients from those of output and final states (None: zero); that of the currents is written
    into `g_currents`, and what the output feeds back is added to `g_out`."""
    work = prepared(compiled, *given.currents.shape)
    parameters, sums = work.parameters(given.learnables), work.room_for_sums()
    g_states = tuple(None if s is None else torch.empty_like(s) for s in given.states)
    tensors = (g_out, g_currents, *given.states, *parameters, *g_finals, *g_states, *sums)
    _run(work, "backward", given, (*tensors, given.weight))
    return Gradients(g_states, tuple(work.totals(given.learnables, sums)))


def _run(
    work: PreparedNeuron, name: str, given: RecurrentInput, tensors: Sequence[Tensor | None]
) -> None:
    currents = given.currents
    row = currents.stride(0) * currents.element_size()
    work.run(name, address(currents), row, *map(address, tensors), currents.shape[2])
