"""`clifctl compare-neurons`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.completion import complete_neuron, complete_recipe_or_override
from clifctl.cli.grid_options import TABLES, GridChoice
from clifctl.cli.options import Output, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    example = "clifctl compare-neurons --neurons lif,clif --seeds 8 --plot"

    @command(app, "compare-neurons", example=example, tables=TABLES)
    def compare_neurons(
        arguments: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[RECIPE] [KEY=VALUE]...",
                help="A recipe (default: digits_snn5) and overrides, such as train.epochs=5.",
                autocompletion=complete_recipe_or_override,
            ),
        ] = None,
        *,
        neurons: Annotated[
            str,
            typer.Option(
                metavar="A,B,...",
                help="Neurons, including your own (FILE.py:NAME).",
                autocompletion=complete_neuron,
            ),
        ] = "lif,plif,glif,clif",
        timesteps: Annotated[
            str | None,
            typer.Option(metavar="T,T,...", help="Numbers of time steps (default: the recipe's)."),
        ] = None,
        batch_norm: Annotated[
            str | None,
            typer.Option(
                metavar="MODE,...",
                help="Modes of batch norm: per_step, folded (default: the recipe's).",
            ),
        ] = None,
        baseline: Annotated[
            str | None,
            typer.Option(help="Neuron to compare the others with (default: lif, or the first)."),
        ] = None,
        gradients: Annotated[
            bool,
            typer.Option(
                "--gradients",
                help="Add the temporal share of each trained net's gradient.",
            ),
        ] = False,
        grid: GridChoice,
        output: Output,
    ) -> None:
        """Compare neurons on the same net, data, seeds, initial weights and augmentation.

        Every trial is kept in the results folder: the same command run again trains only what is
        missing. The table has a mean and its standard error for each neuron, and the paired
        difference to the baseline with interval and corrected p value.
        """
        from clifctl.experiments import compare_neurons as experiment
        from clifctl.recipe.load import name_of_runs
        from clifctl.report.compare_neurons import comparison_report
        from clifctl.report.compare_neurons_picture import draw_comparison
        from clifctl.results.compare_neurons import NeuronComparison
        from clifctl.results.filled import filled

        given = list(arguments or [])
        is_named = bool(given) and "=" not in given[0]
        experiment.require_no_neurons([word for word in given if "=" not in word])
        recipe = given.pop(0) if is_named else experiment.DEFAULT_RECIPE
        axes = experiment.NeuronAxes(
            lists.names("--neurons", neurons),
            grid.seeds,
            timesteps=None if timesteps is None else lists.whole_numbers("--timesteps", timesteps),
            batch_norm=None if batch_norm is None else lists.names("--batch-norm", batch_norm),
            baseline=baseline,
            gradients=gradients,
        )
        grid.carry_out(
            output,
            "compare-neurons",
            Path("runs") / f"compare-{name_of_runs(recipe, given)}",
            plan=lambda options: experiment.plan_comparison(recipe, given, axes, options),
            run=experiment.compare_neurons,
            report=comparison_report,
            draw=draw_comparison,
            like=lambda _: filled(NeuronComparison),
        )
