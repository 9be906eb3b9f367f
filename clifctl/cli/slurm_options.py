"""The options that submit the trials of a grid to Slurm."""

from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.options import Shared
from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.experiments.grid.slurm_request import SlurmRequest

# The panel of the options that say how and where trials run.
TRIALS_PANEL = "Trials"


def _request(
    *,
    submit: Annotated[
        str | None,
        typer.Option(
            metavar="slurm",
            help="Submit the trials to Slurm, a job each, and return; the same command again shows "
            "what is done.",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="What each job asks for, by the names of sbatch's options: "
            "partition=gpu,time=4:00:00,gpus=1 (default: time=1:00:00).",
            rich_help_panel=TRIALS_PANEL,
        ),
    ] = None,
) -> "SlurmRequest | None":
    if submit is None:
        if slurm is not None:
            raise UsageError("--slurm is for --submit slurm", hint="add --submit slurm")
        return None
    if submit != "slurm":
        raise UsageError(
            f"--submit {submit}: jobs are submitted to slurm",
            hint="--submit slurm; a Dask cluster has --scheduler ADDRESS",
        )
    from clifctl.experiments.grid.slurm_request import SlurmRequest

    given = [] if slurm is None else lists.names("--slurm", slurm)
    return SlurmRequest.read("--slurm", given)


SlurmJobs = Annotated["SlurmRequest | None", Shared(_request)]
