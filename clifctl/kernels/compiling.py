"""Notices of what is compiled, and of how long it took, for the person who waits."""

import time

from clifctl.notices import tell

# What took less is not spoken of.
WORTH_A_WORD_S = 0.5


class Compiling:
    """What is being compiled at the moment, outermost first: numba's global lock is held.

    A person at the prompt waits for it: the first word comes at once, then one for each function
    that took its time.
    """

    def __init__(self) -> None:
        self._begun: list[tuple[object, float]] = []
        self._seconds = 0.0
        self._said = False

    def begins(self, key: object) -> None:
        """Note that the compilation of a function begins, maybe because another one calls it."""
        if not self._said:
            self._said = True
            tell("compiling kernels for this processor, at their first use")
        self._begun.append((key, time.perf_counter()))

    def ends(self, key: object, name: str) -> None:
        """Note that it has ended. What began within it and did not end has failed."""
        places = [place for place, (begun, _) in enumerate(self._begun) if begun == key]
        if not places:
            return
        seconds = time.perf_counter() - self._begun[places[-1]][1]
        del self._begun[places[-1] :]
        if self._begun:
            return  # the other one's time has it
        self._seconds += seconds
        if seconds >= WORTH_A_WORD_S:
            tell(f"compiled {name} in {seconds:.1f} s ({self._seconds:.1f} s in all)")


compiling = Compiling()
