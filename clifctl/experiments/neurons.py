"""`neurons ls`, `neurons show` and `neurons check`."""

from typing import Literal

from clifctl.errors import NeuronError, UsageError, unknown_name
from clifctl.kernels import numba_target
from clifctl.kernels.adjoint import adjoint
from clifctl.kernels.parity import STEPS, check, covering_cases
from clifctl.kernels.trace import trace
from clifctl.neurons import NEURONS, Neuron
from clifctl.neurons.loading import installed_neurons, load_neuron
from clifctl.results import CheckResult, CheckRow, HyperparameterRow, NeuronList, NeuronRow

KernelText = Literal["adjoint", "numba"]
KERNELS = ("adjoint", "numba")


def list_neurons() -> NeuronList:
    """Every neuron of the table and of installed packages."""
    return NeuronList(
        neurons=tuple(describe(n) for n in (*NEURONS.values(), *installed_neurons().values()))
    )


def find(reference: str) -> Neuron:
    """The neuron of a name or FILE.py:NAME. Raises NeuronError."""
    return load_neuron(reference, NEURONS)


def describe(neuron: Neuron) -> NeuronRow:
    """A neuron's declaration in words."""
    defaults = neuron.hyperparameters()
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


def kernel_text(neuron: Neuron, kernel: str) -> str:
    """What is generated from the step: the program with its adjoint, or the numba source (float32).

    Raises NeuronError for a step that cannot be traced, UsageError for an unknown kernel.
    """
    if kernel not in KERNELS:
        raise UsageError(unknown_name("kernel", kernel, KERNELS), hint="--kernel numba or adjoint")
    defaults = neuron.hyperparameters()
    if kernel == "numba":
        return numba_target.source(neuron, defaults, "float32").text
    program = trace(neuron, defaults)
    backward = adjoint(program)
    return f"# step\n{program}\n\n# adjoint\n{backward.only(backward.outputs)}\n"


def check_neuron(reference: str) -> CheckResult:
    """Run the parity suite on one neuron: reference against every fused target.

    A case that raises NeuronError is a failed row; the message is its quantity.
    """
    neuron = find(reference)
    rows = []
    for _, case in covering_cases([neuron]):
        try:
            outcome = check(neuron, case)
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
