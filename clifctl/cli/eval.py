"""`clifctl eval`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.options import DeviceOption, Output, TargetOption, ThreadsOption, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "eval", example="clifctl eval runs/digits_snn5-1/last.pt --batch-statistics")
    def evaluate(
        checkpoint: Annotated[
            Path, typer.Argument(metavar="CHECKPOINT", help="A last.pt or best.pt of a run.")
        ],
        *,
        batch_statistics: Annotated[
            bool,
            typer.Option(
                "--batch-statistics",
                help="Normalise with each test batch's statistics, not the running averages.",
            ),
        ] = False,
        neuron: Annotated[
            str | None,
            typer.Option(help="FILE.py:NAME of the checkpoint's own neuron: allows to run it."),
        ] = None,
        device: DeviceOption = "auto",
        target: TargetOption = "auto",
        threads: ThreadsOption = None,
        output: Output,
    ) -> None:
        """Evaluate a checkpoint on the test data of the recipe that it carries.

        Gives accuracy, losses, the accuracy after each time step and the firing rate of each layer.
        """
        from clifctl.experiments.evaluate import evaluate_checkpoint
        from clifctl.report.tables import eval_report

        output.keep_apart(checkpoint)
        result = evaluate_checkpoint(
            checkpoint,
            device=device,
            target=target,
            threads=threads,
            use_batch_statistics=batch_statistics,
            neuron=neuron,
        )
        output.emit(eval_report(result))
