"""The one place that calls a device by its name: everything else asks here, or takes a tensor's.

Importing this imports no torch: the command line needs the names before it needs tensors.
"""

import os
import platform
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU = "cpu"
GPU = "cuda"


def is_gpu(device: "torch.device") -> bool:
    """Whether `device` is an NVIDIA GPU."""
    return device.type == GPU


def gpu_available() -> bool:
    """Whether torch can use a GPU here."""
    import torch

    return torch.cuda.is_available()


def pins_memory(device: "torch.device") -> bool:
    """Whether what is copied to `device` can lie in memory that it copies from by itself."""
    return is_gpu(device) and gpu_available()


def gpu_missing() -> str | None:
    """Why torch can use no GPU here, in one line; None where it can."""
    import torch

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if gpu_available():
            return None
    if told:
        return str(told[0].message).strip().partition("\n")[0]
    if not torch.backends.cuda.is_built():
        return "this torch is built without CUDA"
    return "torch finds no NVIDIA GPU or no driver for it"


def gpus() -> "list[torch.device]":
    """Every GPU that torch can use."""
    import torch

    count = torch.cuda.device_count() if gpu_available() else 0
    return [torch.device(GPU, index) for index in range(count)]


def device_name(device: "torch.device") -> str:
    """The device's own name, as its maker gives it where that can be known."""
    import torch

    if is_gpu(device):
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_bytes(device: "torch.device") -> int:
    """The memory that the device has in all; of a CPU, what a container may take of it."""
    import torch

    if is_gpu(device):
        return int(torch.cuda.get_device_properties(device).total_memory)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int((_GROUP / "memory.max").read_text()))
    except (OSError, ValueError):
        return physical  # no container, or one without a limit


_GROUP = Path("/sys/fs/cgroup")


def available_memory_bytes() -> int | None:
    """Memory that can be had on this machine without swapping, None where it cannot be known. The
    limit of a container counts."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        pass  # no container, or one without a limit
    return free


def wait_for(device: "torch.device") -> None:
    """Return when everything that was asked of `device` is done."""
    import torch

    if is_gpu(device):
        torch.cuda.synchronize(device)


def communication_backend(device: "torch.device") -> str:
    """What the processes of a run speak through, each with a net on such a device. Sums of
    gradients go from GPU to GPU; what the processes agree on is on the CPU everywhere."""
    return f"{CPU}:gloo,{GPU}:nccl" if is_gpu(device) else "gloo"


def current(device: "torch.device") -> AbstractContextManager[object]:
    """Within it `device` is the GPU that launches go to; nothing for a CPU."""
    import torch

    return torch.cuda.device(device) if is_gpu(device) else nullcontext()
