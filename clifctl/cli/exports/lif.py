"""`convert --to lif`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clifctl.cli import lists
from clifctl.cli.exports.export import Export

if TYPE_CHECKING:
    from clifctl.experiments.convert import ConvertOptions

PANEL = "To LIF"
ResetOption = Annotated[
    Literal["soft", "hard"] | None,
    typer.Option(help="Try resets of this kind alone (default: both).", rich_help_panel=PANEL),
]
ResetValuesOption = Annotated[
    str | None,
    typer.Option(
        metavar="V,V,...",
        help="Hard resets to try (default: the paper's 0,-0.02,-0.04,-0.06,-0.08,-0.1).",
        rich_help_panel=PANEL,
    ),
]
ChooseOnOption = Annotated[
    Literal["train", "test"] | None,
    typer.Option(
        help="What decides: training data (those held out, where the recipe holds some out; the "
        "default), or test data (the paper's way).",
        rich_help_panel=PANEL,
    ),
]
RecalibrateOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Also try each reset with batch norm statistics estimated anew on N training batches.",
        rich_help_panel=PANEL,
    ),
]
FoldOption = Annotated[
    bool,
    typer.Option(
        "--fold-norm", help="Fold batch norm into the weights before it.", rich_help_panel=PANEL
    ),
]


def options(
    *,
    reset: ResetOption = None,
    reset_values: ResetValuesOption = None,
    choose_on: ChooseOnOption = None,
    recalibrate: RecalibrateOption = None,
    fold_norm: FoldOption = False,
) -> None:
    """Never called: its signature is what this target alone takes."""


def run(
    checkpoint: Path,
    common: "ConvertOptions",
    *,
    reset_values: str | None,
    choose_on: Any,
    fold_norm: bool,
    **own: Any,
) -> Any:
    """Write a LIF checkpoint of the best reset. Raises ClifctlError."""
    from clifctl.experiments.exports.lif import DeployOptions, deploy

    values = None if reset_values is None else lists.numbers("--reset-values", reset_values)
    how = DeployOptions(reset_values=values, choose_on=choose_on or "train", fold=fold_norm, **own)
    return deploy(checkpoint, common, how)


def report(result: Any) -> Any:
    """The table of resets, and what was written."""
    from clifctl.report.convert import deploy_report

    return deploy_report(result)


def like(*, reset_values: str | None, reset: Any, fold_norm: bool, **_: Any) -> Any:
    """A result that has everything."""
    from clifctl.experiments.exports.lif import DeployOptions
    from clifctl.results.convert import DeployedRow, DeployResult
    from clifctl.results.filled import filled

    values = None if reset_values is None else lists.numbers("--reset-values", reset_values)
    resets = DeployOptions(reset=reset, reset_values=values).resets()
    rows = tuple(filled(DeployedRow, v_reset=one.v_reset, recalibrated=False) for one in resets)
    found = filled(DeployResult, chosen_on="train", settings=rows)
    norms = found.norms_folded if fold_norm else None
    return dataclasses.replace(found, published=None, norms_folded=norms)


EXPORT = Export(
    help="--to lif replaces the neurons by LIF, without training. It tries the soft reset and hard "
    "ones, prints the paper's Table 8 of this net, chooses the best and writes a checkpoint of it "
    "that `eval`, `energy` and `train --init` take.",
    suffix="-lif.pt",
    endings=(".pt", ".pth"),
    options=options,
    run=run,
    report=report,
    like=like,
)
