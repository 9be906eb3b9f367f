"""How this process was started: by itself, or by torchrun as one of several of a run."""

import os
from dataclasses import dataclass

from clifctl.errors import UsageError

# What torchrun tells each process that it starts.
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """This process among the `count` of its run, and among the `local_count` of its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def main(self) -> bool:
        """Whether it is this process that speaks and writes."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """This process in words, counted from 0 as torchrun counts."""
        return f"process {self.rank} of {self.count}"


def launch() -> Launch:
    """What the environment says. Raises UsageError where it contradicts itself."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Launch()
    missing = [name for name in (*_NUMBERS, *_ADDRESS) if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE = {os.environ['WORLD_SIZE']} says that this is one of several processes, "
            f"and {', '.join(missing)} is not set",
            hint="start them with torchrun, or unset WORLD_SIZE for one process",
        )
    try:
        rank, count, local_rank, local_count = (int(os.environ[name]) for name in _NUMBERS)
    except ValueError:
        rank = count = local_rank = local_count = -1
    if not (0 <= local_rank < local_count <= count and 0 <= rank < count):
        given = ", ".join(f"{name}={os.environ[name]}" for name in _NUMBERS)
        raise UsageError(
            f"the environment does not describe one of several processes: {given}",
            hint="start them with torchrun, or unset WORLD_SIZE for one process",
        )
    return Launch(rank, count, local_rank, local_count)
