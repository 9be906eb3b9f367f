"""`clifctl convert`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clifctl.cli import lists
from clifctl.cli.checkpoint_options import CheckpointArgument, CheckpointChoice
from clifctl.cli.options import Output, OverridesArgument, command
from clifctl.errors import RunFailed, UsageError
from clifctl.report.render import ENDINGS

if TYPE_CHECKING:
    from clifctl.experiments.convert import ConvertOptions

LIF_PANEL, NIR_PANEL = "To LIF", "To NIR"
# Endings that name what the other target writes.
FOREIGN_ENDINGS = {"lif": (".nir",), "nir": (".pt", ".pth")}

ToOption = Annotated[
    Literal["lif", "nir"],
    typer.Option("--to", help="What becomes of it: a LIF checkpoint, or a NIR graph of one."),
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
FoldOption = Annotated[
    bool,
    typer.Option(
        "--fold-norm", help="Fold batch norm into the weights before it.", rich_help_panel=LIF_PANEL
    ),
]
ProfileOption = Annotated[
    Literal["portable", "exact"] | None,
    typer.Option(
        help="portable: what other programs read (the default); exact: a soft reset as a loop of "
        "LI, Threshold, Delay and Scale.",
        rich_help_panel=NIR_PANEL,
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Test samples to verify on (default: 16).", rich_help_panel=NIR_PANEL
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--no-verify", help="Write it without reading it back.", rich_help_panel=NIR_PANEL
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "convert",
        example="clifctl convert runs/digits_snn5-1/last.pt --to lif -o lif.pt",
        output_help="The converted net (default: CHECKPOINT-lif.pt or CHECKPOINT.nir, here).",
    )(convert)


def convert(
    checkpoint: CheckpointArgument,
    overrides: OverridesArgument = None,
    *,
    to: ToOption = "lif",
    reset: ResetOption = None,
    reset_values: ResetValuesOption = None,
    choose_on: ChooseOnOption = None,
    recalibrate: RecalibrateOption = None,
    fold_norm: FoldOption = False,
    profile: ProfileOption = None,
    samples: SamplesOption = None,
    no_verify: VerifyOption = False,
    choice: CheckpointChoice,
    output: Output,
) -> None:
    """Deploy a trained net: on LIF neurons, or as a NIR graph that others read.

    --to lif replaces the neurons by LIF, without training. It tries the soft reset and hard
    ones, prints the paper's Table 8 of this net, chooses the best and writes a checkpoint of it
    that `eval`, `energy` and `train --init` take.
    --to nir writes a LIF net, batch norm folded, and has SpikingJelly, snnTorch and an
    interpreter of clifctl read the file back: their spikes and logits are compared with the
    net's one by one. Exit code 1, and no file, if they differ.
    """
    of_lif = {
        "--reset": reset, "--reset-values": reset_values, "--choose-on": choose_on,
        "--recalibrate": recalibrate, "--fold-norm": fold_norm,
    }  # fmt: skip
    of_nir = {"--profile": profile, "--samples": samples, "--no-verify": no_verify}
    _require_of_target(to, of_nir if to == "lif" else of_lif)
    out = _written(output, checkpoint, to)

    from clifctl.experiments.convert import ConvertOptions, DeployOptions, deploy
    from clifctl.report.convert import deploy_report

    options = ConvertOptions(
        out=out,
        overwrite=output.overwrite,
        checkpoint=choice.options(overrides or (), output),
        say=output.notice,
    )
    table = replace(output, path=None)  # -o is the net
    if to == "nir":
        _to_nir(checkpoint, options, table, profile or "portable", samples, no_verify)
        return
    how = DeployOptions(
        reset=reset,
        reset_values=None
        if reset_values is None
        else lists.numbers("--reset-values", reset_values),
        choose_on=choose_on or "train",
        recalibrate=recalibrate,
        fold=fold_norm,
    )
    table.emit(deploy_report(deploy(checkpoint, options, how)))


def _to_nir(
    checkpoint: Path,
    options: "ConvertOptions",
    table: Output,
    profile: Literal["portable", "exact"],
    samples: int | None,
    no_verify: bool,
) -> None:
    if no_verify and samples is not None:
        raise UsageError("--samples and --no-verify contradict each other", hint="give one")
    from clifctl.experiments.exports.nir import SAMPLES, NirOptions, export
    from clifctl.report.convert import nir_report

    count = None if no_verify else SAMPLES if samples is None else samples
    result = export(checkpoint, options, NirOptions(profile, count))
    table.emit(nir_report(result))
    if result.verified is False:
        bad = ", ".join(row.reader for row in result.readers if not row.holds)
        raise RunFailed(
            f"'{options.out}' was not written: the net's spikes are not what {bad} finds in it",
            hint="the table says how far it is off; --no-verify writes it all the same",
        )


def _require_of_target(to: str, others: Mapping[str, object]) -> None:
    """Raise UsageError for an option of the other target."""
    for name, value in others.items():
        if value is not None and value is not False:
            other = "lif" if to == "nir" else "nir"
            raise UsageError(
                f"{name} belongs to --to {other}, not to --to {to}", hint="leave it out"
            )


def _written(output: Output, checkpoint: Path, to: str) -> Path:
    """The file of the converted net, which must not be there yet."""
    default = f"{checkpoint.stem}.nir" if to == "nir" else f"{checkpoint.stem}-lif.pt"
    path = output.path or Path(default)
    if path.suffix in ENDINGS:
        raise UsageError(
            f"-o {path}: -o is the converted net, and the table goes to stdout",
            hint=f"-o {default}; the table: --format {ENDINGS[path.suffix]} > {path}",
        )
    if path.suffix in FOREIGN_ENDINGS[to]:
        raise UsageError(f"-o {path}: --to {to} writes no {path.suffix} file", hint=f"-o {default}")
    output.may_write(path, apart_from=(checkpoint,))
    return path
