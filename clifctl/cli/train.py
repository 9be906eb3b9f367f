"""`clifctl train`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.execution_options import Execution
from clifctl.cli.options import (
    ChangedFileOption,
    OptionalRecipeArgument,
    Output,
    OverridesArgument,
    command,
)
from clifctl.cli.run_pictures import RunPictures
from clifctl.commands import command_line
from clifctl.errors import UntrustedFile, UsageError
from clifctl.report.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from clifctl.experiments.run.plan import RunOptions
    from clifctl.recipe.load import LoadedRecipe
    from clifctl.report.progress import TrainProgress
    from clifctl.results.events import Observer


TensorboardOption = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Also write the metrics for TensorBoard into the run folder (needs the extra).",
    ),
]

PlotsOption = Annotated[
    bool,
    typer.Option(
        "--plots",
        help="At the end, also of a run that is stopped, draw its curves and firing rates into the "
        "run folder.",
    ),
]

SeedOption = Annotated[int | None, typer.Option(help="Same as train.seed=N.")]
OutOption = Annotated[Path | None, typer.Option(help="Run folder (default: runs/RECIPE-N).")]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        metavar="RUN_FOLDER|auto",
        help="Resume the run in this folder; auto: resume the one in --out, or start it.",
    ),
]
InitOption = Annotated[
    Path | None,
    typer.Option(
        metavar="CHECKPOINT",
        help="Start from the weights of a checkpoint of the same net, such as one of `convert`.",
    ),
]
KeepOption = Annotated[
    int | None,
    typer.Option(
        help="Keep the checkpoints of the last N epochs, besides last and best (a resumed run: as "
        "before).",
        show_default="0",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Check everything, print the resolved recipe, write nothing."),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    tables = ("result", "published", "firing-rates", "connections")
    example = "clifctl train digits_snn5 neuron.name=lif train.epochs=5"

    @command(
        app,
        "train",
        example=example,
        tables=tables,
        overwrite_help="Replace an existing run folder or output file.",
    )
    def train(
        recipe: OptionalRecipeArgument = None,
        overrides: OverridesArgument = None,
        *,
        execution: Execution,
        seed: SeedOption = None,
        out: OutOption = None,
        resume: ResumeOption = None,
        init: InitOption = None,
        keep: KeepOption = None,
        dry_run: DryRunOption = False,
        tensorboard: TensorboardOption = False,
        plots: PlotsOption = False,
        changed_file: ChangedFileOption = False,
        output: Output,
    ) -> None:
        """Train a net from a recipe into a run folder.

        The folder holds the resolved recipe, a manifest, metrics.jsonl, a log, the result and the
        checkpoints last.pt and best.pt. Keys of the recipe are changed by KEY=VALUE after it. A run
        that was stopped or killed continues with --resume, bit for bit as if nothing had happened.
        --format jsonl writes a line after each epoch, and the result as the last line.
        """
        if tensorboard:
            require_tensorboard("--tensorboard")
        chosen = list(overrides or [])
        folder = _folder_to_resume(resume, recipe, out, chosen)
        _add_seed(seed, chosen)

        from clifctl.experiments.run.plan import FILES, RunOptions, plan_training
        from clifctl.experiments.train import train as run
        from clifctl.recipe.yamlfile import dump_document
        from clifctl.report.observers import each
        from clifctl.report.progress import TrainProgress
        from clifctl.report.train import plan_report, train_report
        from clifctl.results.filled import filled
        from clifctl.results.train import TrainResult

        place = folder or out
        read = [Path(recipe)] if recipe and not folder else []
        output.keep_apart(*read, *([place / name for name in FILES] if place else []))
        show = output if dry_run else None
        loaded = _loaded(folder, recipe or "", chosen, show, changed_file=changed_file)
        for notice in loaded.notices:
            output.notice(notice)
        options = RunOptions(
            execution,
            out=place,
            overwrite=output.overwrite,
            resume="always" if folder else "auto" if resume else "never",
            keep=keep,
            init=init,
            changed_file=changed_file,
        )
        if dry_run:
            _report_state(loaded, options, output)
            plan, unusable_data = plan_training(loaded, options)
            output.emit(plan_report(plan, dump_document(plan.resolved_recipe)))
            if unusable_data is not None:
                raise unusable_data
            return
        output.require_columns(
            lambda: train_report(
                filled(
                    TrainResult,
                    best_chosen_on="test",
                    resolved_recipe=loaded.recipe.document,
                )
            )
        )
        drawing = RunPictures(output) if plots and output.main else None
        with (
            TrainProgress(quiet=output.quiet, verbose=output.verbose) as progress,
            _watched(progress, output, tensorboard) as observe,
            drawing or nullcontext(),
        ):
            result = run(loaded, options, each(observe, drawing) if drawing else observe)
        output.emit(train_report(result))
        if drawing is not None:
            drawing.draw(result)


def _loaded(
    folder: Path | None,
    recipe: str,
    overrides: list[str],
    show: Output | None,
    *,
    changed_file: bool,
) -> "LoadedRecipe":
    """The recipe, that of the run in `folder` if one is given. For a recipe that names a file which
    is not trusted, `show` prints what is known without it; then UntrustedFile is raised."""
    from clifctl.experiments.run.resume import recipe_of_run
    from clifctl.recipe.load import load_recipe
    from clifctl.recipe.yamlfile import dump_document
    from clifctl.report.recipes import recipe_report

    try:
        if folder is not None:
            return recipe_of_run(folder, overrides, changed_file=changed_file)
        return load_recipe(recipe, overrides)
    except UntrustedFile as refused:
        known, name = refused.document, (folder or Path(recipe)).stem
        if show is not None:
            show.emit(recipe_report(name, known, dump_document(known)))
        raise


def _report_state(loaded: "LoadedRecipe", options: "RunOptions", output: Output) -> None:
    """Say how far the run has come that would be resumed; raises what that run would raise."""
    from clifctl.experiments.run.recorder import describe
    from clifctl.experiments.run.resume import folder_state

    state = folder_state(loaded, options)
    if state.result is not None:
        output.notice(f"'{options.out}' is already finished")
    elif state.checkpoint is not None and options.out is not None:
        output.notice(describe(options.out, state.checkpoint))


def _folder_to_resume(
    resume: str | None, recipe: str | None, out: Path | None, overrides: list[str]
) -> Path | None:
    """The folder that `--resume FOLDER` names; None for a run of a recipe. With a folder, what
    typer took for the recipe is the first override."""
    if resume in (None, "auto"):
        if recipe is None:
            raise UsageError(
                "no RECIPE was given",
                hint="name a recipe, or the folder of a run to resume: --resume RUN_FOLDER",
            )
        return None
    assert resume is not None
    if out is not None and out != Path(resume):
        raise UsageError(
            f"--resume {resume} continues in that folder, but --out names another",
            hint="leave --out out",
        )
    if recipe is not None:
        if "=" not in recipe:
            auto = ("--resume", "auto")
            raise UsageError(
                f"--resume {resume} takes the recipe of that run, but '{recipe}' was given too",
                hint=f"leave it out, or: {command_line('train', recipe, '--out', resume, *auto)}",
            )
        overrides.insert(0, recipe)
    return Path(resume)


def _add_seed(seed: int | None, overrides: list[str]) -> None:
    """`--seed N` as the override that it is short for."""
    if seed is None:
        return
    if any(item.startswith("train.seed=") for item in overrides):
        raise UsageError("--seed and train.seed were both given", hint="give one")
    overrides.append(f"train.seed={seed}")


@contextmanager
def _watched(progress: "TrainProgress", output: Output, tensorboard: bool) -> "Iterator[Observer]":
    """Everything that watches the run: the person's display, the stream of epochs, TensorBoard."""
    from clifctl.experiments.run.plan import METRICS
    from clifctl.report.observers import EpochStream, each
    from clifctl.report.tensorboard import TensorBoard

    def write(line: str) -> None:
        with progress.paused():
            output.stream(line)

    watching: list[Observer] = [progress]
    if output.how == "jsonl" and output.table is None and output.main:
        watching.append(EpochStream(METRICS, write))
    with ExitStack() as open_until_the_end:
        if tensorboard and output.main:
            watching.append(open_until_the_end.enter_context(TensorBoard(METRICS)))
        yield each(*watching)
