"""The error family: what a person at the prompt is told, and the exit code that goes with it.

Everything that a user can cause is a `ClifctlError`. It is caught once, in `clifctl.cli.app`, and
printed as two lines on stderr: `error: what, where` and `hint: what to do`.
"""

import difflib
import signal
from collections.abc import Iterable
from typing import Any

# By which a scheduler announces the end of a job (sbatch --signal): they mean what SIGTERM means.
ANNOUNCING = (signal.SIGUSR1, signal.SIGUSR2)


class ClifctlError(Exception):
    """A problem that the user can mend. `message` says what and where, `hint` what to do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:  # for a traceback: in a person's own code nothing else shows it
            self.add_note(f"hint: {hint}")


class UsageError(ClifctlError):
    """An argument or option that cannot be used as given."""


class ArgumentError(UsageError):
    """A value that cannot be used for an argument; `value` is None where the argument itself is
    the problem. The command line says the same of the option that gave it."""

    def __init__(
        self, argument: str, value: object, problem: str, *, hint: str | None = None
    ) -> None:
        given = argument if value is None else f"{argument} = {value}"
        super().__init__(f"{given}: {problem}", hint=hint)
        self.argument, self.value, self.problem = argument, value, problem


class RecipeError(ClifctlError):
    """A recipe that cannot be read, or that does not hold against the schema."""


class UntrustedFile(RecipeError):
    """A file of a person's own that a recipe names, `reference`, and that is not run unasked.
    `document` is the recipe, resolved as far as that goes without it."""

    def __init__(self, where: str, kind: str, reference: str, document: dict[str, Any]) -> None:
        super().__init__(
            f"{where}: it uses the {kind} '{reference}' of a file, which is not run unasked"
        )
        self.reference = reference
        self.document = document


class DataError(ClifctlError):
    """Data that is missing, or not of the shape that the recipe needs."""


class CheckpointError(ClifctlError):
    """A file that is not a checkpoint, or not one for the net that is asked for."""


class RunFolderError(ClifctlError):
    """A run folder that is none, or whose files cannot be read."""


class NeuronError(ClifctlError):
    """A neuron whose `step`, states or parameters break the contract, or that got bad tensors."""


class ModelError(ClifctlError):
    """A net of a person's own that breaks the contract: it fails, keeps a state, or returns what
    are no logits."""


class EnergyError(ClifctlError):
    """What cannot be charged: an operation without a rule, firing rates or constants that are not
    usable."""


class ConversionError(ClifctlError):
    """A net that cannot be converted: a neuron or an operation that the target does not have."""


class TargetError(ClifctlError):
    """A kernel target that was asked for and cannot serve."""


class OutputError(ClifctlError):
    """A file or folder that cannot be written, or that must not be overwritten."""


class DiskFailed(OutputError):
    """A disk that is full or broken: nothing was wrong with what was asked for."""

    exit_code = 1


class RunFailed(ClifctlError):
    """The run itself failed: the input was good, the computation was not."""

    exit_code = 1


class WorkerFailed(RunFailed):
    """A process that worked for this one is gone, or could not be started."""


class OfOneProcess(ClifctlError):
    """What went wrong in one of several processes, which has to tell it itself."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class ReportedElsewhere(ClifctlError):
    """This process ends because all of its run do, and another one says why: exit code only."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this run says why it ended")
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM or a signal of ANNOUNCING, raised where Ctrl-C would raise KeyboardInterrupt."""

    exit_code = 143


class HungUp(KeyboardInterrupt):
    """SIGHUP, whose terminal is gone, raised where Ctrl-C would raise KeyboardInterrupt."""

    exit_code = 129


def stop_by(number: int) -> KeyboardInterrupt:
    """What the signal `number` raises."""
    return stop_with(128 + (signal.SIGTERM if number in ANNOUNCING else number))


def stop_with(exit_code: int) -> KeyboardInterrupt:
    """What ends a process that a signal stops: its exit code is 128 and the signal's number."""
    kinds = {kind.exit_code: kind for kind in (Terminated, HungUp)}
    return kinds.get(exit_code, KeyboardInterrupt)()


class Interrupted(ClifctlError):
    """The run was ended from outside; `message` says what was kept. Exit 130 (143 for SIGTERM, 129
    for SIGHUP).

    `at_once`: where the signal hit, and not at the step where all processes of the run stop.
    """

    def __init__(
        self,
        stop: KeyboardInterrupt,
        message: str,
        *,
        hint: str | None = None,
        at_once: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = getattr(stop, "exit_code", 130)
        self.at_once = at_once


def nearest(name: str, names: Iterable[str], *, alike: float = 0.5) -> str | None:
    """The entry of `names` that `name` was probably meant to be, None where none is so much `alike`
    (1: the same but for the case of letters)."""
    by_lower = {entry.lower(): entry for entry in names}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=alike)
    return by_lower[matches[0]] if matches else None


def as_listed(name: str, names: Iterable[str]) -> str:
    """`name` as `names` spell it, whatever the case of its letters: `LIF` is `lif`. As it is where
    none of them is meant."""
    known = list(names)
    alike = [entry for entry in known if entry.lower() == name.lower()]
    return alike[0] if len(alike) == 1 and name not in known else name


def unknown_name(kind: str, name: object, names: Iterable[str]) -> str:
    """One sentence for a name that a table does not hold: the nearest entry, and all of them."""
    known = list(names)
    near = nearest(str(name).strip("'"), known)
    guess = f" (did you mean '{near}'?)" if near else ""
    quoted = str(name) if str(name).startswith("'") else f"'{name}'"
    return f"unknown {kind} {quoted}{guess}; known: {', '.join(known)}"
