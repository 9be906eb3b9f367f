"""`clifctl data ls|check|prepare|show`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clifctl.cli.completion import complete_data
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, OverridesArgument, command, name_after, picture_path
from clifctl.errors import DataError, UsageError

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A data set of `clifctl data ls`.", autocompletion=complete_data
    ),
]

app = typer.Typer(
    cls=Group,
    help="List data sets, check their files and look at their samples.",
    no_args_is_help=True,
    epilog="Example: clifctl data show digits_events --plot events.png",
)


@command(app, "ls", example="clifctl data ls")
def ls(*, output: Output) -> None:
    """List the data sets."""
    from clifctl.experiments.data import list_datasets
    from clifctl.report.data import datasets_report

    output.emit(datasets_report(list_datasets()))


@command(app, "check", example="clifctl data check cifar10 --root ~/data")
def check(
    name: NameArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="root=DIR", help="Same as --root; or cache=DIR."),
    ] = None,
    *,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Folder of the files (default: see data ls)."),
    ] = None,
    output: Output,
) -> None:
    """Check a data set's files: what is expected where, what is missing, where it comes from.

    Prepared frames are compared with their checksums.

    Exit code 2 if the data set is incomplete.
    """
    from clifctl.experiments.data import check_data
    from clifctl.report.data import data_check_report
    from clifctl.results.data import DataCheckResult
    from clifctl.results.filled import filled

    output.require_columns(lambda: data_check_report(filled(DataCheckResult)))
    result = check_data(name, *_folders(root, overrides or []))
    output.emit(data_check_report(result))
    if not result.complete:
        wrong = [row for row in result.files if row.state != "good"]
        first = wrong[0]
        raise DataError(
            f"data set '{result.data}' is incomplete: "
            + (f"{first.file}: {first.problem}" if first.problem else f"{first.file} is missing")
            + (f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
            # Files of a person's own that are bad are there already.
            hint=result.obtain
            if first.problem is None or result.url
            else "repair or remove what is named",
        )


def _folders(root: Path | None, overrides: list[str]) -> tuple[Path | None, Path | None]:
    """The folders of the files and of prepared frames, however they were given."""
    given: dict[str, Path] = {} if root is None else {"root": root}
    for override in overrides:
        key, _, value = override.partition("=")
        key = key.removeprefix("data.")
        if key not in ("root", "cache") or not value:
            raise UsageError(
                f"'{override}': files are checked whatever else is set; only root=DIR and "
                "cache=DIR are taken",
                hint="clifctl data show NAME KEY=VALUE looks at a sample",
            )
        if key in given:
            raise UsageError(f"the {key} was given twice", hint="give one")
        given[key] = Path(value)
    return given.get("root"), given.get("cache")


@command(
    app,
    "prepare",
    example="clifctl data prepare dvs_gesture_vgg11 data.root=~/data --workers 8",
    overwrite_help="Prepare again; replace an existing output file.",
)
def prepare(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A recipe, or a data set of event recordings."),
    ],
    overrides: OverridesArgument = None,
    *,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of processes that read (default: one for each core, at most 8).",
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out recordings that cannot be read.")
    ] = False,
    output: Output,
) -> None:
    """Prepare frames of event recordings once, for `train` and `eval` to read.

    KEY=VALUE changes the recipe, or sets a data set's own options (root=DIR) and timesteps. A
    preparation that was stopped continues where it was; frames of other settings are kept beside
    these, and --overwrite prepares these again.
    """
    from clifctl.experiments.data_prepare import prepare_data
    from clifctl.report.data_prepare import prepare_report
    from clifctl.report.preparation_progress import PreparationProgress
    from clifctl.results.data_prepare import PrepareResult
    from clifctl.results.filled import filled

    output.require_columns(lambda: prepare_report(filled(PrepareResult)))
    with PreparationProgress(quiet=output.quiet) as progress:
        result = prepare_data(
            name,
            overrides or (),
            workers=workers,
            skip_bad=skip_bad,
            overwrite=output.overwrite,
            watcher=progress,
            say=output.notice,
        )
    output.emit(prepare_report(result))


@command(app, "show", example="clifctl data show digits_events timesteps=8 --plot events.png")
def show(
    name: NameArgument,
    overrides: OverridesArgument = None,
    *,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Split to take the sample from.")
    ] = "test",
    sample: Annotated[int, typer.Option(help="Index of the sample, from 0.")] = 0,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="[FILE]",
            help="Draw the sample to a .png, .svg or .pdf file (default: NAME-SPLIT-SAMPLE.png).",
        ),
    ] = None,
    output: Output,
) -> None:
    """Show one sample of a data set, time step by time step.

    KEY=VALUE sets the data set's own options (seed=1) and timesteps. A sample of event recordings
    is read from its recording where frames are not prepared.
    """
    picture = picture_path(plot, f"{name_after(name)}-{split}-{sample}", output)
    from clifctl.experiments.data import show_sample
    from clifctl.report.data import sample_report
    from clifctl.report.data_picture import draw_sample
    from clifctl.results.data import SampleResult
    from clifctl.results.filled import filled

    output.require_columns(lambda: sample_report(filled(SampleResult)))
    result, frames = show_sample(
        name,
        overrides or (),
        split=split,
        sample=sample,
        picture=None if picture is None else str(picture),
    )
    output.emit_and_draw(sample_report(result), picture, draw_sample, result, frames.numpy())
