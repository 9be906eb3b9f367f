"""What every target's kernels take and give: rows of elements, one a time step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from clifctl.kernels.window import Window


@dataclass(frozen=True)
class SampleLayout:
    """Where channels lie in a row: element e belongs to channel e // inner % channels."""

    channels: int
    inner: int

    @property
    def period(self) -> int:
        """Elements after which channels repeat."""
        return self.channels * self.inner


@dataclass(frozen=True)
class KernelInput:
    """What the kernels of a neuron read: the input `x` `[T, M]`, M = N * features; the initial
    states `[M]` (None: the neuron's own); the learnable parameters; and where channels lie."""

    x: Tensor
    states: Sequence[Tensor | None]
    learnables: Sequence[Tensor]
    sample: SampleLayout


@dataclass(frozen=True)
class Gradients:
    """Gradients of the initial states `[M]` and the learnable parameters."""

    states: tuple[Tensor | None, ...]
    learnables: tuple[Tensor, ...]


class Kernel(Protocol):
    """Forward and backward over flat tensors. Where `one_row`, an input that is equal at every step
    may be given as `[1, M]`."""

    one_row: bool

    def forward(
        self,
        given: KernelInput,
        out: Tensor,
        finals: Sequence[Tensor],
    ) -> None:
        """Write the output `[T, M]` into `out` and the final states `[M]` into `finals`."""

    def backward(
        self,
        given: KernelInput,
        g_out: Tensor,
        g_finals: Sequence[Tensor | None],
        window: Window | None,
        g_x: Tensor,
    ) -> Gradients:
        """Every gradient, from those of the output `[T, M]` and the final states (None: zero); that
        of x is written into `g_x` `[T, M]`. A learnable parameter through which no gradient flows
        gets zeros."""
