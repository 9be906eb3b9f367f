"""When a run is saved within an epoch."""

import re
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """Time between two saves, in seconds or in steps."""

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, text: object) -> "Interval":
        """`60s`, `200steps`, or None for never. Raises ValueError."""
        if text is None:
            return cls()
        match = re.fullmatch(r"([1-9]\d{0,8})\s*(s|steps)", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("must be a time such as 60s, a count such as 200steps, or null")
        number = int(match[1])
        return cls(seconds=float(number)) if match[2] == "s" else cls(steps=number)


def checked_interval(text: object) -> object:
    """`text`, if it is an interval. Raises ValueError."""
    Interval.parse(text)
    return text


class Timer:
    """Says when the next save is due."""

    def __init__(self, every: Interval) -> None:
        self._every = every
        self.saved()

    def saved(self) -> None:
        """A save was just made."""
        self._steps = 0
        self._since = time.monotonic()

    def is_due(self) -> bool:
        """To be asked once a step: whether it is time to save."""
        self._steps += 1
        if self._every.steps is not None:
            return self._steps >= self._every.steps
        return self._every.seconds is not None and (
            time.monotonic() - self._since >= self._every.seconds
        )
