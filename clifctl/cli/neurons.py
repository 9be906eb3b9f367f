"""`clifctl neurons ls|show|cp|check`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.completion import complete_neuron
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, command
from clifctl.commands import command_line
from clifctl.errors import RunFailed, UsageError

app = typer.Typer(
    cls=Group,
    help="List neurons, show what is generated from them, begin your own and check it.",
    no_args_is_help=True,
    epilog="Example: clifctl neurons check my_neurons.py:Foo",
)

NeuronArgument = Annotated[
    str,
    typer.Argument(
        metavar="NEURON",
        help="A name of `clifctl neurons ls`, or FILE.py:NAME.",
        autocompletion=complete_neuron,
    ),
]


@command(app, "ls", example="clifctl neurons ls")
def ls(*, output: Output) -> None:
    """List the neurons with their states, learnable parameters and papers."""
    from clifctl.experiments.neurons import list_neurons
    from clifctl.report.neurons import neurons_report

    output.emit(neurons_report(list_neurons()))


@command(
    app,
    "show",
    example="clifctl neurons show clif --kernel numba",
    tables=("result", "hyperparameters", "operations"),
    text_endings=(".py",),
)
def show(
    neuron: NeuronArgument,
    *,
    kernel: Annotated[
        str | None,
        typer.Option(help="Print code that is generated from the step: adjoint, numba or triton."),
    ] = None,
    timesteps: Annotated[
        int | None, typer.Option(help="With --kernel triton: number of time steps (default: 6).")
    ] = None,
    registers: Annotated[
        bool,
        typer.Option(
            "--registers",
            help="With --kernel triton: compile for sm_80 and sm_90, and count registers and "
            "spills (takes a minute or two, needs no GPU).",
        ),
    ] = False,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost", help="Count the multiplications and additions of a step, as `energy` does."
        ),
    ] = False,
    output: Output,
) -> None:
    """Show a neuron's hyperparameters, or the code that is generated from its step."""
    from clifctl.experiments.neurons import (
        count_registers,
        describe,
        find,
        kernel_text,
        neuron_cost,
    )
    from clifctl.report.energy import neuron_cost_report
    from clifctl.report.neurons import kernel_report, neuron_report, registers_report
    from clifctl.results.filled import filled
    from clifctl.results.neurons import RegisterResult

    if registers:
        output.require_columns(lambda: registers_report(filled(RegisterResult)))
    found = find(neuron)
    if (registers or timesteps is not None) and kernel != "triton":
        given = "--registers" if registers else "--timesteps"
        raise UsageError(f"{given} needs the GPU kernel", hint="add --kernel triton")
    if cost and kernel is not None:
        raise UsageError("--cost and --kernel contradict each other", hint="give one")
    if cost:
        output.emit(neuron_cost_report(neuron_cost(found)))
    elif kernel is None:
        output.emit(neuron_report(describe(found)))
    elif registers:
        say = output.notice if output.verbose else lambda line: None
        output.emit(registers_report(count_registers(found, timesteps, say)))
    else:
        output.emit(kernel_report(found.name, kernel, kernel_text(found, kernel, timesteps)))


@command(app, "cp", example="clifctl neurons cp --template my_neuron.py")
def cp(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NEURON] FILE.py", help="A neuron of `clifctl neurons ls`, and what to write."
        ),
    ] = None,
    *,
    template: Annotated[
        bool,
        typer.Option("--template", help="Instead of a NEURON: a small one with a lot of comments."),
    ] = False,
    output: Output,
) -> None:
    """Copy a neuron to a file of your own, to change it there.

    The file passes `clifctl neurons check` as it is, and trains as neuron.name=FILE.py:NEURON.
    """
    from clifctl.experiments.neurons import TEMPLATE, copy_neuron

    given = [TEMPLATE, *(arguments or [])] if template else list(arguments or [])
    if len(given) != 2:
        raise UsageError(
            "neurons cp needs a neuron, or --template, and the file to write",
            hint="clifctl neurons cp clif my_neuron.py, or clifctl neurons cp --template "
            "my_neuron.py",
        )
    path, name = copy_neuron(given[0], Path(given[1]), may_write=output.may_write)
    reference = f"{path}:{name}"
    output.notice(f"wrote {path}; check it with: {command_line('neurons', 'check', reference)}")


@command(app, "check", example="clifctl neurons check my_neurons.py:Foo")
def check(neuron: NeuronArgument, *, output: Output) -> None:
    """Check a neuron: every kernel against the step itself, all gradients by name.

    Exit code 1 if a case does not hold. The first use compiles; later ones are faster.
    """
    from clifctl.experiments.neurons import check_neuron
    from clifctl.report.neurons import check_report
    from clifctl.results.filled import filled
    from clifctl.results.neurons import CheckResult

    output.require_columns(lambda: check_report(filled(CheckResult)))
    result = check_neuron(neuron, output.notice)
    output.emit(check_report(result))
    if not result.passed:
        failed = sum(not row.passed for row in result.cases)
        raise RunFailed(
            f"neuron '{result.neuron}': {failed} of {len(result.cases)} cases do not hold",
            hint="the rows that are not ok name the quantity and its error",
        )
