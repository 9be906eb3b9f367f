"""How this process was started: by itself, or by torchrun or Slurm's srun as one of several of a
run."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from clifctl.errors import UsageError

# What torchrun tells each process that it starts.
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
# What srun tells each process of a step; in the script of a job, which is no step, the first is not
# set (Slurm, "srun", section OUTPUT ENVIRONMENT VARIABLES).
_STEP = (
    "SLURM_STEP_ID",
    "SLURM_JOB_ID",
    "SLURM_PROCID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_STEP_NODELIST",
)
# Where the processes of a step meet unless MASTER_PORT says it: below the ports that Linux hands
# out by itself, another one for each step of a while.
_FIRST_PORT, _PORTS = 20_000, 12_000
# How several commands of one step are runs of their own.
ON_ITS_OWN = "env -u SLURM_STEP_ID"
_STEP_HINT = f"start them with srun, or for one process: {ON_ITS_OWN} clifctl ..."


@dataclass(frozen=True)
class Launch:
    """This process among the `count` of its run, and among the `local_count` of its machine.

    `address`: host and port where srun's processes meet, None where torchrun has told torch. With
    `own_gpu` each sees one GPU, which no other process of the machine has.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    address: tuple[str, int] | None = None
    own_gpu: bool = False

    @property
    def started_by(self) -> str:
        """The program that started it."""
        return "torchrun" if self.address is None else "srun"

    @property
    def main(self) -> bool:
        """Whether it is this process that speaks and writes."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """This process in words, counted from 0."""
        return f"process {self.rank} of {self.count}"


def launch() -> Launch:
    """What the environment says. Raises UsageError where it contradicts itself."""
    given = {name: os.environ[name] for name in _NUMBERS if name in os.environ}
    if not given and os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        return _of_a_step(os.environ)
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
    _port(os.environ["MASTER_PORT"])
    return Launch(rank, count, local_rank, local_count)


def in_a_job() -> bool:
    """Whether this process belongs to a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ


def _of_a_step(environment: Mapping[str, str]) -> Launch:
    """This process among those of a step of Slurm. In a job's own script, and in a shell where
    something of a step is left, it is alone."""
    if "SLURM_STEP_ID" not in environment:
        return Launch()
    given = {name: environment.get(name, "") for name in _STEP}
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    try:
        step, job, rank, count, local_rank, node = (int(given[name]) for name in _STEP[:6])
        local_count = _tasks_per_node(given["SLURM_STEP_TASKS_PER_NODE"])[node]
    except (ValueError, IndexError):
        raise _wrong(shown, _STEP_HINT) from None
    host = environment.get("MASTER_ADDR") or _first_host(given["SLURM_STEP_NODELIST"])
    if not (host and 0 <= local_rank < local_count <= count and 0 <= rank < count):
        raise _wrong(shown, _STEP_HINT)
    port = environment.get("MASTER_PORT") or str(_FIRST_PORT + (64 * job + step) % _PORTS)
    return Launch(
        rank,
        count,
        local_rank,
        local_count,
        address=(host, _port(port)),
        # Of Slurm from 23.11 on the second.
        own_gpu="SLURM_GPUS_PER_TASK" in environment
        or "gpu" in environment.get("SLURM_TRES_PER_TASK", ""),
    )


def _tasks_per_node(text: str) -> list[int]:
    """`2(x3),1` as Slurm writes it: 2, 2, 2, 1. Raises ValueError."""
    found: list[int] = []
    for entry in text.split(","):
        count, _, times = entry.removesuffix(")").partition("(x")
        found += [int(count)] * min(int(times or 1), 100_000)
    return found


def _first_host(nodes: str) -> str:
    """The first of `gpu[03-05,9],login`: `gpu03`."""
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", re.split(r",(?![^[]*\])", nodes)[0])


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise _wrong(f"MASTER_PORT={text} is no port (1 to 65535)")
    return int(text)


def _wrong(what: str, hint: str | None = None) -> UsageError:
    return UsageError(
        f"the environment does not describe one of several processes: {what}",
        hint=hint or f"start them with torchrun, or for one process: unset {' '.join(_NUMBERS)}",
    )
