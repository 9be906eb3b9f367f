"""What `doctor` returns."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """A device that torch can use, or (`problem`) why there is none of that kind. `tf32`: which
    products of float32 are TF32 there unless a recipe says otherwise, and why."""

    device: str
    name: str | None
    memory_bytes: int | None
    tf32: str | None
    tf32_reason: str | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class KernelTargetRow:
    """Whether a kernel target runs float32 tensors of a device, and why or why not. `chosen` says
    that target auto takes it there."""

    target: str
    device: str
    usable: bool
    chosen: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class EventDriven:
    """Whether connections can be event-driven here, and why or why not; how many float32 numbers a
    vector of their kernels holds."""

    available: bool
    reason: str
    lanes: int | None


@dataclass(frozen=True, kw_only=True)
class CacheState:
    """Where generated kernels are kept (None: there is no place for them), and why they cannot be
    (None: they can). `damaged` are files whose content has changed; they are rebuilt."""

    folder: str | None
    writable: bool
    problem: str | None
    files: int
    size_bytes: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LockState:
    """The kind of locks in the current folder, `system` or `lease`, and why."""

    folder: str
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataState:
    """A data set: `embedded`, `found`, `missing`, or `partial` (some files are there), and for
    the last two what is wrong first."""

    data: str
    state: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class SelfTestRow:
    """A kernel against the reference: the worst quantity, its relative error, what is allowed. A
    kernel that could not run has a `problem` and no error."""

    neuron: str
    target: str
    device: str
    passed: bool
    quantity: str | None
    error: float | None
    allowed: float | None
    seconds: float
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class DoctorResult(Result):
    """What clifctl finds on this machine. A version is None where the package is not installed."""

    schema: ClassVar[str] = "clifctl.doctor/1"

    healthy: bool
    platform: str
    cpu_cores: int
    cpu_threads: int
    versions: dict[str, str | None]
    devices: tuple[DeviceRow, ...]
    targets: tuple[KernelTargetRow, ...]
    cache: CacheState
    data_root: str
    data: tuple[DataState, ...]
    self_test: tuple[SelfTestRow, ...]
    seconds: float
    connections: EventDriven | None = None
    locks: LockState | None = None
