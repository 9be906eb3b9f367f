"""Device, CPU threads and seeds of a run."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from clifctl.amounts import counted
from clifctl.devices import CPU, GPU, gpu_available, gpu_missing, gpus, is_gpu
from clifctl.errors import ArgumentError, RunFailed, UsageError
from clifctl.launch import Launch
from clifctl.training.precision import Tf32Name

_BY_ITSELF = Launch()


def resolve_device(requested: str, launch: Launch = _BY_ITSELF) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:i`: auto takes a GPU where there is one. Of
    several processes on a machine each takes a GPU of its own.

    Raises UsageError for a device that is not there.
    """
    if launch.count > 1:
        return _own_device(requested, launch)
    if requested == "auto":
        return torch.device(GPU if gpu_available() else CPU)
    device = device_named(requested)
    if is_gpu(device) and (missing := gpu_missing()):
        raise UsageError(
            f"device '{requested}' was asked for, and this machine has no usable CUDA GPU: "
            f"{missing}",
            hint="use --device cpu, or --device auto to take a GPU where there is one",
        )
    if is_gpu(device) and (device.index or 0) >= len(gpus()):
        raise UsageError(
            f"device '{requested}' was asked for, this machine has {len(gpus())}",
            hint="devices count from cuda:0",
        )
    return device


def device_named(requested: str) -> torch.device:
    """The device `cpu`, `cuda` or `cuda:i`, wherever there is one. Raises UsageError."""
    try:
        device = torch.device(requested)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in (CPU, GPU):
        raise UsageError(
            f"unknown device '{requested}'", hint="--device takes auto, cpu, cuda or cuda:0"
        )
    return device


def _own_device(requested: str, launch: Launch) -> torch.device:
    device = resolve_device(requested)
    if not is_gpu(device):
        return device
    if requested != "auto" and ":" in requested:
        raise ArgumentError(
            "device",
            requested,
            f"each of {launch.local_count} processes takes a GPU of its own",
            hint=f"--device {GPU}, and CUDA_VISIBLE_DEVICES for a choice among the GPUs",
        )
    if launch.own_gpu and len(gpus()) == 1:
        return torch.device(GPU, 0)
    if launch.local_count > len(gpus()):
        fewer = "--nproc-per-node" if launch.started_by == "torchrun" else "--ntasks-per-node"
        raise UsageError(
            f"{launch.local_count} processes on this machine, which has "
            f"{counted(len(gpus()), 'GPU')}",
            hint=f"{fewer} {len(gpus())}, or --device {CPU}",
        )
    return torch.device(GPU, launch.local_rank)


OWN_THREADS = torch.get_num_threads()  # before any run has changed it
MOST_THREADS = 4 * (os.cpu_count() or 1)
# Measured on a 2-core CPU with the 5-layer net: one thread is as fast as two up to about 7 MiB kept
# for backward, 13 % slower at 11 MiB, 40 % slower at 43 MiB; and idle threads that spin make two
# runs beside each other several times slower than one after the other. (A third of the figures
# that were read, when a layer kept three tensors; it keeps one, and bits.)
ONE_THREAD_BYTES = 11 * 1024 * 1024


@dataclass(frozen=True)
class Threads:
    """Number of CPU threads of a run, and why."""

    count: int
    reason: str

    @property
    def facts(self) -> dict[str, Any]:
        """As results and manifests name them."""
        return {"threads": self.count, "threads_reason": self.reason}


def resolve_threads(requested: int | None, activations_bytes: int | None = None) -> Threads:
    """The number of CPU threads for a step that keeps `activations_bytes` for backward; without
    that, for a net of any size. Raises UsageError for a number that this machine cannot use.

    A small net runs on one thread, which makes its result the same on any number of cores.
    """
    if requested is not None:
        if not 1 <= requested <= MOST_THREADS:
            raise ArgumentError(
                "threads",
                requested,
                f"must be between 1 and {MOST_THREADS} on this machine",
                hint="without it the number is chosen by the size of the net",
            )
        return Threads(requested, "asked for")
    if activations_bytes is not None and activations_bytes < ONE_THREAD_BYTES:
        return Threads(1, "auto: the net is too small to gain from more")
    return Threads(OWN_THREADS, "auto: torch's own number")


def seed_everything(seed: int) -> torch.Generator:
    """Seed torch for the weights and dropout; returns the generator of order and augmentation."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Within it, torch takes algorithms that give the same bits every time. Otherwise cuDNN times
    several and takes the fastest.

    Raises RunFailed for an operation that has no such algorithm.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    if wanted:
        # cuBLAS reads it when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    # Filling every new tensor would cost much, and would only hide a kernel that reads too early.
    memory.fill_uninitialized_memory = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = wanted, not wanted
    try:
        yield
    except RuntimeError as error:
        if not wanted or "torch.use_deterministic_algorithms" not in str(error):
            raise
        reason = str(error).partition(", but you set")[0].partition("\n")[0][:200]
        raise RunFailed(
            f"train.deterministic = true, and this run cannot repeat its bits: {reason}",
            hint="train.deterministic=false; then the same seed gives other bits each time",
        ) from error
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@contextmanager
def tf32(allowed: Tf32Name) -> Iterator[None]:
    """Within it, `allowed` of the products of float32 may be TF32 on a GPU; without effect on a
    CPU."""
    # The flags that every torch has: it keeps its newer ones (`fp32_precision`) in agreement with
    # them, and refuses to read them where those were set one by one.
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32
    _allow_tf32(allowed != "none", allowed == "all")
    try:
        yield
    finally:
        _allow_tf32(*before)


def _allow_tf32(convolutions: bool, products: bool) -> None:
    with warnings.catch_warnings():
        # torch 2.9 speaks of the newer flags.
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


@contextmanager
def evaluating() -> Iterator[None]:
    """Within it, operations that have no deterministic algorithm are taken too: what is measured
    does not come back into the training."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
