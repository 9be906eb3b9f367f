"""`clifctl eval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.options import (
    DeviceOption,
    Output,
    OverridesArgument,
    TargetOption,
    ThreadsOption,
    command,
)
from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.recipe.load import LoadedRecipe

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="A last.pt or best.pt of a run, or other code's weights."
    ),
]
# How any command names the net and data of a checkpoint.
RecipeOption = Annotated[
    str | None, typer.Option(help="For weights of other code: the recipe of their net and data.")
]
DataOption = Annotated[str | None, typer.Option(help="Instead of a recipe: the data set.")]
ModelOption = Annotated[str | None, typer.Option(help="Instead of a recipe: the net.")]
BatchStatisticsOption = Annotated[
    bool,
    typer.Option(
        "--batch-statistics",
        help="Normalise with each test batch's statistics, not the running averages.",
    ),
]
NeuronOption = Annotated[
    str | None,
    typer.Option(help="FILE.py:NAME of the checkpoint's own neuron: allows to run it."),
]
RootOption = Annotated[
    Path | None, typer.Option(help="Where the data lie here, if not where the recipe says.")
]
PerClassOption = Annotated[bool, typer.Option("--per-class", help="Add a table with every class.")]
PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]",
        help="Draw accuracy after each step and firing rates into a .png, .svg or .pdf; alone: "
        "CHECKPOINT.png here.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "eval", example="clifctl eval runs/digits_snn5-1/last.pt --per-class --plot")
    def evaluate(
        checkpoint: CheckpointArgument,
        overrides: OverridesArgument = None,
        *,
        recipe: RecipeOption = None,
        data: DataOption = None,
        model: ModelOption = None,
        batch_statistics: BatchStatisticsOption = False,
        neuron: NeuronOption = None,
        root: RootOption = None,
        per_class: PerClassOption = False,
        plot: PlotOption = None,
        device: DeviceOption = "auto",
        target: TargetOption = "auto",
        threads: ThreadsOption = None,
        output: Output,
    ) -> None:
        """Evaluate a checkpoint on the test data of the recipe that it carries.

        Gives accuracy (top 1, top 5), losses, accuracy and cross entropy after each time step (of
        the logits summed up to it) and the firing rate of each layer.
        A checkpoint of clifctl carries its recipe. State dicts of the authors' code do not: name a
        recipe (KEY=VALUE changes it), or a net and a data set.
        """
        from clifctl.report.evaluation import draw_evaluation, eval_report
        from clifctl.report.pictures import check_picture_path

        picture = (
            None if plot is None else Path(f"{checkpoint.stem}.png" if plot == "auto" else plot)
        )
        if picture is not None:
            check_picture_path(picture)
            output.may_write(picture, apart_from=(checkpoint,))
        output.keep_apart(checkpoint, *([picture] if picture else []))

        from clifctl.experiments.evaluate import evaluate_checkpoint

        foreign = foreign_recipe(recipe, data, model, overrides or [])
        for notice in foreign.notices if foreign else ():
            output.notice(notice)
        result = evaluate_checkpoint(
            checkpoint,
            device=device,
            target=target,
            threads=threads,
            use_batch_statistics=batch_statistics,
            neuron=neuron,
            foreign_recipe=foreign,
            root=root,
            per_class=per_class,
            picture=None if picture is None else str(picture),
        )
        if picture is not None and output.main:
            draw_evaluation(picture, result)
        output.emit(eval_report(result))


def foreign_recipe(
    recipe: str | None, data: str | None, model: str | None, overrides: list[str]
) -> "LoadedRecipe | None":
    """The recipe that weights of other code are given; None for a checkpoint of clifctl."""
    if (data is None) != (model is None) or (recipe and data):
        raise UsageError(
            "weights of other code need --recipe, or both --model and --data",
            hint="for example: --model resnet18 --data cifar100 neuron.name=clif",
        )
    if overrides and not (recipe or data):
        raise UsageError(
            f"'{overrides[0]}': a checkpoint of clifctl is evaluated as it was trained",
            hint="KEY=VALUE goes with --recipe, or with --model and --data",
        )
    from clifctl.recipe.load import bare_recipe, load_recipe

    if recipe:
        return load_recipe(recipe, overrides)
    if data and model:
        return bare_recipe(data, model, overrides)
    return None
