"""What is printed for a person: commands that can be pasted into a shell, and text that hides
nothing, whatever the names and files of others hold."""

import json
import re
import shlex
import unicodedata
from typing import Any

# Text that an override takes as it is; other text is quoted, so that it stays text.
_PLAIN = re.compile(r"(?!(?:null|true|false)$)(?:[A-Za-z/]|~/|\.{1,2}/).*", re.IGNORECASE)


def command_line(*words: object) -> str:
    """The command line `clifctl WORDS...`, quoted where a shell needs it."""
    return shlex.join(["clifctl", *map(str, words)])


def override(key: str, value: Any) -> str:
    """The override `key=value` whose value, plain JSON, is read back as it is."""
    if (
        isinstance(value, str)
        and _PLAIN.fullmatch(value)
        and value.isprintable()
        and value == value.strip()
    ):
        return f"{key}={value}"
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f"{key}={''.join(map(_visible, text))}"


def _visible(character: str) -> str:
    """A character as YAML's quotes hold it: one that cannot be seen is escaped."""
    number = ord(character)
    if character.isprintable():
        return character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def visible(text: str, *, keep: str = "") -> str:
    """`text` with what cannot be seen, or would steer a terminal, escaped as Python does: control
    characters, line ends, marks that turn the direction of writing. Those in `keep` stay."""
    if text.isprintable():
        return text
    return "".join(
        one
        if one.isprintable() or one in keep or unicodedata.category(one) == "Zs"
        else _escaped(one)
        for one in text
    )


def visible_lines(text: str) -> str:
    """The same for text of several lines of which all but the first are indented, as clifctl writes
    them; a line end of anything else is escaped."""
    return "\n  ".join(map(visible, text.split("\n  ")))


# What a terminal without a character is shown for it.
_ASCII = str.maketrans(
    {"\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-", "\N{PLUS-MINUS SIGN}": "+-"}
    | dict.fromkeys("\N{BOX DRAWINGS LIGHT VERTICAL}\N{BOX DRAWINGS HEAVY VERTICAL}", "|")
    | dict.fromkeys("\N{BOX DRAWINGS HEAVY HORIZONTAL}\N{BOX DRAWINGS DOUBLE HORIZONTAL}", "-")
    | dict.fromkeys("\u256d\u256e\u2570\u256f\u2578\u257a\u2579\u257b\u2501", "-")
    | {"\N{HORIZONTAL ELLIPSIS}": "...", "\N{BULLET}": "*", "\N{MICRO SIGN}": "u"}
)


def without_a_sign(refused: UnicodeError) -> tuple[str, int]:
    """How text is written to a stream that lacks some of its characters, for `codecs`: a rule or a
    sign as ASCII has it, anything else escaped."""
    if not isinstance(refused, UnicodeEncodeError):
        raise refused
    text = refused.object[refused.start : refused.end].translate(_ASCII)
    shown = text.encode("ascii", errors="backslashreplace").decode("ascii")
    return shown, refused.end


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
