"""`doctor`: what this machine has, and whether its kernels do what the reference does."""

import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import torch

from clifctl.data import DATASETS, Dataset, data_folder
from clifctl.devices import CPU, GPU, device_name, gpu_available, gpu_missing, gpus, memory_bytes
from clifctl.errors import TargetError
from clifctl.experiments.run.manifest import package_versions
from clifctl.kernels import Target, resolve_kernels, resolve_target
from clifctl.kernels.cache import damaged
from clifctl.kernels.cache_folder import folder_at, preferred_folder
from clifctl.kernels.gpu.triton_cache import damaged as damaged_triton
from clifctl.kernels.parity import Case, check
from clifctl.kernels.targets import TARGETS, targets_of
from clifctl.neurons import NEURONS
from clifctl.results.doctor import (
    CacheState,
    DataState,
    DeviceRow,
    DoctorResult,
    EventDriven,
    KernelTargetRow,
    LockState,
    SelfTestRow,
)
from clifctl.training.device import OWN_THREADS
from clifctl.training.lock_kind import kind_in
from clifctl.training.precision import TF32_DEFAULT, resolve_tf32

PACKAGES = (
    "clifctl",
    "torch",
    "torchvision",
    "triton",
    "numba",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "spikingjelly",
    "nir",
    "nirtorch",
    "tensorboard",
    "distributed",
    "submitit",
    "neurobench",
    "mnist1d",
    "faery",
    "h5py",
)
# The neuron of the paper, in the one setting that every recipe of the catalog starts from.
SELF_TEST = "clif"


def examine(root: Path | None = None) -> DoctorResult:
    """Look at everything; data sets below `root` (None: the default of recipes).

    Whatever is broken is a finding; only a `~` in `root` without a home and a variable for locks
    that says nothing raise (UsageError). A
    kernel that is not in the cache is compiled first, which takes some seconds.
    """
    started = time.perf_counter()
    place = data_folder() if root is None else data_folder(root)
    devices = [torch.device(CPU), *gpus()]
    cache = _cache()
    connections = _connections()
    tests = [_self_test(name, device) for device in devices for name in _fused(device)]
    tests += [_connections_test()] if connections.available else []
    return DoctorResult(
        healthy=all(row.passed for row in tests),
        platform=platform.platform(),
        cpu_cores=os.cpu_count() or 1,
        cpu_threads=OWN_THREADS,
        versions=package_versions(*PACKAGES),
        devices=tuple(_devices(devices)),
        targets=tuple(_target(name, device) for device in _kinds(devices) for name in TARGETS),
        cache=cache,
        locks=_locks(Path.cwd()),
        data_root=str(place),
        data=tuple(_data(dataset, place) for dataset in DATASETS.values()),
        self_test=tuple(tests),
        seconds=time.perf_counter() - started,
        connections=connections,
    )


def _devices(devices: list[torch.device]) -> list[DeviceRow]:
    rows = []
    for device in devices:
        tf32 = resolve_tf32(TF32_DEFAULT, device)
        rows.append(
            DeviceRow(
                device=str(device),
                name=device_name(device),
                memory_bytes=memory_bytes(device),
                tf32=tf32.name,
                tf32_reason=tf32.reason,
                problem=None,
            )
        )
    missing = gpu_missing()
    if missing:
        unknown = dict.fromkeys(("name", "memory_bytes", "tf32", "tf32_reason"))
        rows.append(DeviceRow(device=GPU, problem=missing, **unknown))
    return rows


def _kinds(devices: list[torch.device]) -> list[torch.device]:
    """One device of each kind, the GPU too where there is none: then it is said why."""
    return [devices[0], *(devices[1:2] or [torch.device(GPU)])]


def _automatic(device: torch.device) -> Target | None:
    """The target that is chosen where none is asked for, None where that is refused."""
    try:
        return resolve_target("auto", device)
    except TargetError:
        return None


def _target(name: str, device: torch.device) -> KernelTargetRow:
    automatic = _automatic(device)
    reason, usable = TARGETS[name], True
    try:
        resolve_target(name, device)
    except TargetError as refused:
        # Either something is missing, or it is for another kind of device: the hint says which.
        missing = refused.message.partition(": ")[2]
        reason, usable = missing or (refused.hint or "").partition(";")[0], False
    if usable and device.type == GPU and not gpu_available():
        reason, usable = "no GPU", False
    chosen = automatic if usable and automatic is not None and automatic.name == name else None
    return KernelTargetRow(
        target=name,
        device=str(device),
        usable=usable,
        chosen=chosen is not None,
        reason=reason if chosen is None else chosen.reason,
    )


def _connections() -> EventDriven:
    try:
        found = resolve_kernels().connections
    except TargetError as refused:
        return EventDriven(available=False, reason=refused.message, lanes=None)
    if found.name == "dense":
        return EventDriven(available=False, reason=found.reason, lanes=None)
    from clifctl.kernels.cpu.vectors import LANES  # imports numba

    return EventDriven(available=True, reason=found.reason, lanes=LANES)


def _fused(device: torch.device) -> list[str]:
    """The fused targets that `auto` would take or a person could ask for on `device`."""
    return [name for name in targets_of(device) if _target(name, device).usable]


def _cache() -> CacheState:
    found = folder_at(preferred_folder())
    if found is None:
        return CacheState(
            folder=None,
            writable=False,
            problem="this user has no home directory: set XDG_CACHE_HOME",
            files=0,
            size_bytes=0,
            damaged=(),
        )
    folder = found.path
    sizes = _sizes(folder)
    return CacheState(
        folder=str(folder),
        writable=found.writable,
        problem=found.problem,
        files=len(sizes),
        size_bytes=sum(sizes),
        damaged=tuple(str(path) for path in (*damaged(folder), *damaged_triton(folder))),
    )


def _locks(folder: Path) -> LockState:
    found = kind_in(folder)
    return LockState(
        folder=str(folder), kind="lease" if found.leases else "system", reason=found.reason
    )


def _sizes(folder: Path) -> list[int]:
    """The size of every file below a folder, in bytes; another process may remove one meanwhile."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                sizes.append(Path(place, name).stat().st_size)
    return sizes


def _data(dataset: Dataset, root: Path) -> DataState:
    if dataset.files is None:
        return DataState(data=dataset.name, state="embedded", problem=None)
    states = dataset.files.inspect(root)
    wrong = [state for state in states if not state.present or state.problem]
    if not wrong:
        return DataState(data=dataset.name, state="found", problem=None)
    first = wrong[0]
    return DataState(
        data=dataset.name,
        state="partial" if any(state.present for state in states) else "missing",
        problem=f"{first.path}: {first.problem or 'is not there'}",
    )


def _self_test(target: str, device: torch.device) -> SelfTestRow:
    started = time.perf_counter()
    case = Case(target, "float32", "rectangle", "full", "2x3x19x23", "defaults", "given")
    outcome = problem = None
    try:
        outcome = check(NEURONS[SELF_TEST], case, str(device))
    except Exception as broken:  # a broken compiler or driver may raise anything: that is a finding
        problem = _in_words(broken)
    return SelfTestRow(
        neuron=SELF_TEST,
        target=target,
        device=str(device),
        passed=outcome is not None and outcome.passed,
        quantity=outcome.quantity if outcome else None,
        error=outcome.error if outcome else None,
        allowed=outcome.allowed if outcome else None,
        seconds=time.perf_counter() - started,
        problem=problem,
    )


def _connections_test() -> SelfTestRow:
    started = time.perf_counter()
    quantity = error = problem = None
    try:
        from clifctl.kernels.cpu.self_test import worst  # imports numba

        quantity, error = worst()
    except Exception as broken:
        problem = _in_words(broken)
    return SelfTestRow(
        neuron="event-driven connection",
        target="numba",
        device=CPU,
        passed=error == 0.0,
        quantity=None if quantity is None else quantity.replace("_", " "),
        error=error,
        allowed=None if error is None else 0.0,
        seconds=time.perf_counter() - started,
        problem=problem,
    )


def _in_words(broken: Exception) -> str:
    return f"{type(broken).__name__}: {' '.join(str(broken).split())}"
