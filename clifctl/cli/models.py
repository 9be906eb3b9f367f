"""`clifctl models ls|show|cp|check`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.completion import complete_data, complete_model
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, OverridesArgument, command
from clifctl.commands import command_line
from clifctl.errors import UsageError

app = typer.Typer(
    cls=Group,
    help="List nets, show their layers, begin your own and check it.",
    no_args_is_help=True,
    epilog="Example: clifctl models check my_net.py:MyNet",
)

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name of `clifctl models ls`, or FILE.py:NAME.",
        autocompletion=complete_model,
    ),
]
DataOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The data set whose shape and classes the net is for; no file of it is read.",
        autocompletion=complete_data,
    ),
]


@command(app, "ls", example="clifctl models ls")
def ls(*, output: Output) -> None:
    """List the nets with their keys."""
    from clifctl.experiments.models import list_models
    from clifctl.report.models import models_report

    output.emit(models_report(list_models()))


@command(
    app,
    "show",
    example="clifctl models show resnet18 --data cifar10 timesteps=4",
    tables=("result", "options", "layers"),
)
def show(
    model: ModelArgument,
    overrides: OverridesArgument = None,
    *,
    data: DataOption = "digits",
    output: Output,
) -> None:
    """Show a net's keys, and its layers for the shape of a data set.

    KEY=VALUE changes the net, its neuron and T: model.width=32 neuron.name=clif timesteps=4.
    """
    from clifctl.experiments.models import recipe_for, show_model
    from clifctl.report.models import model_report

    loaded = recipe_for(model, data, overrides or ())
    for notice in loaded.notices:
        output.notice(notice)
    output.emit(model_report(show_model(loaded.recipe)))


@command(app, "cp", example="clifctl models cp --template my_net.py")
def cp(
    path: Annotated[Path, typer.Argument(metavar="FILE.py", help="What to write.")],
    *,
    template: Annotated[
        bool, typer.Option("--template", help="A small net with a lot of comments.")
    ] = False,
    output: Output,
) -> None:
    """Write a net of your own to begin with, to change it there.

    The file passes `clifctl models check` as it is, and trains as model.name=FILE.py:MyNet.
    """
    from clifctl.experiments.models import copy_template

    if not template:
        raise UsageError(
            "models cp needs --template: nets of clifctl are built of its own parts",
            hint=command_line("models", "cp", "--template", path),
        )
    written, name = copy_template(path, may_write=output.may_write)
    reference = f"{written}:{name}"
    output.notice(f"wrote {written}; check it with: {command_line('models', 'check', reference)}")


@command(
    app,
    "check",
    example="clifctl models check my_net.py:MyNet",
    tables=("result", "options", "layers", "uses", "connections"),
)
def check(
    model: ModelArgument,
    overrides: OverridesArgument = None,
    *,
    data: DataOption = "digits",
    output: Output,
) -> None:
    """Check a net: its shapes, and what every command can do with it.

    A net that breaks the contract is told with the layer and the shapes, exit code 2. KEY=VALUE
    changes the net, its neuron and T: model.width=32 neuron.name=clif timesteps=4.
    """
    from clifctl.experiments.models import check_model, recipe_for
    from clifctl.experiments.run.execution import ExecutionOptions
    from clifctl.report.models import check_report
    from clifctl.results.filled import filled
    from clifctl.results.models import ModelCheck

    output.require_columns(lambda: check_report(filled(ModelCheck)))
    loaded = recipe_for(model, data, overrides or ())
    for notice in loaded.notices:
        output.notice(notice)
    threads = ExecutionOptions().resolve().for_step(0).threads.count
    output.emit(check_report(check_model(loaded.recipe, threads)))
