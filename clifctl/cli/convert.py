"""`clifctl convert`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from clifctl.cli.eval import (
    CheckpointArgument,
    DataOption,
    ModelOption,
    NeuronOption,
    RecipeOption,
    RootOption,
    foreign_recipe,
)
from clifctl.cli.options import (
    ENDINGS,
    DeviceOption,
    Output,
    OverridesArgument,
    TargetOption,
    ThreadsOption,
    command,
)
from clifctl.errors import UsageError

LIF_PANEL = "To LIF"

ToOption = Annotated[
    Literal["lif"], typer.Option("--to", help="What becomes of it: a LIF checkpoint.")
]
ResetOption = Annotated[
    Literal["soft", "hard"] | None,
    typer.Option(help="Try resets of this kind alone (default: both).", rich_help_panel=LIF_PANEL),
]
ResetValuesOption = Annotated[
    str | None,
    typer.Option(
        metavar="V,V,...",
        help="Hard resets to try (default: the paper's 0,-0.02,-0.04,-0.06,-0.08,-0.1).",
        rich_help_panel=LIF_PANEL,
    ),
]
ChooseOnOption = Annotated[
    Literal["train", "test"] | None,
    typer.Option(
        help="What decides: training data (those held out, where the recipe holds some out; the "
        "default), or test data (the paper's way).",
        rich_help_panel=LIF_PANEL,
    ),
]
RecalibrateOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Also try each reset with batch norm statistics estimated anew on N training batches.",
        rich_help_panel=LIF_PANEL,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(
        app,
        "convert",
        example="clifctl convert runs/digits_snn5-1/last.pt --to lif -o lif.pt",
        output_help="The converted net: a new file (default: CHECKPOINT-lif.pt here).",
    )
    def convert(
        checkpoint: CheckpointArgument,
        overrides: OverridesArgument = None,
        *,
        to: ToOption = "lif",
        reset: ResetOption = None,
        reset_values: ResetValuesOption = None,
        choose_on: ChooseOnOption = None,
        recalibrate: RecalibrateOption = None,
        recipe: RecipeOption = None,
        data: DataOption = None,
        model: ModelOption = None,
        neuron: NeuronOption = None,
        root: RootOption = None,
        device: DeviceOption = "auto",
        target: TargetOption = "auto",
        threads: ThreadsOption = None,
        output: Output,
    ) -> None:
        """Deploy a trained net: on LIF neurons.

        --to lif replaces the neurons by LIF, without training. It tries the soft reset and hard
        ones, prints the paper's Table 8 of this net, chooses the best and writes a checkpoint of it
        that `eval`, `energy` and `convert` take.
        """
        out = _written(output, checkpoint, ".pt")

        from clifctl.experiments.convert import ConvertOptions, DeployOptions, deploy
        from clifctl.report.convert import deploy_report

        foreign = foreign_recipe(recipe, data, model, overrides or [])
        for notice in foreign.notices if foreign else ():
            output.notice(notice)
        options = ConvertOptions(
            out=out,
            overwrite=output.overwrite,
            foreign_recipe=foreign,
            neuron=neuron,
            root=root,
            device=device,
            target=target,
            threads=threads,
            say=output.notice,
        )
        how = DeployOptions(
            reset=reset,
            reset_values=reset_values,
            choose_on=choose_on or "train",
            recalibrate=recalibrate,
        )
        result = deploy(checkpoint, options, how)
        replace(output, path=None).emit(deploy_report(result))


def _written(output: Output, checkpoint: Path, suffix: str) -> Path:
    """The file of the converted net, which must not be there yet."""
    path = output.path or Path(f"{checkpoint.stem}-lif{suffix}")
    if path.suffix in ENDINGS:
        raise UsageError(
            f"-o {path}: -o is the converted net, and the table goes to stdout",
            hint=f"-o NAME{suffix}; the table: --format {ENDINGS[path.suffix]} > {path}",
        )
    output.may_write(path, apart_from=(checkpoint,))
    return path
