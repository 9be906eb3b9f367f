"""`convert --to nir`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clifctl.cli.exports.export import Export
from clifctl.errors import RunFailed, UsageError

if TYPE_CHECKING:
    from clifctl.experiments.convert import ConvertOptions

PANEL = "To NIR"
ProfileOption = Annotated[
    Literal["portable", "exact"] | None,
    typer.Option(
        help="portable: what other programs read (the default); exact: a soft reset as a loop of "
        "LI, Threshold, Delay and Scale.",
        rich_help_panel=PANEL,
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Test samples to verify on (default: 16).", rich_help_panel=PANEL
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option("--no-verify", help="Write it without reading it back.", rich_help_panel=PANEL),
]


def options(
    *,
    profile: ProfileOption = None,
    samples: SamplesOption = None,
    no_verify: VerifyOption = False,
) -> None:
    """Never called: its signature is what this target alone takes."""


def run(
    checkpoint: Path,
    common: "ConvertOptions",
    *,
    profile: Any,
    samples: int | None,
    no_verify: bool,
) -> Any:
    """Write a NIR graph whose spikes every reader finds. Raises ClifctlError."""
    if no_verify and samples is not None:
        raise UsageError("--samples and --no-verify contradict each other", hint="give one")
    from clifctl.experiments.exports.nir import SAMPLES, NirOptions, export

    count = None if no_verify else SAMPLES if samples is None else samples
    return export(checkpoint, common, NirOptions(profile or "portable", count))


def report(result: Any) -> Any:
    """What the readers find, and what was written."""
    from clifctl.report.convert import nir_report

    return nir_report(result)


def like(**_: Any) -> Any:
    """A result that has everything."""
    from clifctl.results.convert import NirResult
    from clifctl.results.filled import filled

    return filled(NirResult)


def failure(result: Any) -> RunFailed | None:
    """A graph that does not hold, which was not written."""
    if result.verified is not False:
        return None
    bad = ", ".join(row.reader for row in result.readers if not row.holds)
    return RunFailed(
        f"'{result.output}' was not written: the net's spikes are not what {bad} finds in it",
        hint="the table says how far it is off; --no-verify writes it all the same",
    )


EXPORT = Export(
    help="--to nir writes a LIF net, batch norm folded, and has SpikingJelly, snnTorch and an "
    "interpreter of clifctl read the file back: their spikes and logits are compared with the "
    "net's one by one. Exit code 1, and no file, if they differ.",
    suffix=".nir",
    endings=(".nir",),
    options=options,
    run=run,
    report=report,
    like=like,
    failure=failure,
)
