"""Scratch memory for kernels: aligned, given back after use, and used again.

Memory that is fresh from the system costs a page fault every 4 KiB, which is more than many kernels
take themselves.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu.geometry import round_up
from clifctl.kernels.cpu.source import SLACK

# A page: no two buffers share a line of the cache, nor a vector two lines.
ALIGNMENT = 4096

# Bytes -> buffers of at least so many that nobody uses.
_free: dict[int, list[Tensor]] = defaultdict(list)


class borrowed:
    """`with borrowed(size) as address`: `size` bytes at least, aligned to a page, of unknown
    content. Each thread that works at the same time borrows its own."""

    __slots__ = ("_buffer", "_buffers", "_size")

    def __init__(self, size: int) -> None:
        self._size = 1 << max(12, (size - 1).bit_length())
        self._buffers = _free[self._size]

    def __enter__(self) -> int:
        # Lists are changed under the interpreter's lock: no two threads get the same buffer.
        try:
            self._buffer = self._buffers.pop()
        except IndexError:
            self._buffer = torch.empty(self._size + ALIGNMENT, dtype=torch.uint8, device=CPU)
        start = self._buffer.data_ptr()
        return start + -start % ALIGNMENT

    def __exit__(self, *exception: object) -> None:
        self._buffers.append(self._buffer)


def buffers(sizes: Mapping[str, int], alignment: int = ALIGNMENT) -> tuple[dict[str, int], int]:
    """Where buffers of these sizes begin in one piece of scratch memory, with room behind each for
    reads of whole vectors; and the size of the whole [bytes]."""
    starts, total = {}, 0
    for name, size in sizes.items():
        starts[name] = total
        total += round_up(size + SLACK, alignment)
    return starts, total
