"""How a Triton kernel is cut and launched: a written rule, nothing is tried at run time.

A thread of the way back holds, for each of its elements, the states of every step of a segment, one
sum for each learnable parameter, and what one step works with. A segment is as long as HISTORY
allows; a sequence that fits is one segment. A thread takes as many elements (4, 2 or 1) as the
budget of values allows, so that loads are wide where values are few.
"""

from dataclasses import dataclass

WARPS = 4
THREADS = 32 * WARPS
# Values of states that a thread keeps for one element, and the longest segment written out: beyond
# them a kernel spills, or takes long to compile.
HISTORY, LONGEST = 24, 10
# Values that a thread may hold in all, of the 255 registers that it can have: addresses, masks and
# temporary results need the rest.
BUDGET = 64
WIDEST = 4
# Neighbours that a warp should read together.
NEIGHBOURS = 32


@dataclass(frozen=True)
class Segments:
    """T = head + count * length steps; a short sequence is a head alone."""

    head: int
    length: int
    count: int


def segments(steps: int, states: int) -> Segments:
    """One head, where it is not too long; else segments of which a rest is as short as can be."""
    longest = max(1, min(LONGEST, HISTORY // max(1, states)))
    if steps <= longest:
        return Segments(steps, 0, 0)
    length = min(range(longest, longest // 2, -1), key=lambda n: steps % n)
    return Segments(steps % length, length, steps // length)


@dataclass(frozen=True)
class Tile:
    """`block` elements of each of `channels` channels (1, where channels do not matter)."""

    block: int
    channels: int


def elements_per_thread(held: int) -> int:
    """How many elements a thread takes that holds `held` values for each."""
    count = WIDEST
    while count > 1 and count * held > BUDGET:
        count //= 2
    return count


def tile(held: int, inner: int | None) -> Tile:
    """The tile of a program whose threads hold `held` values an element; `inner` is the number of
    neighbouring elements of one channel, None where channels do not matter."""
    size = THREADS * elements_per_thread(held)
    if inner is None or inner >= NEIGHBOURS:
        return Tile(size, 1)
    channels = 1
    while channels * inner < NEIGHBOURS:
        channels *= 2
    return Tile(size // channels, channels)
