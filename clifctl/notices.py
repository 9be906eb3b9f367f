"""Notices for the person at the prompt, from code that knows no console."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Listener = Callable[[str], None]


@dataclass
class _Standing:
    """One who listens, to what goes on by another way, with what it was told to be told once."""

    listener: Listener
    going_on: Listener
    told: set[str] = field(default_factory=set)


_listeners: list[_Standing] = []


@contextmanager
def heard_by(listener: Listener, going_on: Listener | None = None) -> Iterator[None]:
    """Within it, and unless another listens within that, `listener` gets every notice; if it is
    given, `going_on` those of `tell`."""
    standing = _Standing(listener, going_on or listener)
    _listeners.append(standing)
    try:
        yield
    finally:
        _listeners.remove(standing)


def tell(line: str) -> None:
    """Tell the one who listens, if anybody does, what goes on."""
    if _listeners:
        _listeners[-1].going_on(line)


def tell_once(line: str) -> None:
    """Tell them what they should know: what one who listens, or listened around them, has been told
    is not said again."""
    if _listeners and not any(line in standing.told for standing in _listeners):
        _listeners[-1].told.add(line)
        _listeners[-1].listener(line)
