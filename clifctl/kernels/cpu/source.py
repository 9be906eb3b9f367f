"""What a connection reads: few inputs that are not 0, as bits, with values where they differ."""

from dataclasses import dataclass

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
    """Room for the bits of so many elements; what lies behind them is 0."""
    room = torch.empty(bits_bytes(elements), dtype=torch.uint8)
    room[-SLACK:] = 0
    return room
