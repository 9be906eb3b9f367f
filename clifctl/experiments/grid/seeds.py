"""Seeds that a command asks for."""

from clifctl.errors import ArgumentError
from clifctl.strict import SEEDS

MOST_SEEDS = 1000


def seeds_of(first: int, count: int) -> tuple[int, ...]:
    """`count` seeds from `first` on. Raises ArgumentError for none, too many, or too large ones."""
    if not 1 <= count <= MOST_SEEDS:
        raise ArgumentError(
            "seeds",
            count,
            f"must be between 1 and {MOST_SEEDS}",
            hint="it is how many seeds there are, 8 are enough for most differences",
        )
    require_seed("seeds", first + count - 1)
    return tuple(range(first, first + count))


def require_seed(argument: str, seed: int) -> None:
    """Raise ArgumentError unless the largest seed that `argument` asks for is one."""
    if not 0 <= seed < SEEDS:
        raise ArgumentError(
            argument,
            None,
            f"seed {seed} is out of range, seeds are from 0 to {SEEDS - 1}",
            hint="beyond, the generator gives the same numbers again: begin with a smaller seed",
        )
