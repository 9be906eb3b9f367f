"""How `[T, N, *features]` lies in memory, and how kernels see it: rows of elements, one a step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from clifctl.kernels.flat import SampleLayout


@dataclass(frozen=True)
class Layout:
    """The order of a step's elements: contiguous, or with the channels of an image innermost.

    Kernels work in the order in which the input lies, so that neither is copied into the other.
    """

    shape: tuple[int, ...]
    channels_last: bool

    @classmethod
    def of(cls, x: Tensor) -> "Layout":
        """The layout in which `x` `[T, N, *features]` is worked on; one that is neither is
        contiguous, after a copy."""
        if type(x) is Tensor:  # with numbers for a shape
            return _layout(x.shape, x.stride())
        step = x[0]
        last = x.dim() == 5 and not step.is_contiguous() and _last(step).is_contiguous()
        return cls(tuple(x.shape), last)

    @property
    def sample(self) -> SampleLayout:
        """Where channels lie in a row."""
        channels = self.shape[2] if len(self.shape) > 2 else 1
        return SampleLayout(channels, 1 if self.channels_last else math.prod(self.shape[3:]))

    def rows(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """`[steps, N, *features]` as `[steps, M]`, or `[N, *features]` as `[M]`, of `dtype`: a
        view where it lies so already."""
        ordered = (_last(x) if self.channels_last else x).detach().to(dtype)
        steps = x.shape[:1] if x.dim() == len(self.shape) else ()
        return ordered.reshape(*steps, math.prod(self.shape[1:])).contiguous()

    def shaped(self, rows: Tensor) -> Tensor:
        """The inverse of `rows`: a view."""
        steps = rows.shape[: rows.dim() - 1]
        if not self.channels_last:
            return rows.view(*steps, *self.shape[1:])
        batch, channels, height, width = self.shape[1:]
        return rows.view(*steps, batch, height, width, channels).movedim(-1, -3)

    def empty(self, like: Tensor, *, steps: int | None, dtype: torch.dtype) -> Tensor:
        """Room for `[steps, N, *features]`, or for one step without the first dimension (None), on
        the device of `like`."""
        lead = () if steps is None else (steps,)
        if not self.channels_last:
            return like.new_empty((*lead, *self.shape[1:]), dtype=dtype)
        batch, channels, height, width = self.shape[1:]
        room = like.new_empty((*lead, batch, height, width, channels), dtype=dtype)
        return room.movedim(-1, -3)


@lru_cache(maxsize=4096)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    """See `Layout.of`; the same without making views."""
    last = False
    if len(shape) == 5 and not _fills(shape[1:], strides[1:]):
        last = _fills(*((t[1], t[3], t[4], t[2]) for t in (shape, strides)))
    return Layout(tuple(shape), last)


def _fills(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements lie in order without gaps."""
    if 0 in shape:
        return True
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _last(x: Tensor) -> Tensor:
    """`[..., C, H, W]` as `[..., H, W, C]`."""
    return x.movedim(-3, -1)
