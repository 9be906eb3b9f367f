"""What is typed as one word and means several values: `lif,clif`, `1,2,3`, `6x16x64`, `1/4`."""

import math
import os
import re
from typing import TYPE_CHECKING

from clifctl.devices import GPU
from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.experiments.grid.dispatch import Shard

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "'\""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(\d{{1,9}}))?(:log)?", re.ASCII)
MOST_VALUES = 100_000


def names(option: str, text: str) -> list[str]:
    """The entries of a list that `option` was given, each once. Raises UsageError for none."""
    entries = list(dict.fromkeys(filter(None, map(_unquoted, _split(option, text)))))
    if not entries:
        raise UsageError(f"{option} '{text}': the list is empty", hint="name one, or several: a,b")
    return entries


def whole_numbers(option: str, text: str) -> list[int]:
    """A list of whole numbers, each once. Raises UsageError."""
    return list(dict.fromkeys(_whole_number(option, text, entry) for entry in names(option, text)))


def devices(option: str, text: str) -> tuple[int, ...]:
    """The numbers of GPUs, each once. Raises UsageError."""
    entries = [entry.removeprefix(f"{GPU}:") for entry in names(option, text)]
    return tuple(dict.fromkeys(_whole_number(option, text, entry) for entry in entries))


def numbers(option: str, text: str) -> list[float]:
    """A list of finite numbers, each once. Raises UsageError."""
    return list(dict.fromkeys(_number(option, text, entry) for entry in names(option, text)))


def raw(option: str, text: str) -> list[str]:
    """The entries of a list as they are typed, quotes and all. Raises UsageError for none."""
    entries = list(filter(None, map(str.strip, _split(option, text))))
    if not entries:
        raise UsageError(f"{option} '{text}': the list is empty", hint="name one, or several: a,b")
    return entries


def swept(key: str, text: str) -> list[str]:
    """The values that `key` is to take, each as it is typed: ranges are written out, from A..B
    (whole numbers), A..B:N and A..B:N:log. Raises UsageError for a list or a range without any."""
    if not text.strip(" ,"):
        raise UsageError(f"{key}={text}: there is no value", hint=f"as in {key}=A or {key}=A,B")
    return [one for entry in raw(f"{key}:", text) for one in _range(key, entry) or [entry]]


def _range(key: str, entry: str) -> list[str] | None:
    """The values of a range; None for an entry that is none."""
    match = _RANGE.fullmatch(entry)
    if match is None:
        return None
    first, last, count, scale = match.groups()
    low, high = float(first), float(last)
    whole = _is_whole(first) and _is_whole(last)

    def refused(problem: str, hint: str) -> UsageError:
        return UsageError(f"{key}={entry}: {problem}", hint=hint)

    if low > high:
        raise refused(f"the range is empty, {first} is more than {last}", f"{last}..{first}")
    if count is None:
        if not whole or scale:
            raise refused("how many values?", f"as in {key}={first}..{last}:5{scale or ''}")
        number = int(last) - int(first) + 1
    else:
        number = int(count)
    if number > MOST_VALUES:
        raise refused(f"these are {number:,} values", f"a range has {MOST_VALUES:,} at most")
    if count is None:
        return [str(int(first) + at) for at in range(number)]
    if number < 2 or low == high:
        raise refused("a range has two values or more", f"as in {key}=1e-3..1e-1:5:log")
    if scale and low <= 0:
        raise refused("a logarithmic range begins above zero", "leave :log out, or begin later")
    values = [low * (high / low) ** (at / (number - 1)) for at in range(number)] if scale else []
    values = values or [low + (high - low) * at / (number - 1) for at in range(number)]
    # Twelve digits: 0.01 and not 0.010000000000000002, on every machine.
    values = [low, *(float(f"{value:.12g}") for value in values[1:-1]), high]
    if whole and all(value.is_integer() for value in values):
        return [str(int(value)) for value in values]
    return [repr(value) for value in values]


def _is_whole(number: str) -> bool:
    return number.lstrip("+-").isdecimal()


def shape(option: str, text: str) -> tuple[int, ...]:
    """Sizes with an x between them. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})*", text):
        raise UsageError(
            f"{option} '{text}': must be whole numbers with x between", hint="as in 6x16x64x32x32"
        )
    return tuple(map(int, text.split("x")))


def shard(option: str, text: str) -> "Shard":
    """The part `i/n` of a grid; `slurm`: that of this job of a Slurm array. Raises UsageError."""
    from clifctl.experiments.grid.dispatch import Shard

    given = text
    if text == "slurm":
        text = _array_shard(option)
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        raise UsageError(
            f"{option} {given}: must be i/n with i from 1 to n, or slurm", hint=f"{option} 1/4"
        )
    return Shard(int(index), int(of))


def _array_shard(option: str) -> str:
    """`i/n` by the variables that Slurm sets in a job of an array."""
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "COUNT", "STEP")]
    values = [os.environ.get(name, "1" if name.endswith("STEP") else "") for name in names]
    if not all(value.isdecimal() for value in values):
        raise UsageError(
            f"{option} slurm: this is no job of a Slurm array ({names[0]} is not set)",
            hint="sbatch --array=1-4 starts one of four",
        )
    task, first, count, step = map(int, values)
    return f"{(task - first) // (step or 1) + 1}/{count}"


def _split(option: str, text: str) -> list[str]:
    """The entries of `text`: split at commas that lie outside of brackets and quotes. A quote
    opens where an entry begins, or within brackets: elsewhere it is an apostrophe of a name."""
    entries = [""]
    closing: list[str] = []  # what closes the brackets and quotes that are open
    for character in text:
        quoted = bool(closing) and closing[-1] in _QUOTES
        if closing and character == closing[-1]:
            closing.pop()
        elif not quoted and character in _CLOSING:
            closing.append(_CLOSING[character])
        elif not quoted and character in _QUOTES and (closing or not entries[-1].strip()):
            closing.append(character)
        elif character == "," and not closing:
            entries.append("")
            continue
        entries[-1] += character
    if closing:
        raise UsageError(
            f"{option} {text}: {closing[-1]} is missing",
            hint="a name with such a character is put in quotes",
        )
    return entries


def _unquoted(entry: str) -> str:
    entry = entry.strip()
    if entry[:1] in tuple(_QUOTES) and entry.find(entry[0], 1) == len(entry) - 1:
        return entry[1:-1]
    return entry


def _whole_number(option: str, text: str, entry: str) -> int:
    try:
        return int(entry)
    except ValueError:
        raise _no_number(option, text, entry, "a whole number") from None


def _number(option: str, text: str, entry: str) -> float:
    try:
        value = float(entry)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _no_number(option, text, entry, "a number")
    return value


def _no_number(option: str, text: str, entry: str, what: str) -> UsageError:
    return UsageError(
        f"{option} {text}: '{entry}' is not {what}", hint=f"numbers with commas: {option} 1,2,3"
    )
