"""The `neurons` commands -> report."""

import dataclasses
from typing import Any

from clifctl.report.render import Column, Report, Table, document_of, record_table
from clifctl.results.neurons import CheckResult, NeuronList, NeuronRow, RegisterResult


def neurons_report(result: NeuronList) -> Report:
    """Every neuron, a line each."""
    columns = (
        Column("neuron", "neuron"),
        Column("states", "states"),
        Column("learnables", "learnable"),
        Column("title", "title"),
        Column("paper", "paper"),
    )
    return _list_report("neurons", result, columns, result.neurons)


def neuron_report(row: NeuronRow) -> Report:
    """One neuron: its declaration, and its hyperparameters."""
    summary = record_table(
        f"{row.neuron}: {row.title}",
        row,
        Column("neuron", "neuron"),
        Column("states", "states"),
        Column("learnables", "learnable parameters"),
        Column("paper", "paper"),
    )
    columns = (
        Column("name", "hyperparameter"),
        Column("default", "default"),
        Column("description", "description"),
    )
    values = tuple(dataclasses.asdict(value) for value in row.hyperparameters)
    return Report(document_of(row), (summary, Table("hyperparameters", columns, values)))


def kernel_report(name: str, kernel: str, text: str) -> Report:
    """Generated code, as it is."""
    document = {"schema": "clifctl.kernel/1", "neuron": name, "kernel": kernel, "text": text}
    columns = (Column("neuron", "neuron"), Column("kernel", "kernel"), Column("text", "text"))
    return Report(document, (Table(name, columns, (document,)),), text=text, text_only=True)


def registers_report(result: RegisterResult) -> Report:
    """The table of `neurons show --kernel triton --registers`."""
    return _list_report(
        f"{result.neuron}: GPU kernels, {result.spills} with a spill, at most "
        f"{result.compile_s_largest:.1f} s to compile",
        result,
        (
            Column("neuron", "neuron"),
            Column("kernel", "kernel"),
            Column("timesteps", "time steps"),
            Column("dtype", "dtype"),
            Column("gpu", "GPU"),
            Column("elements_per_thread", "elements per thread"),
            Column("registers", "registers"),
            Column("stack_bytes", "stack [B]"),
            Column("local_bytes", "local [B]"),
            Column("shared_bytes_per_program", "shared [B]"),
            Column("compile_s", "compiled in [s]", 2),
        ),
        result.kernels,
    )


def check_report(result: CheckResult) -> Report:
    """The parity suite, a line a case."""
    columns = (
        Column("case", "case"),
        Column("quantity", "worst quantity"),
        Column("error", "relative error"),
        Column("allowed", "allowed"),
        Column("excluded_percent", "left out [%]", 2),
        Column("passed", "ok"),
    )
    passed = sum(row.passed for row in result.cases)
    report = _list_report(
        f"{result.neuron}: {passed} of {len(result.cases)} cases hold "
        f"(T = {result.timesteps}; target-dtype-surrogate-window-shape-choices-state)",
        result,
        columns,
        result.cases,
    )
    return report


def _list_report(title: str, result: Any, columns: tuple[Column, ...], rows: Any) -> Report:
    table = Table(title, columns, tuple(dataclasses.asdict(row) for row in rows))
    return Report(document_of(result), (table,))
