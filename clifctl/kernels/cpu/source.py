"""What a connection reads: few inputs that are not 0, as bits, with values where they differ."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Bytes behind the last bit that a kernel may read (64 bits at a time) and nobody may rely on.
SLACK = 64


@dataclass(frozen=True)
class Active:
    """Which elements of `[.., C, H, W]` (`[.., C]`) are not 0, and what they are.

    `bits` is uint8, of `bits_bytes(elements)`: bit e % 8 of byte e // 8 is element e in the order
    `[.., H, W, C]`, channels innermost, without gaps. Every element that is not 0 is `value`, or,
    where `values` is given, what that float32 tensor `[.., H, W, C]` (contiguous) holds there.
    """

    bits: Tensor
    value: float = 1.0
    values: Tensor | None = None


def bits_bytes(elements: int) -> int:
    """Bytes of the bits of so many elements, those that may be read behind them included."""
    return -(-elements // 8) + SLACK


def room_for_bits(elements: int) -> Tensor:
    """Room for the bits of so many elements, all 0."""
    # numpy's: torch fills large memory with OpenMP's threads, which a forked child does not have.
    return torch.from_numpy(np.zeros(bits_bytes(elements), np.uint8))


class BitRows:
    """Bits of `[steps, size]` as rows of whole bytes, one a step, in which units of work write
    bytes side by side: `bits` itself where a step is whole bytes, else memory beside it, which
    `finish` moves there."""

    def __init__(self, bits: Tensor, steps: int, size: int) -> None:
        self._linear = bits[: -(-steps * size // 8)]
        self._size = size
        whole = size % 8 == 0
        shape = (steps, -(-size // 8))
        self.rows = self._linear.view(shape) if whole else bits.new_empty(shape)

    def finish(self) -> None:
        """To be called when all rows are written."""
        if self._size % 8:
            rows, linear = self.rows.numpy(), self._linear.numpy()
            each = np.unpackbits(rows, axis=1, count=self._size, bitorder="little")
            linear[:] = np.packbits(each, bitorder="little")
