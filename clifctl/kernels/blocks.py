"""How a kernel's work is cut into blocks and units: a rule of the shapes alone.

Elements lie in one row of `size` = N * features a time step. Where a parameter differs by channel
the row repeats itself after one sample: a period. Small samples are joined until a period fills a
block; every block begins at a whole vector and a whole byte of bits. A unit of work is one block of
each period of a group. The cut does not depend on the number of threads, so neither does any sum
over units.
"""

import math
from dataclasses import dataclass

# What is remembered of a block should stay in a part of a core's first-level cache.
SCRATCH_BYTES = 16 * 1024
LARGEST, SMALLEST = 512, 64
# Every block begins at a multiple of so many elements.
ALIGNED = 16
# Units that keep every core busy; more groups than they need are more partial sums to add up, and
# a group of few periods writes as many numbers as it reads.
ENOUGH_UNITS = 64
PERIODS_A_GROUP = 32


@dataclass(frozen=True)
class Blocks:
    """`block` elements a block, `chunks` blocks a period, `groups` groups of periods."""

    period: int
    chunks: int
    groups: int
    block: int

    @property
    def units(self) -> int:
        """Number of units of work."""
        return self.chunks * self.groups


def cut(size: int, sample: int | None, *, steps: int, rows_per_step: int, itemsize: int) -> Blocks:
    """The cut of a row of `size` elements; `sample` is the number of elements after which
    parameters by channel repeat (None: there are none)."""
    block = LARGEST
    while block > SMALLEST and steps * rows_per_step * block * itemsize > SCRATCH_BYTES:
        block //= 2
    period = size
    if sample is not None and sample < size:
        least = ALIGNED // math.gcd(ALIGNED, sample)
        period = min(size, sample * max(least, block // sample // least * least))
    periods = -(-size // max(1, period))
    chunks = max(1, -(-period // block))
    return Blocks(
        period=max(1, period),
        chunks=chunks,
        groups=max(1, min(-(-ENOUGH_UNITS // chunks), max(4, periods // PERIODS_A_GROUP), periods)),
        block=block,
    )
