"""`clifctl energy`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clifctl.cli.eval import (
    DataOption,
    ModelOption,
    NeuronOption,
    RecipeOption,
    RootOption,
    foreign_recipe,
)
from clifctl.cli.options import (
    DeviceOption,
    Output,
    TargetOption,
    ThreadsOption,
    command,
    complete_recipe,
)
from clifctl.errors import UsageError

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE|KEY=VALUE",
        help="Checkpoints and recipes; overrides of the recipes.",
        autocompletion=complete_recipe,
    ),
]
RatesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|paper",
        help="Firing rates: a JSON file, or 'paper' for the published ones (default: measured, for "
        "a checkpoint).",
    ),
]
MethodOption = Annotated[
    Literal["sop", "memory", "both"],
    typer.Option(help="Synaptic operations (Table 6), memory accesses (Table 7), or both."),
]
ConstantsOption = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Energies in pJ: 45nm (default), 7nm, or a JSON file."),
]
PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]",
        help="Draw energy by component and firing rates, by layer, into a .png, .svg or .pdf; "
        "alone: energy.png.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "energy", example="clifctl energy cifar10_resnet18 --rates paper --per-layer")
    def energy(
        sources: SourcesArgument,
        *,
        rates: RatesOption = None,
        method: MethodOption = "both",
        per_layer: Annotated[
            bool, typer.Option("--per-layer", help="What each operation of the net costs.")
        ] = False,
        constants: ConstantsOption = None,
        timesteps: Annotated[
            int | None, typer.Option(help="Another T than that of the source.")
        ] = None,
        plot: PlotOption = None,
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
        """What an inference costs: operations, memory accesses, energy, as published and corrected.

        A checkpoint's firing rates are measured on its test data; of a recipe operations are
        counted, and with --rates energies too. 'paper' is the accounting of the paper's tables,
        which it reproduces; 'corrected' mends its defects and is per inference. The ANN of the same
        net is always a row. csv holds the first table: --method chooses it.
        """
        names, overrides = _split(sources)
        picture = _picture(plot, names, output)

        from clifctl.experiments.energy import EnergyOptions
        from clifctl.experiments.energy import energy as cost
        from clifctl.report.energy import energy_report

        foreign = foreign_recipe(recipe, data, model, overrides if recipe or data else [])
        for notice in foreign.notices if foreign else ():
            output.notice(notice)
        options = EnergyOptions(
            overrides=overrides,
            rates=rates,
            methods=("sop", "memory") if method == "both" else (method,),
            per_layer=per_layer or picture is not None,
            constants=constants,
            timesteps=timesteps,
            foreign_recipe=foreign,
            neuron=neuron,
            root=root,
            device=device,
            target=target,
            threads=threads,
            say=output.notice,
        )
        result = cost(names, options)
        if picture is not None:
            from clifctl.report.energy_picture import draw_energy

            draw_energy(picture, result)
        output.emit(energy_report(result, per_layer=per_layer))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Sources, and the overrides behind or between them."""
    overrides = [item for item in arguments if "=" in item and not Path(item).exists()]
    sources = [item for item in arguments if item not in overrides]
    if not sources:
        raise UsageError(
            "no source: what should be costed?",
            hint="name a checkpoint or a recipe: clifctl energy cifar10_resnet18",
        )
    return sources, overrides


def _picture(plot: str | None, sources: list[str], output: Output) -> Path | None:
    """Where the picture goes, if it may be written there."""
    output.keep_apart(*map(Path, sources))
    if plot is None:
        return None
    from clifctl.report.pictures import check_picture_path

    picture = Path("energy.png" if plot == "auto" else plot)
    check_picture_path(picture)
    output.may_write(picture, apart_from=tuple(map(Path, sources)))
    output.keep_apart(picture)
    return picture
