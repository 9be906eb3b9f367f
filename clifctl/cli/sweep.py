"""`clifctl sweep`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.completion import complete_override
from clifctl.cli.grid_options import TABLES, GridChoice
from clifctl.cli.options import Output, RecipeArgument, ask_on_terminal, command
from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.experiments.sweep import SweepGrid
    from clifctl.results.sweep import SweepResult

EXAMPLE = "clifctl sweep digits_rows_mlp train.lr=1e-3..1e-1:5:log neuron.name=lif,clif --seeds 4"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "sweep", example=EXAMPLE, tables=(*TABLES, "best", "pareto"))
    def sweep(
        recipe: RecipeArgument,
        keys: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[KEY=VALUE,...]...",
                help="Keys of the recipe with their values: A,B,... or a range, 1..4, 0..1:5 or "
                "1e-3..1e-1:5:log. A key with one value is an override.",
                autocompletion=complete_override,
            ),
        ] = None,
        *,
        zipped: Annotated[
            bool,
            typer.Option("--zip", help="Take the first values together, then the second, ..."),
        ] = False,
        sample: Annotated[
            int | None, typer.Option(metavar="N", help="Draw N of the points at random.")
        ] = None,
        sample_seed: Annotated[
            int, typer.Option(help="What --sample draws with.", min=0, max=2**32 - 1)
        ] = 0,
        baseline: Annotated[
            str | None,
            typer.Option(
                metavar="KEY=VALUE,...",
                help="Compare each point with the one that has these values and is else the same "
                "(default: with the first point).",
            ),
        ] = None,
        quantity: Annotated[
            str | None,
            typer.Option(
                metavar="NAME,...",
                help="Columns: accuracy, loss, firing_rate, energy, memory_energy, time, "
                "parameters, ... (default: the usual ones).",
            ),
        ] = None,
        against: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="Find the points that are best in accuracy (or the first --quantity) and in "
                "this, as in --against energy.",
            ),
        ] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Run more than 1,000 trials.")] = False,
        grid: GridChoice,
        output: Output,
    ) -> None:
        """Sweep over any keys of a recipe: every combination of their values, with several seeds.

        Every trial is kept in the results folder: the same command run again trains only what is
        missing. The table has a row for each point, the differences to the baseline pair the
        seeds, and the best point is chosen on validation data where there are some.
        """
        values = _values(keys or [])
        from clifctl.experiments import sweep as experiment
        from clifctl.recipe.load import name_of_runs
        from clifctl.report.sweep import sweep_report
        from clifctl.report.sweep_picture import draw_sweep

        axes = experiment.SweepAxes(
            values,
            grid.seeds,
            zipped=zipped,
            sample=sample,
            sample_seed=sample_seed,
            baseline=None if baseline is None else _baseline(baseline),
            quantities=None if quantity is None else lists.names("--quantity", quantity),
            against=against,
            agreed=lambda question: yes or ask_on_terminal(question),
        )
        single = [f"{key}={texts[0]}" for key, texts in values.items() if len(texts) == 1]
        grid.carry_out(
            output,
            "sweep",
            Path("runs") / f"sweep-{name_of_runs(recipe, single)}",
            plan=lambda options: experiment.plan_sweep(recipe, (), axes, options),
            run=experiment.sweep,
            report=sweep_report,
            draw=draw_sweep,
            like=_like,
        )


def _like(planned: "SweepGrid") -> "SweepResult":
    """A result of this sweep that has everything."""
    from clifctl.results.filled import filled
    from clifctl.results.sweep import SweepResult

    keys = planned.axes.keys
    result = filled(SweepResult, values=dict.fromkeys(keys, "x"))
    return replace(
        result,
        keys=keys,
        quantities=planned.quantities,
        quantity=planned.quantity,
        against=planned.against,
        pareto=() if planned.against is None else result.pareto,
    )


def _values(words: list[str]) -> dict[str, list[str]]:
    """Key -> the texts of its values. Raises UsageError for a key that is given twice."""
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise UsageError(
                f"'{word}' is not KEY=VALUE,...", hint="as in train.lr=0.1,0.01 or timesteps=1..4"
            )
        if key in found:
            raise UsageError(
                f"{key} was given twice", hint=f"give its values in one word: {key}=A,B"
            )
        found[key] = lists.swept(key, text)
    return found


def _baseline(text: str) -> dict[str, str]:
    """Key -> value of a baseline."""
    found = {}
    for entry in lists.raw("--baseline", text):
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise UsageError(
                f"--baseline {text}: '{entry}' is not KEY=VALUE",
                hint="as in --baseline neuron.name=lif",
            )
        found[key] = value
    return found
