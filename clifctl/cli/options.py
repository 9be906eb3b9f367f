"""What every command shares: how a result is written, and how a command is ended from outside."""

import copy
import functools
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from clifctl import trust
from clifctl.cli.completion import complete_override, complete_recipe
from clifctl.cli.flags import Command
from clifctl.cli.picture_options import Look, picture_look
from clifctl.cli.shape_options import Shape, require_shape_possible, table_shape
from clifctl.cli.table_options import (
    TABLE,
    only_table,
    require_agreement,
    require_table,
    shaped,
    table_parameters,
    what_is_left_out,
)
from clifctl.commands import visible_lines
from clifctl.errors import ClifctlError, Interrupted, OutputError, RunFailed, UsageError
from clifctl.files import require_file_possible, same_file, write_output
from clifctl.launch import launch
from clifctl.notices import heard_by
from clifctl.report.render import ENDINGS, FORMATS, render, too_wide_tables
from clifctl.report.shape import only_columns, unknown_columns

RESULT_PANEL = "Result"
STOPPED = "stopped before it was done"
NOT_DRAWN = "the result was written, but not its picture"

# An enumeration, since typer shows its members in the help and refuses everything else.
_Formats: Any = StrEnum("_Formats", list(FORMATS))  # type: ignore[misc]
FormatOption = Annotated[
    _Formats | None,
    typer.Option(
        "--format",
        help="Format of the result (default: table).",
        rich_help_panel=RESULT_PANEL,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=RESULT_PANEL)
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="Write the result to this file instead of stdout; its ending selects the format.",
        rich_help_panel=RESULT_PANEL,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an existing output file.",
        rich_help_panel=RESULT_PANEL,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", help="Print only errors to stderr.", rich_help_panel=RESULT_PANEL
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Print more to stderr.", rich_help_panel=RESULT_PANEL),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="FILE.py:NAME",
        help="Allow this file, which a recipe or checkpoint names, to run.",
        rich_help_panel="Trust",
    ),
]
ChangedFileOption = Annotated[
    bool,
    typer.Option(
        "--changed-file",
        help="Take a neuron's own file though it has changed since the run began.",
        rich_help_panel="Trust",
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=RESULT_PANEL),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Overrides of the recipe, such as train.epochs=5.",
        autocompletion=complete_override,
    ),
]


@dataclass(frozen=True)
class Shared:
    """Marks a parameter of a command that stands for several options, those of `make`: it is given
    what `make` makes of their values. A parameter of `make` may be marked in turn."""

    make: Callable[..., Any]


@dataclass(frozen=True)
class Output:
    """Where and how the result is written, and how much is printed to stderr."""

    how: str
    path: Path | None
    overwrite: bool
    quiet: bool
    verbose: bool
    main: bool = True  # of several processes of a run only the main one writes its result
    look: Look = field(default_factory=Look)
    table: str | None = None  # the only table of the result that is written
    shape: Shape = field(default_factory=Shape)
    _streamed: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)  # columns that such a result may have
    _told: list[str] = field(default_factory=list)  # and that this one lacks

    @property
    def on_terminal(self) -> bool:
        """Whether a person sees the result as it is written."""
        return self.path is None and sys.stdout.isatty()

    def may_write(self, path: Path, *, apart_from: tuple[Path, ...] = ()) -> None:
        """Raise OutputError if `path` must not be written: it is there and --overwrite is not
        given, it cannot be written, or it is one of `apart_from`."""
        require_file_possible(path, overwrite=self.overwrite)
        for other in apart_from:
            if same_file(path, other):
                raise OutputError(
                    f"'{path}' would overwrite what this command reads or writes itself",
                    hint="choose another name",
                )

    def keep_apart(self, *paths: Path) -> None:
        """Raise OutputError if the result's own file (-o) is one of `paths`."""
        if self.path is not None:
            self.may_write(self.path, apart_from=paths)

    def require_columns(self, expected: Callable[[], Any]) -> None:
        """Raise UsageError, before any work, for --columns that no result of this command has.
        `expected` makes the report of a result that has everything; one that then lacks a column
        is written without it."""
        if self.shape.columns:
            report = expected()
            if self.table is not None:
                report = report.only(self.table, self.how) or report
            only_columns(report, self.shape.columns, self.how)
            self._expected.extend(self.shape.columns)

    def emit(self, report: Any) -> None:
        """Write a report. A reader that has gone away (`| head`) ends it quietly. Raises UsageError
        where it lacks the table or the columns that were asked for."""
        if not self.main:
            return
        if self.table is not None:
            report = only_table(report, self.table, self.how)
        report = self._as_asked(report)
        if self.on_terminal and self.how == "table":
            render(report, self.how, sys.stdout)
            return
        buffer = io.StringIO()
        buffer.write("".join(self._streamed))
        render(report, self.how, buffer)
        if self.path is None:
            write_stdout(buffer.getvalue())
        else:
            text = buffer.getvalue().encode(errors="backslashreplace")
            write_output(self.path, lambda file: file.write(text))
        for line in too_wide_tables(report) if self.how == "latex" else ():
            self.notice(line)
        if left_out := what_is_left_out(report, self.how):
            self.notice(left_out)

    def _as_asked(self, report: Any) -> Any:
        """A report in the shape that was asked for; columns that it lacks, though such a result may
        have them, are left out and told once."""
        absent = unknown_columns(report, self.shape.columns, self.how) if self._expected else []
        there = tuple(one for one in self.shape.columns if one not in absent)
        if not absent or not there:
            return shaped(report, self.shape, self.how)
        if news := [one for one in absent if one not in self._told]:
            self.notice(f"this result has no column {', '.join(news)}")
            self._told.extend(news)
        return shaped(report, replace(self.shape, columns=there), self.how)

    @property
    def streams(self) -> bool:
        """Whether the format can be written in parts."""
        return self.how == "table" or FORMATS[self.how].of_one_table

    def emit_parts(self, parts: Iterable[Any]) -> None:
        """Write a result report by report, as they come, in a format that `streams`; a file is
        whole or not there. None is asked for any more once the reader has gone away."""
        if self.on_terminal and self.how == "table":
            for report in parts:
                render(self._as_asked(report), self.how, sys.stdout)
            return
        texts = self._texts(parts)
        if self.path is not None:
            lines = (text.encode(errors="backslashreplace") for text in texts)
            write_output(self.path, lambda file: file.writelines(lines))
            return
        for text in texts:
            if not write_stdout(text):
                return

    def _texts(self, parts: Iterable[Any]) -> Iterator[str]:
        for number, report in enumerate(parts):
            buffer = io.StringIO()
            render(self._as_asked(report), self.how, buffer)
            text = buffer.getvalue()
            yield text.partition("\n")[2] if number and self.how == "csv" else text

    def emit_and_draw(
        self, report: Any, picture: Path | None, draw: Callable[..., Any], *shown: Any
    ) -> None:
        """Write a report, then into `picture` the figure that `draw` makes of `shown`. A picture
        that fails loses nothing: RunFailed says that the result is written."""
        self.emit(report)
        if picture is None or not self.main:
            return
        from clifctl.report.pictures import DPI, layout_of, write_picture

        layout = layout_of(self.look.size, self.look.title)
        with losing_no_result():
            write_picture(picture, draw, *shown, layout=layout, dpi=self.look.dpi or DPI)

    def stream(self, line: str) -> None:
        """Write a line of the result before the rest of it is known: to stdout at once; into a
        file, which is whole or not there, with the rest."""
        if not self.main:
            return
        if self.path is None:
            write_stdout(line)
        else:
            self._streamed.append(line)

    def error(self, message: str, hint: str | None) -> None:
        """Print an error that does not end the command to stderr."""
        with suppress(OSError):
            sys.stderr.write(f"error: {visible_lines(message)}\n")
            if hint is not None:
                sys.stderr.write(f"hint: {visible_lines(hint)}\n")

    def notice(self, line: str) -> None:
        """Print a notice to stderr, unless --quiet was given."""
        if not self.quiet:
            with suppress(OSError):
                sys.stderr.write(f"note: {visible_lines(line)}\n")


@contextmanager
def losing_no_result() -> Iterator[None]:
    """Within it a picture is drawn of what is written already: RunFailed says so where it fails."""
    try:
        yield
    except ClifctlError as refused:
        raise RunFailed(f"{NOT_DRAWN}: {refused.message}", hint=refused.hint) from refused
    except Exception as failed:  # what matplotlib raises
        raise RunFailed(
            f"{NOT_DRAWN}: {type(failed).__name__}: {failed}",
            hint="this is a bug: --debug shows where it happened",
        ) from failed


def write_stdout(text: str) -> bool:
    """Write to stdout; if its reader has gone, drop the rest without a word. Whether there is one.
    Raises RunFailed where it cannot be written for another reason."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return False
    except OSError as refused:
        abandon_stdout()
        raise RunFailed(f"cannot write the result to stdout: {refused.strerror}") from None
    return True


def abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail either."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command(
    app: typer.Typer,
    name: str,
    *,
    example: str,
    output_help: str | None = None,
    overwrite_help: str | None = None,
    tables: tuple[str, ...] = (),
    text_endings: tuple[str, ...] = (),
    piped: str = "table",
) -> Callable[[Any], Any]:
    """Register a function as command `name`, with the options of every result given to it as
    `output`, those of pictures if it has --plot, and those that its `Shared` parameters stand for.

    `example` stands below the command's help. `output_help` is the help of -o for a command that
    writes something other than its result there, `overwrite_help` that of --overwrite for one that
    replaces more than a file. `tables` are the names of the tables of its
    result, where there are several: --table chooses one. `text_endings` are those of a file for a
    result that is a text, such as YAML. `piped` is the format of a result that goes to no terminal
    where none was chosen.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(_output).parameters
        shaping = inspect.signature(table_shape).parameters
        own = [p for p in _options_of(function) if p.name != "output"]
        drawing = inspect.signature(picture_look).parameters
        if not any(p.name == "plot" for p in own):
            drawing = MappingProxyType({})
        choosing = table_parameters(tables)

        @functools.wraps(function)
        def run(**values: Any) -> None:
            settings = {key: values.pop(key) for key in shared}
            look = picture_look(**{key: values.pop(key) for key in drawing})
            if look != Look() and values["plot"] is None:
                raise UsageError(
                    "--size, --dpi and --title are about a picture, and none is drawn",
                    hint="add --plot",
                )
            if output_help is not None and str(settings["output_file"]) == "-":
                raise UsageError(
                    "-o -: what is written is not text, which stdout is for", hint="-o FILE"
                )
            table = values.pop(TABLE, None)
            shape = table_shape(**{key: values.pop(key) for key in shaping})
            output = replace(_output(**settings), look=look, table=table, shape=shape)
            if settings["format"] is None and output.how == "table" and not output.on_terminal:
                output = replace(output, how=piped)
            require_shape_possible(shape, output.how)
            if output_help is None:
                require_agreement(output.path, settings["format"], output.how, text_endings)
            require_table(table, tables, output.how)
            try:
                with heard_by(output.notice):
                    _called(function, {**values, "output": output})
            except KeyboardInterrupt as stop:
                raise Interrupted(stop, STOPPED) from None

        helps = {"output_file": output_help, "overwrite": overwrite_help}
        after = (_with_help(p, helps.get(p.name)) for p in shared.values())
        options = [*own, *drawing.values(), *choosing, *shaping.values(), *after]
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in options}
        epilog = f"Example: {example}"
        app.command(name, cls=Command, epilog=epilog, no_args_is_help=False)(run)
        return function

    return register


def _options_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The options of a command: its own parameters, and those that `Shared` ones stand for."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        shared = _shared_by(parameter)
        found += [parameter] if shared is None else _options_of(shared.make)
    return found


def _called(function: Callable[..., Any], values: dict[str, Any]) -> Any:
    """`function`, given the values of its options by name."""
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        shared = _shared_by(parameter)
        arguments[name] = values[name] if shared is None else _called(shared.make, values)
    return function(**arguments)


def _shared_by(parameter: inspect.Parameter) -> Shared | None:
    marks = getattr(parameter.annotation, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, Shared)), None)


def _with_help(shared: inspect.Parameter, text: str | None) -> inspect.Parameter:
    """A shared option, with another help where `text` is one."""
    if text is None:
        return shared
    kind = shared.annotation.__origin__
    (mark,) = shared.annotation.__metadata__
    option = copy.copy(mark)
    option.help = text
    return shared.replace(annotation=Annotated[kind, option])


def _output(
    *,
    format: FormatOption = None,
    as_json: JsonOption = False,
    output_file: FileOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    trusted: TrustOption = None,
    debug: DebugOption = False,
) -> Output:
    trust_files(trusted or ())
    if as_json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format} contradict each other", hint="give one")
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", hint="give one")
    path = None if output_file is None or str(output_file) == "-" else output_file
    if as_json:
        how = "json"
    elif format is not None:
        how = format.value
    else:
        how = ENDINGS.get(path.suffix.lower(), "table") if path else "table"
    main = launch().main
    output = Output(how, path, overwrite, quiet or not main, verbose and main, main)
    if path is not None:
        output.may_write(path)
    return output


def trust_files(references: Iterable[str], option: str = "--trust") -> None:
    """Trust the files that a person named by an option. Raises UsageError for anything else."""
    for reference in references:
        if not trust.is_file_reference(reference):
            raise UsageError(
                f"{option} {reference}: must be FILE.py:NAME",
                hint="neurons of clifctl and of installed packages need none",
            )
        trust.allow(reference)


def ask_on_terminal(question: str) -> bool:
    """Put a question to the person at the prompt, if there is one; everything but yes is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty() and launch().count == 1):
        return False
    sys.stderr.write(f"{visible_lines(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# Of a file that is named after what it is made of.
_LONGEST_NAME = 80


def name_after(*sources: str | Path) -> str:
    """What a file is called that is made of checkpoints, runs or other things with names: after the
    run of a checkpoint, `digits_snn5-1-last`, since every run has a `last.pt`."""
    return "-".join(map(_name_after, sources))[:_LONGEST_NAME].rstrip("-.")


def _name_after(source: str | Path) -> str:
    path = Path(source)
    of_run = path.is_file() and (path.parent / "recipe.yaml").is_file()
    name = path.stem if path.is_file() else path.absolute().name
    whole = f"{path.absolute().parent.name}-{name}" if of_run else name
    return re.sub(r"[^\w.]+", "-", whole).strip("-") or "stdin"


def picture_path(plot: str | None, name: str, output: Output, *apart_from: Path) -> Path | None:
    """Where the picture goes, checked before anything is run. Raises OutputError."""
    if plot is None:
        return None
    from clifctl.report.pictures import require_picture_possible

    picture = Path(f"{name}.png" if plot == "auto" else plot)
    require_picture_possible(picture)
    output.may_write(picture, apart_from=apart_from)
    output.keep_apart(picture)
    return picture


_RECIPE: Any = typer.Argument(
    metavar="RECIPE",
    help="A recipe: a file, a name from `clifctl recipes ls`, or - for stdin.",
    autocompletion=complete_recipe,
)
RecipeArgument = Annotated[str, _RECIPE]
OptionalRecipeArgument = Annotated[str | None, _RECIPE]
