"""`clifctl eval`."""

from typing import Annotated

import typer

from clifctl.cli.checkpoint_options import CheckpointArgument, CheckpointChoice
from clifctl.cli.options import Output, OverridesArgument, command, name_after, picture_path

BatchStatisticsOption = Annotated[
    bool,
    typer.Option(
        "--batch-statistics",
        help="Normalise with each test batch's statistics instead of the running averages.",
    ),
]
PerClassOption = Annotated[bool, typer.Option("--per-class", help="Add a table of the classes.")]
ConfusionOption = Annotated[
    bool,
    typer.Option(
        "--confusion",
        help="Add the confusion matrix: how often each class was decided to be each class.",
    ),
]
PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]",
        help="Draw accuracy after each step, firing rates and what was asked for to a .png, .svg "
        "or .pdf file "
        "(default: eval-RUN-last.png, here).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    tables = ("result", "published", "steps", "firing-rates", "classes", "confusion")
    example = "clifctl eval runs/digits_snn5-1/last.pt --per-class --plot"

    @command(app, "eval", example=example, tables=tables)
    def evaluate(
        checkpoint: CheckpointArgument,
        overrides: OverridesArgument = None,
        *,
        batch_statistics: BatchStatisticsOption = False,
        per_class: PerClassOption = False,
        confusion: ConfusionOption = False,
        plot: PlotOption = None,
        choice: CheckpointChoice,
        output: Output,
    ) -> None:
        """Evaluate a checkpoint on the test data of the recipe that it carries.

        Gives accuracy (top 1, top 5), losses, accuracy and cross entropy after each time step (of
        the logits summed up to it) and the firing rate of each layer.
        A checkpoint of clifctl carries its recipe; timesteps=T shows a sample for another number of
        time steps than it was trained with. State dicts of the authors' code do not: name a
        recipe (KEY=VALUE changes it), or a net and a data set.
        """
        picture = picture_path(plot, f"eval-{name_after(checkpoint)}", output, checkpoint)
        output.keep_apart(checkpoint)
        from clifctl.experiments.eval import EvalRequest, evaluate_checkpoint
        from clifctl.report.eval import eval_report
        from clifctl.report.eval_picture import draw_evaluation
        from clifctl.results.eval import EvalResult
        from clifctl.results.filled import filled

        output.require_columns(lambda: eval_report(filled(EvalResult)))
        options, timesteps = choice.options_and_timesteps(overrides or (), output)
        result = evaluate_checkpoint(
            checkpoint,
            options,
            EvalRequest(
                timesteps=timesteps,
                use_batch_statistics=batch_statistics,
                per_class=per_class or output.table == "classes",
                confusion=confusion or output.table == "confusion",
                picture=None if picture is None else str(picture),
            ),
        )
        output.emit_and_draw(eval_report(result), picture, draw_evaluation, result)
