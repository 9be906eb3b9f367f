"""The stored results: one file a group and machine in benchmarks/results/.

A file says where its numbers come from (machine, commit, numerics version, versions, commands) and
holds either `results`, what the commands printed, by label, or `transcribed`, figures by name that
an earlier page or report had and whose results were not kept.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "clifctl.benchmarks.results/1"
ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "benchmarks" / "results"
# Traces and spike trains of single neurons: nothing that a page quotes, and megabytes.
_LONGEST_LIST = 64


@dataclass(frozen=True)
class Stored:
    """One file. `document` is all of it."""

    path: Path
    document: dict[str, Any]

    @property
    def group(self) -> str:
        """Which group of commands it holds."""
        return str(self.document["group"])

    @property
    def transcribed(self) -> dict[str, str] | None:
        """Figures by name, where the results themselves were not kept."""
        return self.document.get("transcribed")


def read_all(folder: Path = FOLDER) -> list[Stored]:
    """Every stored result, the newest last; what was transcribed before all that was measured."""
    found = [
        Stored(path, json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json")
    ]
    for stored in found:
        if stored.document.get("schema") != SCHEMA:
            raise ValueError(f"{stored.path}: not a stored result ({SCHEMA})")
    return sorted(found, key=_order)


def _order(stored: Stored) -> tuple[bool, str, str]:
    return stored.transcribed is None, stored.document["date"], stored.path.name


def newest_by_group(found: Sequence[Stored]) -> dict[str, Stored]:
    """The file of each group that its figures are read from."""
    return {stored.group: stored for stored in found}


def write(document: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Store a measurement, in the place of older ones of the same group on the same machine."""
    machine = document["machine"]
    words = f"{machine['name']} {machine['cores']} cores {machine['vectors'] or ''}"
    name = f"{document['group']}-{'-'.join(_plain(words).split())}"
    path = folder / f"{document['date']}-{name}.json"
    for older in read_all(folder):
        same = older.group == document["group"] and older.document["machine"] == machine
        if same and older.transcribed is None:
            older.path.unlink()
    text = json.dumps(document, indent=1, ensure_ascii=False)
    # A list of numbers in one line.
    text = re.sub(r"\[\n([^\[\]{}\"]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _plain(words: str) -> str:
    for noise in ("(R)", "(TM)", "Processor", "CPU"):
        words = words.replace(noise, " ")
    return "".join(c if c.isalnum() else " " for c in words.lower())


def without_long_lists(value: Any) -> Any:
    """`value` with lists of numbers that nobody quotes emptied."""
    if isinstance(value, dict):
        return {key: without_long_lists(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = all(isinstance(item, int | float) for item in value)
        if numbers and len(value) > _LONGEST_LIST:
            return []
        return [without_long_lists(item) for item in value]
    return value
