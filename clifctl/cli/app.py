"""The command `clifctl`: commands are wired here, and errors end here."""

import codecs
import io
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

import clifctl
from clifctl import trust
from clifctl.cli import (
    bench,
    compare_neurons,
    convert,
    data,
    doctor,
    dynamics,
    energy,
    eval,
    gradients,
    models,
    neurons,
    paper,
    predict,
    recipes,
    report,
    runs,
    sweep,
    train,
    truncate_bptt,
)
from clifctl.cli.error_text import hint_of, key_of_option, message_of, usage_in_words
from clifctl.cli.flags import Group
from clifctl.cli.options import STOPPED, abandon_stdout, ask_on_terminal, write_stdout
from clifctl.cli.picture_options import OWN_TITLE, title_behind
from clifctl.commands import command_line, visible_lines, without_a_sign
from clifctl.errors import (
    ANNOUNCING,
    ClifctlError,
    DiskFailed,
    Interrupted,
    OfOneProcess,
    ReportedElsewhere,
    UsageError,
    stop_by,
)
from clifctl.files import DISK
from clifctl.launch import Launch, launch

# Commands that several processes, started by torchrun or srun, can share.
PARALLEL = ("train", "eval")
# How long the other processes of a machine wait for its first one to report an error.
REPORT_SECONDS = 3.0
# Where Python says that the code of its imports is.
_IMPORTING = "<frozen importlib._bootstrap>"

app = typer.Typer(
    name="clifctl",
    help="Train and evaluate spiking neuron models, from a laptop to a GPU.",
    epilog="Example: clifctl train digits_snn5 neuron.name=lif --json",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    cls=Group,
    pretty_exceptions_enable=False,
)
train.register(app)
eval.register(app)
predict.register(app)
energy.register(app)
convert.register(app)
gradients.register(app)
dynamics.register(app)
doctor.register(app)
compare_neurons.register(app)
truncate_bptt.register(app)
sweep.register(app)
report.register(app)
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(bench.app, name="bench")
app.add_typer(neurons.app, name="neurons")
app.add_typer(models.app, name="models")
app.add_typer(paper.app, name="paper")


def _print_version(asked: bool) -> None:
    if asked:
        write_stdout(f"clifctl {clifctl.__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            metavar="",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input, 130, 143, 129 interrupted."""
    _usable_streams()
    # A command in the background of a script ignores Ctrl-C, and is left so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
    sys.exit(run(sys.argv[1:]))


def _usable_streams() -> None:
    """Standard streams that were closed lead nowhere; characters that one cannot show are written
    in others instead of ending a run."""
    codecs.register_error("clifctl", without_a_sign)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open until the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="clifctl")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error is reported on stderr, with a hint."""
    for number in (signal.SIGTERM, *ANNOUNCING):
        signal.signal(number, _end)
    trust.start(ask_on_terminal)
    # nohup has it ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _end)
    debug = "--debug" in arguments
    if arguments[:1] == ["--debug"]:
        arguments = arguments[1:]
    try:
        _require_one_process_but_for(PARALLEL, arguments)
        code = typer.main.get_command(app).main(
            _with_values(arguments), prog_name="clifctl", standalone_mode=False
        )
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return 0
    except SystemExit as stop:
        # typer turns a reader that went away during --help into exit 1; shell completion exits too.
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        abandon_stdout()
        return 0
    except ClifctlError as error:
        return _report(error, message_of(error), hint_of(error), error.exit_code, debug)
    except KeyboardInterrupt as stop:  # outside of a command
        return _report(stop, STOPPED, None, Interrupted(stop, STOPPED).exit_code, debug)
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        message = f"cannot read or write{place}: {error.strerror or error}"
        if error.errno in DISK:
            return _report(error, message, "make room there", DiskFailed.exit_code, debug)
        return _report(error, message, "check the path and its permissions", 2, debug)
    except typer.Abort as error:
        return _report(error, "aborted", None, 1, debug)
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            usage: Any = error  # typer's own complaint about the arguments
            path = getattr(getattr(usage, "ctx", None), "command_path", "clifctl")
            message = _sentence(usage.format_message())
            if not message:  # a command group called alone has printed its help
                return usage.exit_code
            hint = f"{path} --help shows the arguments and an example"
            key = key_of_option(usage, arguments)
            if key is not None:
                message, hint = key
            if message.startswith("missing argument"):
                hint = _taken_by_plot(arguments) or hint
            return _report(error, message, hint, usage.exit_code, debug)
        message = f"internal: {type(error).__name__}: {error}"
        return _report(error, message, "this is a bug: --debug shows where it happened", 1, debug)
    return code if isinstance(code, int) else 0


def _require_one_process_but_for(commands: tuple[str, ...], arguments: list[str]) -> None:
    """Raise UsageError where torchrun or srun has started a command several times that does not
    share its work: each process would do, and write, the same."""
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    among = launch()
    if among.count > 1 and named not in commands:
        alone = "without torchrun" if among.started_by == "torchrun" else "by srun --ntasks=1"
        raise UsageError(
            f"'clifctl {named}' runs in one process, but {among.count} were started",
            hint=f"start it {alone}; {' and '.join(commands)} can use several",
        )


def _report(error: BaseException, message: str, hint: str | None, code: int, debug: bool) -> int:
    among = _launch_or_alone()
    if among.count > 1:
        # torchrun ends all processes as soon as one has failed: the message comes first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if debug:
        traceback.print_exception(error)
    if isinstance(error, ReportedElsewhere):
        return code
    if not isinstance(error, OfOneProcess) and among.local_rank > 0:
        # What went wrong before the processes have met goes wrong in all of a machine's.
        time.sleep(REPORT_SECONDS)
        return code
    with suppress(OSError):
        # What was stopped is no error: its message says that it was.
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        sys.stderr.write(f"{'' if stopped else 'error: '}{visible_lines(message)}\n")
        if hint:
            sys.stderr.write(f"hint: {visible_lines(hint)}\n")
    return code


def _launch_or_alone() -> Launch:
    try:
        return launch()
    except UsageError:  # the error that is reported
        return Launch()


def _sentence(text: str) -> str:
    text = usage_in_words(" ".join(text.split()).rstrip("."))
    return text[:1].lower() + text[1:]


def _end(number: int, frame: FrameType | None) -> None:
    """Raise what a signal stands for. Within an import the process ends here: modules of C swallow
    an exception and continue with half of what they need, or do not stop at all."""
    stop = stop_by(number)
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(_report(stop, STOPPED, None, Interrupted(stop, STOPPED).exit_code, False))
        frame = frame.f_back
    raise stop


def _with_values(arguments: list[str]) -> list[str]:
    """`--plot` without a file stands for `--plot auto`, `--title` without a text for the picture's
    own, which typer cannot say by itself."""
    completed: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return completed + arguments[index:]
        completed.append(argument)
        if argument == "--plot" and _file_behind(arguments, index) is None:
            completed.append("auto")
        if argument == "--title" and not title_behind(arguments, index):
            completed.append(OWN_TITLE)
    return completed


def _file_behind(arguments: list[str], index: int) -> str | None:
    """The word behind `arguments[index]` if it is a file that --plot takes."""
    following = "".join(arguments[index + 1 : index + 2])
    is_file = "." in following and "=" not in following and not following.startswith("-")
    return following if is_file else None


def _taken_by_plot(arguments: list[str]) -> str | None:
    """What to do where --plot took a word that is no picture, and the command lacks an argument."""
    if "--plot" not in arguments:
        return None
    from clifctl.report.pictures import SUFFIXES

    index = arguments.index("--plot")
    taken = _file_behind(arguments, index)
    if taken is None or Path(taken).suffix.lower() in SUFFIXES:
        return None
    others = [*arguments[:index], *arguments[index + 1 :]]
    return f"--plot took '{taken}' as its picture: {command_line(*others, '--plot')}"


if __name__ == "__main__":
    main()
