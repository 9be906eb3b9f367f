"""What is typed as one word and means several values: `lif,clif`, `1,2,3`, `6x16x64`, `1/4`."""

import math
import re
from typing import TYPE_CHECKING

from clifctl.errors import UsageError

if TYPE_CHECKING:
    from clifctl.experiments.grid.dispatch import Shard

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "'\""


def names(option: str, text: str) -> list[str]:
    """The entries of a list that `option` was given, each once. Raises UsageError for none."""
    entries = list(dict.fromkeys(filter(None, map(_unquoted, _split(option, text)))))
    if not entries:
        raise UsageError(f"{option} '{text}': the list is empty", hint="name one, or several: a,b")
    return entries


def whole_numbers(option: str, text: str) -> list[int]:
    """A list of whole numbers, each once. Raises UsageError."""
    return list(dict.fromkeys(_whole_number(option, text, entry) for entry in names(option, text)))


def numbers(option: str, text: str) -> list[float]:
    """A list of finite numbers, each once. Raises UsageError."""
    return list(dict.fromkeys(_number(option, text, entry) for entry in names(option, text)))


def shape(option: str, text: str) -> tuple[int, ...]:
    """Sizes with an x between them. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})*", text):
        raise UsageError(
            f"{option} '{text}': must be whole numbers with x between", hint="as in 6x16x64x32x32"
        )
    return tuple(map(int, text.split("x")))


def shard(option: str, text: str) -> "Shard":
    """The part `i/n` of a grid. Raises UsageError."""
    from clifctl.experiments.grid.dispatch import Shard

    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        raise UsageError(f"{option} {text}: must be i/n with i from 1 to n", hint=f"{option} 1/4")
    return Shard(int(index), int(of))


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
