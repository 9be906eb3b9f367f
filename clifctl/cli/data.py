"""`clifctl data ls|show`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clifctl.cli.options import Output, OverridesArgument, command

app = typer.Typer(
    help="List data sets and look at their samples.",
    no_args_is_help=True,
    epilog="Example: clifctl data show digits_events --plot events.png",
)


@command(app, "ls", example="clifctl data ls")
def ls(*, output: Output) -> None:
    """List the data sets."""
    from clifctl.experiments.data import list_datasets
    from clifctl.report.tables import datasets_report

    output.emit(datasets_report(list_datasets()))


@command(app, "show", example="clifctl data show digits_events timesteps=8 --plot events.png")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set of `clifctl data ls`.")],
    overrides: OverridesArgument = None,
    *,
    split: Annotated[Literal["train", "test"], typer.Option(help="Split of the sample.")] = "test",
    sample: Annotated[int, typer.Option(help="Number of the sample, from 0.")] = 0,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="[FILE]", help="Draw the sample into a .png, .svg or .pdf; alone: NAME.png."
        ),
    ] = None,
    output: Output,
) -> None:
    """Show one sample of a data set, time step by time step.

    KEY=VALUE sets the data set's own options (seed=1) and timesteps.
    """
    from clifctl.report.pictures import check_picture_path, draw_frames
    from clifctl.report.tables import sample_report

    picture = None if plot is None else Path(f"{name}.png" if plot == "auto" else plot)
    if picture is not None:
        check_picture_path(picture)
        output.may_write(picture)
        output.keep_apart(picture)

    from clifctl.experiments.data import show_sample

    result, frames = show_sample(
        name,
        overrides or (),
        split=split,
        sample=sample,
        picture=None if picture is None else str(picture),
    )
    if picture is not None:
        title = f"{name}: {split} sample {sample}, label {result.label}"
        draw_frames(picture, frames.numpy(), title=title)
    output.emit(sample_report(result))
