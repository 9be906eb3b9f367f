"""`clifctl train`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.options import (
    DeviceOption,
    Output,
    OverridesArgument,
    RecipeArgument,
    TargetOption,
    ThreadsOption,
    command,
)
from clifctl.errors import UsageError
from clifctl.report.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from clifctl.report.observers import Observers
    from clifctl.report.progress import TrainProgress


TensorboardOption = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write metrics.jsonl for TensorBoard too, into the run folder (needs the extra).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(app, "train", example="clifctl train digits_snn5 neuron.name=lif train.epochs=5")
    def train(
        recipe: RecipeArgument,
        overrides: OverridesArgument = None,
        *,
        device: DeviceOption = "auto",
        target: TargetOption = "auto",
        threads: ThreadsOption = None,
        seed: Annotated[int | None, typer.Option(help="Short for train.seed=N.")] = None,
        out: Annotated[
            Path | None,
            typer.Option(help="The run folder itself (default: runs/RECIPE-N)."),
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run", help="Check everything, print the resolved recipe, write nothing."
            ),
        ] = False,
        tensorboard: TensorboardOption = False,
        output: Output,
    ) -> None:
        """Train a net from a recipe into a run folder.

        The folder holds the resolved recipe, a manifest, metrics.jsonl and the checkpoints last.pt
        and best.pt. Keys of the recipe are changed by KEY=VALUE after it. --format jsonl writes a
        line after each epoch, and the result as the last one.
        """
        if tensorboard:
            require_tensorboard()
        chosen = list(overrides or [])
        if seed is not None:
            if any(item.startswith("train.seed=") for item in chosen):
                raise UsageError("--seed and train.seed were both given", hint="give one")
            chosen.append(f"train.seed={seed}")

        from clifctl.experiments.planning import FILES, RunOptions, plan_training
        from clifctl.experiments.train import train as run
        from clifctl.recipe.load import load_recipe
        from clifctl.recipe.yamlfile import dump_document
        from clifctl.report.progress import TrainProgress
        from clifctl.report.runs import plan_report, train_report

        output.keep_apart(Path(recipe), *([out / name for name in FILES] if out else []))
        loaded = load_recipe(recipe, chosen)
        for notice in loaded.notices:
            output.notice(notice)
        options = RunOptions(
            device=device,
            out=out,
            overwrite=output.overwrite,
            threads=threads,
            target=target,
        )
        if dry_run:
            plan, unusable_data = plan_training(loaded, options)
            output.emit(plan_report(plan, dump_document(plan.resolved_recipe)))
            if unusable_data is not None:
                raise unusable_data
            return
        with (
            TrainProgress(quiet=output.quiet, verbose=output.verbose) as progress,
            _watched(progress, output, tensorboard) as observers,
        ):
            result = run(loaded, options, observers)
        output.emit(train_report(result))


@contextmanager
def _watched(progress: "TrainProgress", output: Output, tensorboard: bool) -> "Iterator[Observers]":
    """Everything that watches the run: the person's display, the stream of epochs, TensorBoard."""
    from clifctl.experiments.planning import METRICS
    from clifctl.report.observers import EpochStream, Observers, Watches
    from clifctl.report.tensorboard import TensorBoard

    def write(line: str) -> None:
        with progress.paused():
            output.stream(line)

    watching: list[Watches] = [progress]
    if output.how == "jsonl":
        watching.append(EpochStream(METRICS, write))
    with ExitStack() as open_until_the_end:
        if tensorboard:
            watching.append(open_until_the_end.enter_context(TensorBoard(METRICS)))
        yield Observers(*watching)
