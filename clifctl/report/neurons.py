"""The `neurons` commands -> report."""

from clifctl.report.render import Column, Report, Table, document_of, list_table, record_table
from clifctl.results.neurons import (
    CheckResult,
    CheckRow,
    HyperparameterRow,
    NeuronList,
    NeuronRow,
    RegisterResult,
    RegisterRow,
)


def neurons_report(result: NeuronList) -> Report:
    """Every neuron, a line each."""
    columns = ("neuron", "states", "learnables", "title", "paper")
    optional = ("learnables", "paper", "states")
    rows = result.neurons
    table = list_table("neurons", NeuronRow, rows, *columns, short=True, optional=optional)
    return Report(document_of(result), (table,))


def neuron_report(row: NeuronRow) -> Report:
    """One neuron: its declaration, and its hyperparameters."""
    title = f"{row.neuron}: {row.title}"
    summary = record_table(title, row, "neuron", "states", "learnables", "paper")
    values = list_table(
        "hyperparameters",
        HyperparameterRow,
        row.hyperparameters,
        *("name", "default", "description"),
        name="hyperparameters",
    )
    return Report(document_of(row), (summary, values))


def kernel_report(name: str, kernel: str, text: str) -> Report:
    """Generated code, as it is."""
    document = {"schema": "clifctl.kernel/1", "neuron": name, "kernel": kernel, "text": text}
    columns = (Column("neuron", "neuron"), Column("kernel", "kernel"), Column("text", "text"))
    return Report(document, (Table(name, columns, (document,)),), text=text, text_only=True)


def registers_report(result: RegisterResult) -> Report:
    """The table of `neurons show --kernel triton --registers`."""
    table = list_table(
        f"{result.neuron}: GPU kernels, {result.spills} with a spill, at most "
        f"{result.compile_s_largest:.1f} s to compile",
        RegisterRow,
        result.kernels,
        *("neuron", "kernel", "timesteps", "dtype", "gpu", "elements_per_thread", "registers"),
        *("stack_bytes", "local_bytes", "shared_bytes_per_program", "compile_s"),
    )
    return Report(document_of(result), (table,))


def check_report(result: CheckResult) -> Report:
    """The parity suite, a line a case."""
    passed = sum(row.passed for row in result.cases)
    table = list_table(
        f"{result.neuron}: {passed} of {len(result.cases)} cases hold "
        f"(T = {result.timesteps}; target-dtype-surrogate-window-shape-choices-state)",
        CheckRow,
        result.cases,
        *("case", "quantity", "error", "allowed", "excluded_percent", "passed"),
    )
    return Report(document_of(result), (table,))
