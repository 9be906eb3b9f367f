"""`clifctl report`."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.checkpoint_options import CheckpointChoice
from clifctl.cli.options import Output, command, name_after
from clifctl.commands import command_line
from clifctl.errors import ArgumentError, OutputError

SourcesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN|RESULTS|CHECKPOINT...",
        help="Run folders, results folders, JSON results of any command, checkpoints.",
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Run each net on so many test samples; 0: on none (default: as many as take a few "
        "seconds).",
    ),
]

_ENDINGS = (".html", ".htm")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @command(
        app,
        "report",
        example="clifctl report runs/digits_snn5-1 energy.json -o report.html",
        output_help="The page (default: report-NAME.html, here).",
    )
    def report(
        sources: SourcesArgument,
        *,
        samples: SamplesOption = None,
        choice: CheckpointChoice,
        output: Output,
    ) -> None:
        """Write one page of what there is of runs, results and checkpoints.

        The page is a single HTML file with its pictures in it: it needs neither network nor script,
        and can be read on a phone and printed. It shows recipe, machine, curves, accuracy after
        each time step, classes, firing rates, spikes, energy, comparisons, windows, gradients and
        deployment, each with the command that made it, and says what is not there.
        Nothing is trained: nets are run on some test data for a few seconds.
        """
        started = time.perf_counter()
        if samples is not None and samples < 0:
            raise ArgumentError("samples", samples, "must be 0 or more")
        path = output.path or Path(f"report-{name_after(*sources)}.html")
        if path.suffix.lower() not in _ENDINGS:
            raise OutputError(f"'{path}': a page is HTML", hint="give a file that ends in .html")
        output.may_write(path, apart_from=tuple(sources))
        from clifctl.experiments.report import ReportOptions, gather
        from clifctl.files import write_output
        from clifctl.report.page.page import page_of
        from clifctl.report.report import page_report
        from clifctl.results.report import PageResult

        options = ReportOptions(
            checkpoint=lambda: choice.options_of_source((), output),
            samples=samples,
            opened_with=choice.words,
            say=output.notice,
        )
        page, sections = page_of(gather(sources, options), command_line(*sys.argv[1:]))
        content = page.encode(errors="backslashreplace")
        write_output(path, lambda file: file.write(content))
        result = PageResult(
            output=str(path),
            bytes=len(content),
            sections=sections,
            seconds=time.perf_counter() - started,
        )
        # -o is the page, and says nothing of the format of the result.
        how = "table" if output.how == "html" else output.how
        replace(output, path=None, how=how).emit(page_report(result))
