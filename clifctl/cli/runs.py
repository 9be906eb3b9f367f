"""`clifctl runs ls|watch|show|compare|export`."""

import os
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.flags import Group
from clifctl.cli.grid_options import PlotOption
from clifctl.cli.options import Output, command, name_after, picture_path
from clifctl.cli.shape_options import Shape
from clifctl.errors import OutputError, UsageError
from clifctl.report.render import ENDINGS

app = typer.Typer(
    cls=Group,
    help="List runs, watch them, show one, compare several, export their metrics.",
    no_args_is_help=True,
    epilog="Example: clifctl runs compare runs/digits_snn5-1 runs/digits_snn5-2",
)


class Target(StrEnum):
    """What metrics are exported to."""

    TENSORBOARD = "tensorboard"
    CSV = "csv"


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


@command(app, "ls", example="clifctl runs ls runs/compare-digits_snn5 --keys neuron.tau,train.lr")
def ls(
    folder: Annotated[Path, typer.Argument(help="Folder to search.")] = Path("runs"),
    *,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="KEY,...",
            help="Keys of the recipe to list, or sections, as in neuron.tau,train (default: every "
            "key in which the runs differ).",
        ),
    ] = None,
    output: Output,
) -> None:
    """List the runs in a folder, including trials of comparisons, with what sets them apart and how
    they stand."""
    from clifctl.experiments.runs import list_runs
    from clifctl.report.runs import runs_report

    asked = None if keys is None else lists.names("--keys", keys)
    output.emit(runs_report(list_runs(folder, asked)))


@command(app, "watch", example="clifctl runs watch runs/sweep-digits_rows_mlp --interval 5")
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder to search.")] = Path("runs"),
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, also on a terminal (a pipe always does).")
    ] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time between two looks.", min=0.1, max=86_400)
    ] = 2.0,
    output: Output,
) -> None:
    """Watch the runs and trials in a folder: which run, wait, are done, were interrupted or failed,
    and how far they are. On a terminal until all of them have ended, or Ctrl-C."""
    from clifctl.experiments.runs_watch import RunsWatch
    from clifctl.report.runs_watch import watch_live, watch_report

    watched = RunsWatch(folder)
    if once or not _can_be_drawn_over(output):
        output.emit(watch_report(watched.look()))
        return
    try:
        watch_live(watched.look, interval)
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # but for Ctrl-C, which is how one leaves
            raise


def _can_be_drawn_over(output: Output) -> bool:
    """Whether the result is a table on a terminal, as it is, that may be drawn again."""
    as_it_is = output.how == "table" and output.path is None and output.shape == Shape()
    return as_it_is and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@command(
    app,
    "show",
    example="clifctl runs show runs/digits_snn5-1 --plot run.png",
    tables=("epochs", "result", "published"),
)
def show(run: RunArgument, *, plot: PlotOption = None, output: Output) -> None:
    """Show one run: its epochs, in a terminal its curves too; with --plot they are drawn into a
    file."""
    from clifctl.experiments.runs import show_run
    from clifctl.report.runs import run_report
    from clifctl.report.runs_picture import draw_runs

    picture = picture_path(plot, name_after(run), output, run)
    result = show_run(run)
    output.emit_and_draw(run_report(result), picture, draw_runs, [result.curves], [result.row])


@command(
    app,
    "compare",
    example="clifctl runs compare runs/a runs/b --plot curves.png",
    tables=("result", "differences"),
)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    *,
    plot: PlotOption = None,
    output: Output,
) -> None:
    """Compare runs: first where their recipes differ, then their results; with --plot their loss
    curves in one picture."""
    from clifctl.experiments.runs import compare_runs
    from clifctl.report.runs import run_comparison_report
    from clifctl.report.runs_picture import draw_runs

    picture = picture_path(plot, f"compare-{name_after(*runs)}", output, runs[0])
    result = compare_runs(runs)
    output.emit_and_draw(
        run_comparison_report(result), picture, draw_runs, result.curves, result.runs
    )


@command(
    app,
    "export",
    example="clifctl runs export runs/digits_snn5-1 --to csv -o epochs.csv",
    tables=("epochs", "steps"),
    overwrite_help="Replace an existing output file, or TensorBoard's files in the folder.",
)
def export(
    run: RunArgument,
    *,
    to: Annotated[
        Target, typer.Option("--to", help="tensorboard: its event files; csv: a row an epoch.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tensorboard (default: tensorboard in the run folder)."),
    ] = None,
    output: Output,
) -> None:
    """Write the metrics of a run for other programs.

    csv is the epochs, or with --table steps the steps that were logged; JSON has both. Everything
    comes out of metrics.jsonl: also of a run that goes on, or was stopped.
    """
    from clifctl.experiments.runs_export import run_metrics
    from clifctl.report.runs_export import metrics_report, written_report
    from clifctl.report.tensorboard import FOLDER, require_tensorboard, write_events

    if to is Target.CSV:
        if out is not None:
            raise UsageError("--out is a folder for tensorboard", hint="csv takes -o FILE")
        _as_csv(output).emit(metrics_report(run_metrics(run, to.value)))
        return
    require_tensorboard("--to tensorboard")
    if output.table is not None:
        raise UsageError("--table is of --to csv", hint="leave it out")
    folder = out or run / FOLDER
    result = run_metrics(run, to.value, folder)
    _require_free(folder, output)
    write_events(result)
    output.emit(written_report(result))


def _as_csv(output: Output) -> Output:
    """`output` for a table of numbers. Raises UsageError for a format that is none of them."""
    named = output.path is not None and output.path.suffix.lower() in ENDINGS
    if output.how == "table" and not named:
        return replace(output, how="csv")
    if output.how not in ("csv", "jsonl", "json"):
        raise UsageError(
            f"--to csv and the format {output.how} contradict each other",
            hint="take csv, jsonl or json",
        )
    return output


def _require_free(folder: Path, output: Output) -> None:
    """Raise OutputError where `folder` cannot be written, or holds what must not be replaced."""
    from clifctl.files import require_folder_possible
    from clifctl.report.tensorboard import event_files

    require_folder_possible(folder)
    if event_files(folder) and not output.overwrite:
        raise OutputError(
            f"'{folder}' holds files of TensorBoard already",
            hint="choose another --out, or replace them with --overwrite",
        )
