"""`clifctl gradients`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clifctl.cli.checkpoint_options import CheckpointChoice
from clifctl.cli.completion import complete_recipe
from clifctl.cli.lists import names
from clifctl.cli.options import (
    Output,
    OverridesArgument,
    command,
    name_after,
    picture_path,
)

if TYPE_CHECKING:
    from clifctl.results.gradients import GradientsResult

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT|RECIPE",
        help="A checkpoint, or a recipe: its net with fresh weights.",
        autocompletion=complete_recipe,
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Layers of neurons to analyse (default: all)."),
]
InputOption = Annotated[
    Literal["data", "noise"],
    typer.Option(
        "--input", help="Training samples, or normal noise with random labels (needs no data)."
    ),
]
FormulaOption = Annotated[
    Literal["exact", "exact-xi", "paper"],
    typer.Option(
        help="Split of LIF and CLIF: exact, exact with the paper's xi, or as the paper prints it "
        "(with its error).",
    ),
]
SamplesOption = Annotated[int, typer.Option(help="Number of training samples, in one batch.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Selects the samples.")]
Float64Option = Annotated[
    bool, typer.Option("--float64", help="Compute in float64, with smaller errors of rounding.")
]
WindowsOption = Annotated[
    bool,
    typer.Option(
        help="Compare the weights' gradients for every window, with a backward pass each."
    ),
]
PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]",
        help="Draw heat maps, layer by lag, to a .png, .svg or .pdf file "
        "(default: gradients-SOURCE.png).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    tables = ("lags", "split", "windows")
    example = "clifctl gradients runs/digits_snn5-1/last.pt --plot"

    @command(app, "gradients", example=example, tables=tables)
    def gradients(
        source: SourceArgument,
        overrides: OverridesArgument = None,
        *,
        layers: LayersOption = None,
        samples: SamplesOption = 64,
        seed: SeedOption = 0,
        input_: InputOption = "data",
        formula: FormulaOption = "exact",
        float64: Float64Option = False,
        windows: WindowsOption = True,
        plot: PlotOption = None,
        choice: CheckpointChoice,
        output: Output,
    ) -> None:
        """Measure how far back in time gradients reach in a net, layer by layer.

        For each layer the share of its gradient that comes from so many time steps later (from the
        windowed backward: window k+1 minus window k), how far back the last step's loss reaches,
        and how biased truncated BPTT is. For LIF and CLIF also the paper's split into a spatial
        part, M1 and M2, exact.
        """
        picture = picture_path(plot, f"gradients-{name_after(source)}", output, Path(source))
        output.keep_apart(Path(source))
        from clifctl.experiments.gradients import GradientsOptions
        from clifctl.experiments.gradients import gradients as run
        from clifctl.report.gradients import gradients_report
        from clifctl.report.gradients_picture import draw_gradients

        output.require_columns(lambda: gradients_report(_like()))
        given = overrides or []
        options = GradientsOptions(
            overrides=given,
            layers=None if layers is None else names("--layers", layers),
            samples=samples,
            seed=seed,
            noise=input_ == "noise",
            formula=formula,
            float64=float64,
            windows=windows,
            checkpoint=choice.options_of_source(given, output),
            say=output.notice,
        )
        result = run(source, options)
        output.emit_and_draw(gradients_report(result), picture, draw_gradients, result)


def _like() -> "GradientsResult":
    """A result that has everything, with every lag that a table may show."""
    from clifctl.report.gradients import LAGS
    from clifctl.results.filled import filled
    from clifctl.results.gradients import GradientsResult, LagRow

    steps = LAGS[-1] + 1
    lags = tuple(filled(LagRow, lag=lag) for lag in range(steps))
    return filled(GradientsResult, timesteps=steps, lags=lags, reach=(1.0,) * steps)
