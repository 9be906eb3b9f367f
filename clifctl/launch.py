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
    given = {name: os.environ[name] for name in _NUMBERS if name in os.environ}
    if given.get("WORLD_SIZE", "1") == "1":
        # Of one process, or of a shell in which something of torchrun's is left: number 0 is alone.
        others = [name for name in ("RANK", "LOCAL_RANK") if given.get(name, "0") != "0"]
        if others:
            raise _wrong(f"{others[0]}={given[others[0]]}, and WORLD_SIZE is not set or 1")
        return Launch()
    missing = [name for name in (*_NUMBERS, *_ADDRESS) if not os.environ.get(name)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise _wrong(f"{shown}, and {', '.join(missing)} {are} not set")
    try:
        rank, count, local_rank, local_count = (int(given[name]) for name in _NUMBERS)
    except ValueError:
        rank = count = local_rank = local_count = -1
    if not (0 <= local_rank < local_count <= count and 0 <= rank < count):
        raise _wrong(", ".join(f"{name}={value}" for name, value in given.items()))
    port = os.environ["MASTER_PORT"]
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise _wrong(f"MASTER_PORT={port} is no port (1 to 65535)")
    return Launch(rank, count, local_rank, local_count)


def _wrong(what: str) -> UsageError:
    return UsageError(
        f"the environment does not describe one of several processes: {what}",
        hint=f"start them with torchrun, or for one process: unset {' '.join(_NUMBERS)}",
    )
