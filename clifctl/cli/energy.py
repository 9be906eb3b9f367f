"""`clifctl energy`."""

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

from clifctl.cli.checkpoint_options import CheckpointChoice
from clifctl.cli.completion import complete_recipe
from clifctl.cli.options import Output, command, name_after, picture_path
from clifctl.errors import UsageError

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE|KEY=VALUE",
        help="Checkpoints and recipes, and overrides of the recipes.",
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
        help="Draw energy by component and firing rates by layer to a .png, .svg or .pdf file "
        "(default: energy-SOURCE.png).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    tables = ("sop", "memory", "firing-rates", "layers", "synaptic")
    example = "clifctl energy cifar10_resnet18 --rates paper --per-layer"

    @command(app, "energy", example=example, tables=tables)
    def energy(
        sources: SourcesArgument,
        *,
        rates: RatesOption = None,
        method: MethodOption = "both",
        per_layer: Annotated[
            bool, typer.Option("--per-layer", help="Show what each operation of the net costs.")
        ] = False,
        operations: Annotated[
            bool,
            typer.Option("--operations", help="Show what each operation of the net is charged as."),
        ] = False,
        constants: ConstantsOption = None,
        timesteps: Annotated[
            int | None, typer.Option(help="Number of time steps (default: the source's).")
        ] = None,
        plot: PlotOption = None,
        choice: CheckpointChoice,
        output: Output,
    ) -> None:
        """Count operations, memory accesses and energy of an inference, as published and corrected.

        A checkpoint's firing rates are measured on its test data; of a recipe operations are
        counted, and with --rates energies too. 'paper' is the accounting of the paper's tables,
        which it reproduces; 'corrected' repairs its defects and counts per inference. The ANN of
        the same net is always a row.
        """
        names, overrides = _split(sources)
        per_layer = per_layer or output.table == "layers"
        read = [Path(name) for name in names]
        picture = picture_path(plot, f"energy-{name_after(*names)}", output, *read)
        output.keep_apart(*read)

        from clifctl.experiments.energy import EnergyOptions
        from clifctl.experiments.energy import energy as cost
        from clifctl.report.energy import energy_report
        from clifctl.report.energy_picture import draw_energy
        from clifctl.results.energy import EnergyResult
        from clifctl.results.filled import filled

        options = EnergyOptions(
            overrides=overrides,
            rates=rates,
            methods=("sop", "memory") if method == "both" else (method,),
            per_layer=per_layer or operations or picture is not None,
            constants=constants,
            timesteps=timesteps,
            checkpoint=choice.options_of_source(overrides, output),
            say=output.notice,
        )
        report = functools.partial(energy_report, per_layer=per_layer, operations=operations)
        like = {"methods": options.methods, "rates": "measured"}
        output.require_columns(lambda: report(filled(EnergyResult, **like)))
        result = cost(names, options)
        output.emit_and_draw(report(result), picture, draw_energy, result)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Sources, and the overrides behind or between them."""
    overrides = [item for item in arguments if "=" in item and not Path(item).exists()]
    sources = [item for item in arguments if item not in overrides]
    if not sources:
        raise UsageError(
            "no checkpoint or recipe was given",
            hint="name one, as in: clifctl energy cifar10_resnet18",
        )
    return sources, overrides
