"""`clifctl paper ls|show|run`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.completion import complete_data, complete_override, complete_paper
from clifctl.cli.execution_options import Execution
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, command

if TYPE_CHECKING:
    from clifctl.results.paper import PaperShown

app = typer.Typer(
    cls=Group,
    help="The paper's tables and figures: list them, show one beside what was measured, make one.",
    no_args_is_help=True,
    epilog="Example: clifctl paper show table1",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A table or figure: table1, fig2a, ... (clifctl paper ls).",
        autocompletion=complete_paper,
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Overrides of every recipe of it, such as train.epochs=5.",
        autocompletion=complete_override,
    ),
]
RunsOption = Annotated[
    Path | None,
    typer.Option("--runs", metavar="DIR", help="Folder of the runs (default: runs)."),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="A data set of `clifctl data ls`, in the place of the paper's.",
        autocompletion=complete_data,
    ),
]


@command(app, "ls", example="clifctl paper ls --runs runs")
def ls(*, runs: RunsOption = None, output: Output) -> None:
    """List every table and figure of the paper: what it shows, what makes it, whether its data are
    here, and how much of it was measured."""
    from clifctl.experiments.paper import list_paper
    from clifctl.report.paper import paper_report

    output.emit(paper_report(list_paper(runs)))


@command(app, "show", example="clifctl paper show table1 --runs runs")
def show(
    name: NameArgument,
    overrides: OverridesArgument = None,
    *,
    runs: RunsOption = None,
    data: DataOption = None,
    output: Output,
) -> None:
    """Show a table or figure as the paper has it, and below its rows what was measured here.

    Runs count that have the recipe's protocol: every key that decides a result. With --data the
    runs on other data stand there too, marked; with KEY=VALUE those of recipes changed so.
    """
    from clifctl.experiments.reproduce.names import named_item

    named_item(name)  # before torch is imported
    from clifctl.experiments.paper import PaperOptions, show_paper
    from clifctl.report.paper import shown_report

    options = PaperOptions(runs, data, overrides or ())
    output.emit(shown_report(show_paper(name, options)))


@command(app, "run", example="clifctl paper run fig2b --data digits --seeds 2 --dry-run")
def run(
    name: NameArgument,
    overrides: OverridesArgument = None,
    *,
    runs: RunsOption = None,
    data: DataOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Number of seeds, from the recipe's on (default: as many as the paper)."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Runs made in parallel (default: by the size of the net)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; run and write nothing.")
    ] = False,
    execution: Execution,
    output: Output,
) -> None:
    """Make what is missing of a table or figure, then show it.

    On the paper's data where they are here, and on those of --data where not: with the recipe of
    that data and net that clifctl ships, or else the paper's recipe on that data. Runs that are
    finished anywhere below --runs are not made again.
    """
    from clifctl.experiments.reproduce.names import named_item

    named_item(name)  # before torch is imported
    from clifctl.experiments.grid.grid import raise_for_failures
    from clifctl.experiments.paper import (
        RunPaperOptions,
        paper_plan,
        plan_paper,
        run_paper,
        show_paper,
    )
    from clifctl.report.paper import plan_report, shown_report
    from clifctl.report.trials_progress import TrialsProgress

    options = RunPaperOptions(
        runs, data, overrides or (), seeds=seeds, execution=execution, workers=workers
    )
    planned = plan_paper(name, options)
    for notice in planned.notices:
        output.notice(notice)
    if dry_run:
        output.emit(plan_report(paper_plan(planned)))
        return
    output.require_columns(lambda: shown_report(_like(show_paper(name, options))))
    result, ended = run_paper(
        planned, watch=lambda: TrialsProgress(quiet=output.quiet), say=output.notice
    )
    output.emit(shown_report(result))
    for folder, trials in ended:
        raise_for_failures(trials, folder)


def _like(shown: "PaperShown") -> "PaperShown":
    """The same with everything measured that can be."""
    from clifctl.results.filled import filled
    from clifctl.results.paper import PaperLine
    from clifctl.results.statistics import Estimate

    cells = {one.key: filled(Estimate) for one in shown.columns if one.measured}
    line = filled(PaperLine, whose="here", cells=cells, notes={})
    return replace(shown, lines=(*shown.lines, line))
