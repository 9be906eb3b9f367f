"""What the person at the prompt is told of an error: experiments know arguments, a person typed
options."""

import re
import shlex
from typing import Any

from clifctl.errors import ArgumentError, ClifctlError, Interrupted, UntrustedFile

# argument -> the option that gives it, where that is not its name
OPTIONS = {
    "batch_size": "--batch",
    "fold": "--fold-norm",
    "frames_percent": "--event-frames",
    "taus": "--tau",
    "window_mode": "--window",
    "use_batch_statistics": "--batch-statistics",
    "windows": "--k",
}

# What typer passes on of its validator's wording -> what is said.
_USAGE = (
    (r"Value error, ", ""),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be (greater|less) than or equal to", r"must be at \1"),
    (r"Input should be", "must be"),
    (r"at greater", "at least"),
    (r"at less", "at most"),
)


def usage_in_words(text: str) -> str:
    """A complaint of typer about an argument, in this project's words."""
    for wording, words in _USAGE:
        text = re.sub(wording, words, text)
    return text


def message_of(error: ClifctlError) -> str:
    """What went wrong, with the option in the place of the argument that it gave."""
    error = _origin(error)
    if not isinstance(error, ArgumentError):
        return error.message
    option = OPTIONS.get(error.argument, f"--{error.argument.replace('_', '-')}")
    given = option if error.value is None else f"{option} {error.value}"
    return f"{given}: {error.problem}"


def hint_of(error: ClifctlError) -> str | None:
    """What to do about it."""
    error = _origin(error)
    if error.hint is not None or isinstance(error, Interrupted):
        return error.hint
    if isinstance(error, UntrustedFile):
        return f"if you trust that file, add --trust {shlex.quote(error.reference)}"
    return "--help shows what is allowed, with an example"


def key_of_option(error: Any, arguments: list[str]) -> tuple[str, str] | None:
    """The message and the hint for an option that a command does not have, but that is a key of
    recipes, which the command takes as KEY=VALUE. None for any other complaint."""
    option = getattr(error, "option_name", None)
    command: Any = getattr(getattr(error, "ctx", None), "command", None)
    takes_keys = any("KEY=VALUE" in (p.metavar or "") for p in getattr(command, "params", ()))
    if option is None or not takes_keys:
        return None
    from clifctl.recipe.problems import key_named
    from clifctl.recipe.variants import every_key

    key = key_named(option.lstrip("-").replace("-", "_"), every_key())
    if key is None:
        return None
    value = _value_of(option, arguments)
    given = f"{key}={value}"
    return f"no such option: {option}", f"a key of the recipe has no dashes: {shlex.quote(given)}"


def _value_of(option: str, arguments: list[str]) -> str:
    """What was typed behind `option`, or VALUE."""
    for number, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option:
            return "".join(arguments[number + 1 : number + 2]) or "VALUE"
    return "VALUE"


def _origin(error: ClifctlError) -> ClifctlError:
    """The error that several processes agreed on, which one of them passes on as its cause."""
    cause = error.__cause__
    if isinstance(cause, ClifctlError) and cause.message == error.message:
        return cause
    return error
