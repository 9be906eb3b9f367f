"""Notices for the person at the prompt, from code that knows no console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within it, and unless another listens within that, `listener` gets every notice."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(line: str) -> None:
    """Tell the one who listens, if anybody does."""
    if _listeners:
        _listeners[-1](line)
