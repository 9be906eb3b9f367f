"""`clifctl predict`."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli.checkpoint_options import CheckpointArgument, CheckpointChoice
from clifctl.cli.options import Output, command
from clifctl.errors import DataError
from clifctl.results.predict import RefusedFile

if TYPE_CHECKING:
    from clifctl.experiments.predict import Predictor
    from clifctl.results.predict import Prediction

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Images, arrays or recordings as those that the net was trained with, folders of "
        "them, or - for names on stdin, one a line. KEY=VALUE changes the recipe, as in eval.",
    ),
]
TopOption = Annotated[
    int | None, typer.Option(min=1, metavar="K", help="Add the K most probable classes.")
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Samples at once (default: eval.batch_size of the recipe); 1 answers at once.",
    ),
]
# As an override is written: what lies in a folder has a slash before its sign.
_OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=.*", re.DOTALL)
_LONGEST_NAME = 2**16  # bytes, of a line on stdin


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    example = "clifctl predict runs/digits_snn5-1/best.pt scans/ --top 3"

    @command(app, "predict", example=example, piped="jsonl")
    def predict(
        checkpoint: CheckpointArgument,
        files: FilesArgument,
        *,
        top: TopOption = None,
        batch_size: BatchSizeOption = None,
        choice: CheckpointChoice,
        output: Output,
    ) -> None:
        """Ask a checkpoint about files that have no labels.

        Gives the class of each sample, its probability, and after which time step it was decided:
        lines of JSON in a pipe, a table in a terminal. Files are prepared as the test data of the
        recipe are. One that cannot be used is told on stderr, the others go on, and the exit code
        is 2.
        """
        output.keep_apart(checkpoint)
        from clifctl.experiments.predict import Predictor, PredictRequest
        from clifctl.report.predict import predict_report
        from clifctl.results.filled import filled
        from clifctl.results.predict import PredictResult

        output.require_columns(lambda: predict_report(filled(PredictResult)))
        names, overrides = _sorted_out(files)
        options, timesteps = choice.options_and_timesteps(overrides, output)
        request = PredictRequest(timesteps=timesteps, batch_size=batch_size, top=top)
        predictor = Predictor.open(checkpoint, options, request)
        refused = _Refused(output, keep=not output.streams)
        _write(predictor, _named(names), refused, output)
        if predictor.passed_over:
            output.notice(f"files of other kinds, passed over: {predictor.passed_over:,}")
        if refused.count:
            raise DataError(
                f"{refused.count:,} of {predictor.files:,} files could not be used",
                hint="they are named above; what is written is of the others",
            )


def _write(
    predictor: "Predictor", names: Iterator[str], refused: "_Refused", output: Output
) -> None:
    from clifctl.report.predict import predict_part, predict_report

    batches = predictor.predictions(names, refused)
    title = f"{predictor.path}: predictions"
    if output.streams:
        output.emit_parts(
            predict_part(batch, "" if number else title) for number, batch in enumerate(batches)
        )
        return
    every: list[Prediction] = [one for batch in batches for one in batch]
    output.emit(predict_report(predictor.result(every, refused.files)))


class _Refused:
    """Tells what cannot be used, and counts it; a hint is given once. With `keep` all of it is
    kept, for a document."""

    def __init__(self, output: Output, *, keep: bool) -> None:
        self.count = 0
        self.files: list[RefusedFile] = []
        self._output = output
        self._keep = keep
        self._hints: set[str] = set()

    def __call__(self, path: Path, bad: DataError) -> None:
        self.count += 1
        hint = None if bad.hint in self._hints else bad.hint
        self._output.error(bad.message, hint)
        if bad.hint is not None:
            self._hints.add(bad.hint)
        if self._keep:
            self.files.append(RefusedFile(file=str(path), problem=bad.message))


def _sorted_out(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and overrides: a word that is written like an override is one, unless there is such a
    file."""
    names: list[str] = []
    overrides: list[str] = []
    for word in words:
        is_override = _OVERRIDE.fullmatch(word) and not os.path.lexists(word)
        (overrides if is_override else names).append(word)
    if not names:
        raise DataError("no file was named", hint="name files or folders, or - for names on stdin")
    return names, overrides


def _named(words: Sequence[str]) -> Iterator[str]:
    """The names of files and folders, those on stdin in the place of `-`. Raises DataError where
    there are none."""
    for word in words:
        if word != "-":
            yield word
            continue
        count = 0
        while line := sys.stdin.buffer.readline(_LONGEST_NAME):
            if len(line) == _LONGEST_NAME:
                raise DataError(
                    f"stdin: a line of {_LONGEST_NAME:,} bytes or more is no name of a file",
                    hint="one name a line",
                )
            name = os.fsdecode(line.removesuffix(b"\n").removesuffix(b"\r"))
            if name:
                count += 1
                yield name
        if not count:
            raise DataError("stdin names no file", hint="one name a line: ls *.png | ... -")
