"""The GPU target: generated Triton kernels on torch tensors.

Nothing here waits for the device or looks at a value: what is launched and allocated follows from
shapes alone, so that a net can be captured in a CUDA graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from clifctl.devices import current
from clifctl.kernels.cache import load_module
from clifctl.kernels.flat import Gradients, KernelInput, SampleLayout
from clifctl.kernels.gpu.triton_cache import use_checked_cache
from clifctl.kernels.gpu.triton_launch import WARPS, Segments, Tile, segments, tile
from clifctl.kernels.gpu.triton_source import print_source
from clifctl.kernels.ir.passes import Passes, make_passes
from clifctl.kernels.ir.trace import trace
from clifctl.kernels.window import Window
from clifctl.neurons import Hyperparameters, Neuron
from clifctl.neurons.contract import Learnable

# In and out; arithmetic and states are float32.
DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
# How `backward` cuts: none, chunked, prefix (a window of one step is chunks of one).
_MODES = {"chunked": 1, "sliding": 1, "prefix": 2}
# Rounding as torch rounds: no product is fused with a sum. As many registers as a thread can have:
# without a bound the assembler spills a few values for the sake of one more program at a time.
OPTIONS = {"num_warps": WARPS, "enable_fp_fusion": False, "maxnreg": 255}


@lru_cache(maxsize=256)
def passes(neuron: Neuron, hyperparameters: Hyperparameters) -> Passes:
    """The passes of a neuron's kernels."""
    states = tuple(state.name for state in neuron.states)
    program = trace(neuron, hyperparameters)
    return make_passes(neuron.name, program, states, neuron.learnables)


@lru_cache(maxsize=256)
def source(neuron: Neuron, hyperparameters: Hyperparameters, steps: int) -> str:
    """The source of a neuron's kernels for sequences of `steps`."""
    cut = segments(steps, len(neuron.states))
    return print_source(neuron.name, passes(neuron, hyperparameters), cut.head, cut.length)


@lru_cache(maxsize=256)
def kernel(neuron: Neuron, hyperparameters: Hyperparameters, steps: int) -> "TritonKernel":
    """The kernels of a neuron for sequences of `steps`, compiled at their first call."""
    use_checked_cache()
    module = load_module(f"triton_{neuron.name}", source(neuron, hyperparameters, steps))
    initial = tuple(state.start(hyperparameters) for state in neuron.states)
    cut = segments(steps, len(neuron.states))
    return TritonKernel(neuron, module, passes(neuron, hyperparameters), initial, steps, cut)


@dataclass(frozen=True)
class TritonKernel:
    """Forward and backward of one neuron, see `clifctl.kernels.flat.Kernel`."""

    neuron: Neuron
    module: ModuleType
    passes: Passes
    initial: tuple[float, ...]
    steps: int
    cut: Segments
    one_row = False

    def forward(
        self,
        given: KernelInput,
        out: Tensor,
        finals: Sequence[Tensor],
    ) -> None:
        """See `clifctl.kernels.flat.Kernel.forward`."""
        grid = self.grid("forward", given.x, given.sample)
        tensors = [given.x, out, *given.states, *given.learnables, *finals]
        self._launch("forward", grid, tensors, [self.cut.count])

    def backward(
        self,
        given: KernelInput,
        g_out: Tensor,
        g_finals: Sequence[Tensor | None],
        window: Window | None,
        g_x: Tensor,
    ) -> Gradients:
        """See `clifctl.kernels.flat.Kernel.backward`."""
        x, states, learnables = given.x, given.states, given.learnables
        # Without states every window gives the same gradient.
        sliding = bool(states) and window is not None and window.sliding
        name = "windowed" if sliding else "backward"
        grid = self.grid(name, x, given.sample)
        g_states = tuple(None if state is None else torch.empty_like(state) for state in states)
        sums = {p.name: self._sums(p, grid, x) for p in self.passes.summed}
        # Room for states that do not fit into registers.
        kept = x.new_empty(
            (self.steps if sliding else self.cut.count) * len(states) * x.shape[1],
            dtype=torch.float32,
        )
        tensors = [x, g_out, g_x, *states, *learnables, *g_finals, *g_states, *sums.values(), kept]
        k = 1 if window is None else window.k
        if sliding:
            self._launch(name, grid, tensors, [self.steps, k])
        else:
            mode = 0 if window is None else _MODES[window.mode]
            numbers = [self.cut.count, self.steps, k]
            self._launch(name, grid, tensors, numbers, WINDOW_MODE=mode)
        totals = (
            sums[p.name].sum(0, dtype=torch.float64).reshape(learnable.shape).to(learnable.dtype)
            if p.name in sums
            else torch.zeros_like(learnable)
            for p, learnable in zip(self.neuron.learnables, learnables, strict=True)
        )
        return Gradients(g_states, tuple(totals))

    @property
    def by_channel(self) -> bool:
        """Whether a parameter differs by channel."""
        return any(p.by_channel for p in self.neuron.learnables)

    def tile(self, name: str, sample: SampleLayout) -> Tile:
        """The tile of one program of a kernel."""
        return tile(self.held(name), sample.inner if self.by_channel else None)

    def grid(self, name: str, x: Tensor, sample: SampleLayout) -> "LaunchGrid":
        """Where the programs of a kernel work on `x` `[T, M]`."""
        chosen = self.tile(name, sample)
        size = x.shape[1]
        if not self.by_channel:
            return LaunchGrid(chosen, (size,), rows=-(-size // chosen.block), columns=1)
        channels = sample.channels
        per_channel = size // channels
        return LaunchGrid(
            chosen,
            (channels, sample.inner, per_channel),
            rows=-(-per_channel // chosen.block),
            columns=-(-channels // chosen.channels),
        )

    def held(self, name: str) -> int:
        """Values that a thread of a kernel holds for one element."""
        states, learnables = len(self.neuron.states), len(self.neuron.learnables)
        if name == "forward":
            return 4 + states
        longest = self.cut.length or self.cut.head
        history = longest * states if name == "backward" else states
        return history + 2 * learnables + 2 * states + 8

    def _sums(self, learnable: Learnable, grid: "LaunchGrid", x: Tensor) -> Tensor:
        """Room for the partial sums of a parameter: `[row, T or 1, C]`, or one a program."""
        programs = grid.rows if learnable.by_channel else grid.rows * grid.columns
        return x.new_empty(
            programs,
            self.steps if learnable.by_step else 1,
            grid.sizes[0] if learnable.by_channel else 1,
            dtype=torch.float32,
        )

    def _launch(
        self,
        name: str,
        grid: "LaunchGrid",
        tensors: Sequence[Tensor | None],
        numbers: Sequence[int],
        **switches: int,
    ) -> None:
        fixed: dict[str, Any] = {"BLOCK": grid.tile.block, **switches, **OPTIONS}
        if len(grid.sizes) > 1:
            fixed["CHANNELS"] = grid.tile.channels
        device = next(t.device for t in tensors if t is not None)
        with current(device):
            getattr(self.module, name)[(grid.programs,)](
                *tensors, *self.passes.constants, *self.initial, *grid.sizes, *numbers, **fixed
            )


@dataclass(frozen=True)
class LaunchGrid:
    """How many programs, in rows of elements and columns of channels, and over which sizes."""

    tile: Tile
    sizes: tuple[int, ...]
    rows: int
    columns: int

    @property
    def programs(self) -> int:
        """The size of the grid."""
        return self.rows * self.columns
