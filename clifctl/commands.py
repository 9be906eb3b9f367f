"""Commands as they are printed for a person: what is shown can be pasted into a shell."""

import json
import re
import shlex
from typing import Any

# Text that an override takes as it is; other text is quoted, so that it stays text.
_PLAIN = re.compile(r"(?!(?:null|true|false)$)(?:[A-Za-z/]|~/|\.{1,2}/).*", re.IGNORECASE)


def command_line(*words: object) -> str:
    """The command line `clifctl WORDS...`, quoted where a shell needs it."""
    return shlex.join(["clifctl", *map(str, words)])


def override(key: str, value: Any) -> str:
    """The override `key=value` whose value, plain JSON, is read back as it is."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value == value.strip():
        return f"{key}={value}"
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f"{key}={''.join(map(_visible, text))}"


def _visible(character: str) -> str:
    """A character as YAML's quotes hold it: one that cannot be seen is escaped."""
    number = ord(character)
    if character.isprintable():
        return character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
