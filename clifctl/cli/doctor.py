"""`clifctl doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.options import Output, command
from clifctl.errors import RunFailed


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "doctor", example="clifctl doctor --json > doctor.json")
    def doctor(
        *,
        root: Annotated[
            Path | None,
            typer.Option(
                "--root", metavar="DIR", help="Folder of the data (default: see data ls)."
            ),
        ] = None,
        output: Output,
    ) -> None:
        """Check this machine: versions, devices, kernels, cache and data, with a self-test.

        The self-test runs a kernel of each usable target against the reference, and an event-driven
        connection against a dense one, gradients too. Exit code 1 if it fails. Add the output of
        --json to a bug report.
        """
        from clifctl.experiments.doctor import examine
        from clifctl.report.doctor import doctor_report
        from clifctl.results.doctor import DoctorResult
        from clifctl.results.filled import filled

        output.require_columns(lambda: doctor_report(filled(DoctorResult)))
        result = examine(root)
        output.emit(doctor_report(result))
        failed = [row for row in result.self_test if not row.passed]
        if failed:
            first = failed[0]
            wrong = first.problem or f"{first.quantity} is off by {first.error}"
            raise RunFailed(
                f"the self-test of target '{first.target}' on '{first.device}' failed: {wrong}",
                hint="--target reference runs without kernels; `neurons check clif` says more",
            )
