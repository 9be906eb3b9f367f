"""What the `neurons` commands return."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class HyperparameterRow:
    """One hyperparameter of a neuron."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class NeuronRow:
    """What a neuron declares."""

    schema: ClassVar[str] = "clifctl.neuron/1"

    neuron: str
    title: str
    states: tuple[str, ...]
    learnables: tuple[str, ...]
    hyperparameters: tuple[HyperparameterRow, ...]
    paper: str


@dataclass(frozen=True, kw_only=True)
class NeuronList:
    """Every neuron."""

    schema: ClassVar[str] = "clifctl.neurons/1"

    neurons: tuple[NeuronRow, ...]


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """The worst quantity of one parity case: its relative error, and the error that is allowed."""

    case: str
    quantity: str
    error: float
    allowed: float
    excluded_percent: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The parity suite on one neuron."""

    schema: ClassVar[str] = "clifctl.neurons.check/1"

    neuron: str
    timesteps: int
    passed: bool
    cases: tuple[CheckRow, ...]


@dataclass(frozen=True, kw_only=True)
class RegisterRow:
    """What one GPU kernel takes in machine code, per thread. A spill appears as stack."""

    neuron: str
    kernel: str
    timesteps: int
    dtype: str
    gpu: str
    elements_per_thread: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes_per_program: int
    compile_s: float


@dataclass(frozen=True, kw_only=True)
class RegisterResult:
    """The GPU kernels of one neuron, compiled without a GPU."""

    schema: ClassVar[str] = "clifctl.neurons.registers/1"

    neuron: str
    versions: dict[str, str | None]
    spills: int
    compile_s_largest: float
    kernels: tuple[RegisterRow, ...]
