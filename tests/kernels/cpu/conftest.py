"""Guards around the memory that kernels write through addresses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from clifctl.kernels.cpu.workspace import ALIGNMENT

# Four of them are NaN; as numbers they lie far outside of everything.
POISON = 0xFF
GUARD = ALIGNMENT


def _guarded(size: int) -> np.ndarray:
    """So many bytes between two guards; all of it is poisoned."""
    return np.full(size + 2 * GUARD + ALIGNMENT, POISON, np.uint8)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ModuleType], None]]:
    """Poisons and guards what a module borrows or allocates for results from now on. At the end
    of the test nothing may have been written outside of it."""
    watched: list[tuple[np.ndarray, int, int]] = []

    def watch(size: int) -> int:
        memory = _guarded(size)
        start = GUARD + -memory.ctypes.data % ALIGNMENT
        watched.append((memory, start, start + size))
        return memory.ctypes.data + start

    @contextmanager
    def borrowed(size: int) -> Iterator[int]:
        yield watch(size)

    def empty_strided(size: tuple[int, ...], stride: tuple[int, ...], device: str) -> Tensor:
        watch(4 * int(np.prod(size)))
        memory, start, end = watched[-1]
        return torch.from_numpy(memory[start:end].view(np.float32)).as_strided(size, stride)

    def guard(module: ModuleType) -> None:
        monkeypatch.setattr(module, "borrowed", borrowed)
        monkeypatch.setattr(torch, "empty_strided", empty_strided)

    yield guard
    assert watched
    for memory, start, end in watched:
        assert (memory[:start] == POISON).all(), "written in front of a buffer"
        assert (memory[end:] == POISON).all(), "written behind a buffer"
