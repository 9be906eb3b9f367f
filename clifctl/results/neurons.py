"""What the `neurons` commands return."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from clifctl.results.quantities import TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class HyperparameterRow:
    """One hyperparameter of a neuron."""

    name: Annotated[str, Quantity("hyperparameter")]
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class NeuronRow(Result):
    """What a neuron declares."""

    schema: ClassVar[str] = "clifctl.neuron/1"

    neuron: str
    title: str
    states: tuple[str, ...]
    learnables: Annotated[tuple[str, ...], Quantity("learnable parameters", short="learnable")]
    hyperparameters: tuple[HyperparameterRow, ...]
    paper: str


@dataclass(frozen=True, kw_only=True)
class NeuronList(Result):
    """Every neuron."""

    schema: ClassVar[str] = "clifctl.neurons/1"

    neurons: tuple[NeuronRow, ...]


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """The worst quantity of one parity case: its relative error, and the error that is allowed."""

    case: str
    quantity: Annotated[str, Quantity("worst quantity")]
    error: Annotated[float, Quantity("relative error")]
    allowed: float
    excluded_percent: Annotated[float, Quantity("left out", "%", 2)]
    passed: Annotated[bool, Quantity("ok")]


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
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
    timesteps: Annotated[int, TIMESTEPS]
    dtype: str
    gpu: Annotated[str, Quantity("GPU")]
    elements_per_thread: int
    registers: int
    stack_bytes: Annotated[int, Quantity("stack", "B")]
    local_bytes: Annotated[int, Quantity("local", "B")]
    shared_bytes_per_program: Annotated[int, Quantity("shared", "B")]
    compile_s: Annotated[float, Quantity("compiled in", "s", 2)]


@dataclass(frozen=True, kw_only=True)
class RegisterResult(Result):
    """The GPU kernels of one neuron, compiled without a GPU."""

    schema: ClassVar[str] = "clifctl.neurons.registers/1"

    neuron: str
    versions: dict[str, str | None]
    spills: int
    compile_s_largest: float
    kernels: tuple[RegisterRow, ...]
