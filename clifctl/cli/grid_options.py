"""The options of commands that run a grid of trials, and how such a command runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clifctl.amounts import counted
from clifctl.cli import lists
from clifctl.cli.execution_options import Execution
from clifctl.cli.options import Output, Shared, name_after, picture_path
from clifctl.cli.slurm_options import TRIALS_PANEL, SlurmJobs
from clifctl.experiments.run.execution import ExecutionOptions

if TYPE_CHECKING:
    from clifctl.experiments.grid.slurm_request import SlurmRequest

TABLES = ("result", "differences", "conclusions")

PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]", help="Draw to a .png, .svg or .pdf file (default: named after the run)."
    ),
]


@dataclass(frozen=True)
class _Choice:
    """How many seeds, and how and where the trials of a command run."""

    seeds: int
    execution: ExecutionOptions
    out: Path | None
    workers: int | None
    devices: str | None
    scheduler: str | None
    shard: str | None
    slurm: "SlurmRequest | None"
    fail_fast: bool
    dry_run: bool
    plot: str | None

    def carry_out(
        self,
        output: Output,
        command: str,
        default_out: Path,
        *,
        plan: Callable[[Any], Any],
        run: Callable[[Any, Any], Any],
        report: Callable[[Any], Any],
        draw: Callable[..., Any],
        like: Callable[[Any], Any],
    ) -> None:
        """Plan the grid of `command` from its options, then run it, write its result and draw
        it; or, for a dry run, write the plan. `like` makes of what is planned a result that has
        everything that it may have. Exit code 1 if a trial failed."""
        from clifctl.experiments.grid.dry_run import dry_run
        from clifctl.experiments.grid.grid import GridOptions, raise_for_failures
        from clifctl.report.trial_plan import trial_plan_report
        from clifctl.report.trials_progress import TrialsProgress

        folder = self.out or default_out
        picture = picture_path(self.plot, name_after(folder), output, folder)
        planned = plan(
            GridOptions(
                out=folder,
                execution=self.execution,
                workers=self.workers,
                devices=None if self.devices is None else lists.devices("--devices", self.devices),
                scheduler=self.scheduler,
                shard=None if self.shard is None else lists.shard("--shard", self.shard),
                slurm=self.slurm,
                fail_fast=self.fail_fast,
                dry_run=self.dry_run,
            )
        )
        grid = planned.grid
        output.keep_apart(folder, *grid.folder.files(grid.trials))
        for notice in planned.notices:
            output.notice(notice)
        if self.dry_run:
            output.emit(trial_plan_report(dry_run(grid, command)))
            if grid.unusable_data is not None:
                raise grid.unusable_data
            return
        output.require_columns(lambda: report(like(planned)))
        if output.verbose:
            output.notice(f"{counted(grid.workers, 'worker')} ({grid.workers_reason})")
        with TrialsProgress(quiet=output.quiet) as progress:
            result = run(planned, progress)
        output.emit_and_draw(report(result), picture, draw, result)
        raise_for_failures(result.trials, result.results_folder)


def _choice(
    *,
    seeds: Annotated[
        int, typer.Option(help="Number of seeds, starting at the recipe's train.seed.")
    ] = 4,
    execution: Execution,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Results folder (default: runs/COMMAND-RECIPE). Finished trials are kept.",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Trials run in parallel, each in a process (default: by the size of the net; one "
            "for each GPU).",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Numbers of the GPUs that the workers take in turn, as in 0,1,3 (default: every "
            "GPU of this machine, or that of --device).",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Dask cluster that shares this file system.",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N|slurm",
            help="Run only part I of N, for batch schedulers with a shared file system; slurm: the "
            "part of this job of a Slurm array.",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    slurm: SlurmJobs,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="Stop at the first failed trial.", rich_help_panel=TRIALS_PANEL
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the trials, estimate the time from a few timed steps; write nothing.",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = False,
    plot: PlotOption = None,
) -> _Choice:
    return _Choice(
        seeds,
        execution,
        out,
        workers,
        devices,
        scheduler,
        shard,
        slurm,
        fail_fast,
        dry_run=dry_run,
        plot=plot,
    )


GridChoice = Annotated[_Choice, Shared(_choice)]
