"""Peak memory of a contestant's training step, measured in a process of its own."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import torch

from clifctl import trust
from clifctl.devices import is_gpu
from clifctl.errors import RunFailed
from clifctl.experiments.bench.net_contestants import Learner, learner
from clifctl.experiments.bench.task import Task

STEPS = 3
STATUS = Path("/proc/self/status")


def peak_missing(device: torch.device) -> str | None:
    """Why the peak memory of a process cannot be measured; None where it can."""
    if is_gpu(device) or STATUS.is_file():
        return None
    return "this system does not report the peak memory of a process (no /proc)"


def peak_bytes(task: Task, who: str | None, memory_format: str) -> int:
    """Largest memory of a process that trains `who` for STEPS steps (None: that trains nothing),
    with the same libraries loaded in every case. On a GPU: the largest memory of torch's tensors.

    Raises RunFailed where the process dies, as for want of memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_peak, task, who, memory_format, trust.files()).result()
        except BrokenProcessPool:
            raise RunFailed(
                f"the process that measures the memory of '{who}' died",
                hint="if memory was short: a smaller --batch, or --no-peak",
            ) from None


def _peak(task: Task, who: str | None, memory_format: str, trusted: Sequence[str]) -> int:
    trust.allow_files(trusted)
    torch.set_num_threads(task.execution.threads.count)
    for library in ("numba", "spikingjelly.activation_based.neuron"):
        import_module(library)
    if who is not None:
        made = learner(who, task, memory_format)
        assert isinstance(made, Learner)  # it has just been timed
        for _ in range(STEPS):
            made.step()
    if is_gpu(task.device):
        return torch.cuda.max_memory_allocated(task.device)
    # Not ru_maxrss: on Linux a child inherits its parent's through exec.
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RunFailed(f"{STATUS} has no VmHWM", hint="--no-peak leaves the memory out")
