"""`clifctl truncate-bptt`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.grid_options import TABLES, GridChoice
from clifctl.cli.options import Output, OverridesArgument, RecipeArgument, command

EXAMPLE = "clifctl truncate-bptt digits_events_snn5 neuron.name=lif --k 1,2,3,8 --tau 1.5,2.0"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "truncate-bptt", example=EXAMPLE, tables=TABLES)
    def truncate_bptt(
        recipe: RecipeArgument,
        overrides: OverridesArgument = None,
        *,
        k: Annotated[
            str | None,
            typer.Option("--k", metavar="K,K,...", help="Windows k, 1 to T (default: 1,2,3,T)."),
        ] = None,
        tau: Annotated[
            str | None,
            typer.Option(metavar="TAU,...", help="Time constants (default: the recipe's)."),
        ] = None,
        window: Annotated[
            str | None,
            typer.Option(
                metavar="MODE",
                help="Window mode: sliding, chunked or prefix (default: the recipe's).",
            ),
        ] = None,
        grid: GridChoice,
        output: Output,
    ) -> None:
        """Train with truncated BPTT: the grid of window k by time constant tau (Table 3).

        Gradients reach the last k time steps; k = T is full BPTT. Every trial is kept in the
        results folder: the same command run again trains only what is missing.
        """
        from clifctl.experiments import truncate_bptt as experiment
        from clifctl.recipe.load import name_of_runs
        from clifctl.report.truncate_bptt import truncation_report
        from clifctl.report.truncate_bptt_picture import draw_truncation
        from clifctl.results.filled import filled
        from clifctl.results.truncate_bptt import TruncationResult

        given = list(overrides or [])
        axes = experiment.TruncationAxes(
            grid.seeds,
            windows=None if k is None else lists.whole_numbers("--k", k),
            taus=None if tau is None else lists.numbers("--tau", tau),
            window_mode=window,
        )
        grid.carry_out(
            output,
            "truncate-bptt",
            Path("runs") / f"truncate-{name_of_runs(recipe, given)}",
            plan=lambda options: experiment.plan_truncation(recipe, given, axes, options),
            run=experiment.truncate_bptt,
            report=truncation_report,
            draw=draw_truncation,
            like=lambda _: filled(TruncationResult),
        )
