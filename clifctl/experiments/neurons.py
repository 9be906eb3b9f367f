"""`neurons ls`, `neurons show`, `neurons cp` and `neurons check`."""

import inspect
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clifctl.amounts import counted
from clifctl.devices import CPU, gpus
from clifctl.energy.constants import DEFAULT
from clifctl.energy.neuron_cost import ASSUMPTIONS as NEURON_ASSUMPTIONS
from clifctl.energy.neuron_cost import charged_as, step_cost, step_instructions
from clifctl.errors import ArgumentError, NeuronError, UsageError, unknown_name
from clifctl.experiments.run.manifest import package_versions
from clifctl.files import write_output
from clifctl.kernels.cpu import numba_target
from clifctl.kernels.gpu import registers, triton_target
from clifctl.kernels.ir.adjoint import adjoint
from clifctl.kernels.ir.trace import trace
from clifctl.kernels.parity import STEPS, check, covering_cases
from clifctl.kernels.targets import targets_of
from clifctl.neurons import NEURONS, Neuron, template
from clifctl.neurons.loading import FOREIGN_NEURONS, load_neuron
from clifctl.results.energy import NeuronCostResult, OperationRow
from clifctl.results.neurons import (
    CheckResult,
    CheckRow,
    HyperparameterRow,
    NeuronList,
    NeuronRow,
    RegisterResult,
    RegisterRow,
)

KERNELS = ("adjoint", "numba", "triton")
TEMPLATE = "--template"  # what is copied in the place of a neuron of the table
# For how many time steps a GPU kernel is shown, and the most that make sense to ask for.
STEPS_SHOWN, MOST_STEPS = 6, 4096
SECONDS_BETWEEN_LINES = 5.0


def list_neurons() -> NeuronList:
    """Every neuron of the table and of installed packages."""
    neurons = (*NEURONS.values(), *FOREIGN_NEURONS.installed().values())
    return NeuronList(neurons=tuple(map(describe, neurons)))


def copy_neuron(name: str, path: Path, *, may_write: Callable[[Path], None]) -> tuple[Path, str]:
    """Copy the file of a neuron of the table, or the template, to `path`, a Python file; the path
    and the name that the neuron has in the file.

    `may_write` raises OutputError where the file must not be written. Raises UsageError for a name
    that the table does not hold, and for a path that is no Python file's.
    """
    if name != TEMPLATE and name not in NEURONS:
        raise UsageError(
            unknown_name("neuron", name, NEURONS), hint="clifctl neurons ls lists them"
        )
    if path.suffix != ".py" or ":" in str(path):
        raise UsageError(
            f"'{path}': a neuron's file ends in .py, and has no colon in its path",
            hint=f"clifctl neurons cp {name} my_neuron.py",
        )
    neuron = template.NEURON if name == TEMPLATE else NEURONS[name]
    module = sys.modules[neuron.step.__module__]
    variable = next(key for key, value in vars(module).items() if value is neuron)
    may_write(path)
    text = inspect.getsource(module)
    write_output(path, lambda file: file.write(text.encode()))
    return path, variable


def find(reference: str) -> Neuron:
    """The neuron of a name or FILE.py:NAME. Raises NeuronError."""
    return load_neuron(reference, NEURONS)


def describe(neuron: Neuron) -> NeuronRow:
    """A neuron's declaration in words."""
    defaults = neuron.with_values()
    return NeuronRow(
        neuron=neuron.name,
        title=neuron.title,
        states=tuple(state.name for state in neuron.states),
        learnables=tuple(f"{p.name} ({p.shape})" for p in neuron.learnables),
        hyperparameters=tuple(
            HyperparameterRow(name=name, default=value, description=info.description or "")
            for (name, value), info in zip(
                defaults, neuron.hyperparameters.model_fields.values(), strict=True
            )
        ),
        paper=neuron.paper,
    )


def kernel_text(neuron: Neuron, kernel: str, timesteps: int | None = None) -> str:
    """What is generated from the step: the program with its adjoint, or the source for a target
    (numba in float32; triton for a sequence of `timesteps`).

    Raises NeuronError for a step that cannot be traced, UsageError for what does not exist.
    """
    if kernel not in KERNELS:
        raise UsageError(
            unknown_name("kernel", kernel, KERNELS), hint=f"one of {', '.join(KERNELS)}"
        )
    defaults = neuron.with_values()
    if kernel == "numba":
        return numba_target.source(neuron, defaults, "float32").text
    if kernel == "triton":
        return triton_target.source(neuron, defaults, _steps(neuron, timesteps))
    program = trace(neuron, defaults)
    backward = adjoint(program)
    return f"# step\n{program}\n\n# adjoint\n{backward.only(backward.outputs)}\n"


def _steps(neuron: Neuron, timesteps: int | None) -> int:
    most = neuron.max_timesteps or MOST_STEPS
    if timesteps is None:
        return min(STEPS_SHOWN, most)
    if not 1 <= timesteps <= most:
        raise ArgumentError(
            "timesteps",
            timesteps,
            f"must be between 1 and {most}",
            hint=f"without it, {min(STEPS_SHOWN, most)}",
        )
    return timesteps


def count_registers(
    neuron: Neuron, timesteps: int | None = None, say: Callable[[str], None] = lambda line: None
) -> RegisterResult:
    """Compile a neuron's GPU kernels, for `timesteps` or a range of them, and count registers.

    Raises TargetError where Triton or its tools are missing.
    """
    chosen = registers.TIMESTEPS if timesteps is None else (_steps(neuron, timesteps),)
    rows = []
    for used in registers.resources(neuron, neuron.with_values(), timesteps=chosen):
        row = RegisterRow(
            neuron=neuron.name,
            kernel=used.kernel,
            timesteps=used.timesteps,
            dtype=used.dtype,
            gpu=f"sm_{used.capability}",
            elements_per_thread=used.elements_per_thread,
            registers=used.registers,
            stack_bytes=used.stack_bytes,
            local_bytes=used.local_bytes,
            shared_bytes_per_program=used.shared_bytes,
            compile_s=used.compile_s,
        )
        say(
            f"{neuron.name}: {row.kernel}, {row.timesteps} time steps, {row.dtype}, {row.gpu}: "
            f"{row.registers} registers"
        )
        rows.append(row)
    return RegisterResult(
        neuron=neuron.name,
        versions=package_versions("clifctl", "torch", "triton"),
        spills=sum(row.stack_bytes > 0 or row.local_bytes > 0 for row in rows),
        compile_s_largest=max(row.compile_s for row in rows),
        kernels=tuple(rows),
    )


def neuron_cost(neuron: Neuron) -> NeuronCostResult:
    """What the neuron's step computes for each element and time step, with default hyperparameters.

    Raises NeuronError for a step that cannot be traced.
    """
    values = neuron.with_values()
    cost = step_cost(neuron, values)
    of_function = (DEFAULT.function_multiplications, DEFAULT.function_additions)
    multiplications = cost.all_multiplications(of_function[0])
    additions = cost.all_additions(of_function[1])
    acs = max(additions - multiplications, 0.0)
    counted = Counter(
        (instruction.op, charged_as(instruction, varying))
        for instruction, varying in step_instructions(neuron, values)
    )
    return NeuronCostResult(
        neuron=neuron.name,
        hyperparameters=dict(values),
        multiplications=cost.multiplications,
        additions=cost.additions,
        functions=cost.functions,
        macs=multiplications,
        acs=acs,
        states=cost.states,
        sop_energy_pj=DEFAULT.mac_pj * multiplications + DEFAULT.ac_pj * acs,
        operations_energy_pj=DEFAULT.mul_pj * multiplications + DEFAULT.add_pj * additions,
        operations=tuple(
            OperationRow(operation=op, count=count, charged_as=kind)
            for (op, kind), count in counted.items()
        ),
        assumptions=NEURON_ASSUMPTIONS,
    )


def check_neuron(reference: str, say: Callable[[str], None] = lambda line: None) -> CheckResult:
    """Run the parity suite on one neuron: reference against every fused target of this machine.

    Most of the time goes into compiling kernels; `say` hears how far it is. A case that raises
    NeuronError is a failed row; the message is its quantity. Raises NeuronError for a neuron that
    no case can be made of.
    """
    neuron = find(reference)
    neuron.with_values()
    rows = []
    cases = [
        (case, device)
        for device in (CPU, *map(str, gpus()[:1]))
        for target in targets_of(device)
        for _, case in covering_cases([neuron], target)
    ]
    said = time.monotonic()
    for done, (case, device) in enumerate(cases):
        if not done:
            say(f"checking {counted(len(cases), 'case')} of '{reference}', each compiled once")
        elif time.monotonic() - said > SECONDS_BETWEEN_LINES:
            say(f"{done} of {counted(len(cases), 'case')} done")
            said = time.monotonic()
        try:
            # First as a kernel sees the step: what is wrong is reported as `train` would.
            trace(neuron, neuron.with_values())
            outcome = check(neuron, case, device)
        except NeuronError as refused:
            rows.append(
                CheckRow(
                    case=str(case),
                    quantity=refused.message,
                    error=float("nan"),
                    allowed=0.0,
                    excluded_percent=0.0,
                    passed=False,
                )
            )
            break
        rows.append(
            CheckRow(
                case=outcome.case,
                quantity=outcome.quantity,
                error=outcome.error,
                allowed=outcome.allowed,
                excluded_percent=outcome.excluded_percent,
                passed=outcome.passed,
            )
        )
    return CheckResult(
        neuron=neuron.name,
        timesteps=min(STEPS, neuron.max_timesteps or STEPS),
        passed=all(row.passed for row in rows),
        cases=tuple(rows),
    )
