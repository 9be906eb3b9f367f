"""Scratch memory for kernels: aligned, given back after use, and used again.

Memory that is fresh from the system costs a page fault every 4 KiB, which is more than many kernels
take themselves.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# A page: no two buffers share a line of the cache, nor a vector two lines.
ALIGNMENT = 4096

_free: dict[int, list[Tensor]] = defaultdict(list)


@contextmanager
def borrowed(size: int) -> Iterator[int]:
    """The address of `size` bytes at least, aligned to a page, of unknown content. Each thread
    that works at the same time borrows its own."""
    held = 1 << max(12, (size - 1).bit_length())
    # Lists are changed under the interpreter's lock: no two threads get the same buffer.
    buffers = _free[held]
    try:
        buffer = buffers.pop()
    except IndexError:
        buffer = torch.empty(held + ALIGNMENT, dtype=torch.uint8)
    try:
        start = buffer.data_ptr()
        yield start + -start % ALIGNMENT
    finally:
        buffers.append(buffer)
