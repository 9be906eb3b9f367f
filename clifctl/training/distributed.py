"""The processes of one run: what they compute together, and what they agree on.

Every process holds the whole net and takes its part of each batch. Whatever decides how the run
goes on (errors, stops, saves, verdicts on numbers) is the same in all of them, at the same point;
the main process (rank 0) alone writes and speaks.
"""

import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from clifctl.devices import communication_backend, is_gpu
from clifctl.errors import (
    ClifctlError,
    Interrupted,
    OfOneProcess,
    ReportedElsewhere,
    RunFailed,
    UsageError,
    WorkerFailed,
)
from clifctl.launch import Launch

Item = TypeVar("Item")
# A process may compile kernels, or read data, while the others wait for it.
PATIENCE = timedelta(minutes=30)
# How long a process waits for the main one to say why all of them end, and to save what it can.
LAST_WAIT = timedelta(minutes=2)


class LostProcess(RunFailed):
    """Another process of the run is gone."""


# What every process of a run comes to by itself, or is told; and what of that one alone meets.
OF_ALL = (RunFailed, Interrupted, ReportedElsewhere)
OF_ONE = (LostProcess, WorkerFailed)


@dataclass(frozen=True)
class Processes:
    """The `count` processes of a run, of which this is number `rank`, from 0."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def part(self, samples: int) -> slice:
        """Which of so many samples are this process's: parts differ by one at most."""
        least, more = divmod(samples, self.count)
        start = self.rank * least + min(self.rank, more)
        return slice(start, start + least + (self.rank < more))

    def gather(self, value: Item) -> list[Item]:
        """`value` of every process, in the order of their ranks; it must be possible to pickle."""
        if not self.several:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number over all processes."""
        if not self.several:
            return list(numbers)
        tensor = torch.tensor(numbers)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
        return [int(number) for number in tensor.tolist()]

    def agree(self, do: Callable[[], Item]) -> Item:
        """What `do` gives here, if it raises no ClifctlError in any process. Otherwise all raise:
        the main one what went wrong first, the others ReportedElsewhere."""
        if not self.several:
            return do()
        outcome = _Outcome.of(do)
        failures = self.gather(outcome.failure)
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise self._error_of(failure, rank) from outcome.error
        return outcome.result

    def from_main(self, do: Callable[[], Item]) -> Item:
        """What `do` gives in the main process, the only one that calls it. Raises as `agree`."""
        if not self.several:
            return do()
        outcome = _Outcome.of(do) if self.main else _Outcome()
        values: list[Any] = [(outcome.result, outcome.failure)]
        torch.distributed.broadcast_object_list(values, src=0)
        result, failure = values[0]
        if failure is not None:
            raise self._error_of(failure, 0) from outcome.error
        return result

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor its sum over all processes, in one transfer. The terms are added in the
        same order every time, so that a run repeats."""
        if not self.several:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        sums = [s.view(t.shape) for s, t in zip(flat.split(sizes), tensors, strict=True)]
        torch._foreach_copy_(list(tensors), sums)

    @torch.no_grad()
    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the main process's."""
        if self.several:
            for tensor in tensors:
                values = tensor.contiguous()
                torch.distributed.broadcast(values, src=0)
                tensor.copy_(values)

    def seed_step(self, seed: int, epoch: int, step: int) -> None:
        """Where there are several: give torch's own generator (of dropout) the numbers of this
        process and step, so that a run goes on without every process's generator being saved."""
        if self.several:
            text = f"{seed} {epoch} {step} {self.rank}".encode()
            torch.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7]))

    def _error_of(self, failure: "_Failure", rank: int) -> ClifctlError:
        if not self.main:
            return ReportedElsewhere(failure.exit_code)
        of = f"process {rank} of {self.count}: " if rank else ""
        error = ClifctlError(f"{of}{failure.message}", hint=failure.hint)
        error.exit_code = failure.exit_code
        return error


ALONE = Processes()


@dataclass(frozen=True)
class _Failure:
    """A ClifctlError as one process tells it to another."""

    message: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class _Outcome:
    """What a call gave, or how it failed."""

    result: Any = None
    error: ClifctlError | None = None

    @classmethod
    def of(cls, do: Callable[[], Any]) -> "_Outcome":
        try:
            return cls(result=do())
        except ClifctlError as error:
            return cls(error=error)

    @property
    def failure(self) -> _Failure | None:
        if self.error is None:
            return None
        return _Failure(self.error.message, self.error.hint, self.error.exit_code)


@contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[Processes]:
    """Within it the processes of `launch` speak with each other, each with its net on `device`.

    Raises LostProcess where one of them is gone. What ends the run in all of them is reported by
    the main one: the others wait until it has, and raise ReportedElsewhere.
    """
    if launch.count == 1:
        yield ALONE
        return
    processes = Processes(launch.rank, launch.count)
    try:
        if not torch.distributed.is_initialized():
            _require_address(launch)
            if is_gpu(device):
                torch.cuda.set_device(device)
            _join(launch, communication_backend(device))
        yield processes
    except ClifctlError as ends:
        if processes.main:
            raise
        if isinstance(ends, Interrupted) and ends.at_once:
            raise ReportedElsewhere(ends.exit_code) from None  # the main one waits for this one
        if isinstance(ends, OF_ALL) and not isinstance(ends, OF_ONE):
            _wait_for_the_end_of_main()
            raise ReportedElsewhere(ends.exit_code) from None
        raise OfOneProcess(
            f"{launch.name}: {ends.message}", hint=ends.hint, exit_code=ends.exit_code
        ) from ends
    except RuntimeError as error:
        lost = lost_process(error, processes)
        raise error if lost is None else lost from None
    torch.distributed.destroy_process_group()


def _join(launch: Launch, backend: str) -> None:
    if launch.address is None:  # torchrun has told torch
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
        return
    host, port = launch.address
    torch.distributed.init_process_group(
        backend,
        init_method=f"tcp://{host}:{port}",
        rank=launch.rank,
        world_size=launch.count,
        timeout=PATIENCE,
    )


def _require_address(launch: Launch) -> None:
    """Raise UsageError for a MASTER_ADDR that nobody knows: torch would try it for half an hour."""
    address = launch.address[0] if launch.address else os.environ.get("MASTER_ADDR", "localhost")
    try:
        socket.getaddrinfo(address, None)
    except (OSError, UnicodeError) as unknown:
        raise UsageError(
            f"MASTER_ADDR={address} is not an address that this machine knows "
            f"({getattr(unknown, 'strerror', None) or unknown})",
            hint="torchrun sets it: --master-addr names the machine of the first process"
            if launch.address is None
            else "set MASTER_ADDR to the machine of the first process",
        ) from None


def lost_process(error: RuntimeError, processes: Processes) -> LostProcess | None:
    """What to say where `error` was raised because another process is gone; None: it was not."""
    text = str(error)
    gone = isinstance(error, torch.distributed.DistError) or "gloo" in text
    if not processes.several or not gone:
        return None
    reason = text.strip().splitlines()[0].partition("] ")[2].partition(". ")[0][:100]
    return LostProcess(
        f"another of the {processes.count} processes of this run has ended or cannot be reached "
        f"({reason})",
        hint="what started them says which one, and how; the run goes on with --resume, also in "
        "another number of processes",
    )


def _wait_for_the_end_of_main() -> None:
    """Return when the main process is gone: torchrun ends all others as soon as one has failed, and
    the main one still has to save and to tell why."""
    with suppress(RuntimeError, KeyboardInterrupt):
        waiting: Any = torch.distributed.irecv(torch.zeros(1), src=0)
        waiting.wait(LAST_WAIT)
