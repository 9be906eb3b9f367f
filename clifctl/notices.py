"""Notices for the person at the prompt, from code that knows no console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

# Each with what it was told to be told once.
_listeners: list[tuple[Listener, set[str]]] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within it, and unless another listens within that, `listener` gets every notice."""
    standing = (listener, set[str]())
    _listeners.append(standing)
    try:
        yield
    finally:
        _listeners.remove(standing)


def tell(line: str) -> None:
    """Tell the one who listens, if anybody does."""
    if _listeners:
        _listeners[-1][0](line)


def tell_once(line: str) -> None:
    """As `tell`; what one who listens, or listened around them, has been told is not said again."""
    if _listeners and not any(line in told for _, told in _listeners):
        _listeners[-1][1].add(line)
        tell(line)
