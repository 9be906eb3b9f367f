"""Keys of recipes that have another name now: what was written with the old one is read, and found.

Recipes, checkpoints and results folders outlive the clifctl that wrote them. A person who writes an
old name is told the new one.
"""

from typing import Any

# (section, the row that it names) -> old key -> the key that it is now
RENAMED = {("data", "image_folder"): {"image_size": "size"}}

_SENTENCE = "{0}.{1} is called {0}.{2} now: the old name is taken"


def with_new_names(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the names that its keys have now. A key that is given by both names keeps
    both, for the schema to refuse the old one."""
    found = dict(document)
    for section, old, new in _renamed(document):
        given = found[section]
        if new not in given:
            found[section] = {new if key == old else key: given[key] for key in given}
    return found


def with_old_names(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the names that its keys had when they were first written."""
    found = dict(document)
    for (section, row), names in RENAMED.items():
        given = document.get(section)
        if isinstance(given, dict) and given.get("name") == row:
            olds = {new: old for old, new in names.items()}
            found[section] = {olds.get(key, key): value for key, value in given.items()}
    return found


def new_key(keys: list[str], document: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The path of an override as it is called now, for the rows that `document` names, and a
    sentence where it was another."""
    section, *own = keys
    if not isinstance(document.get(section), dict) or len(own) != 1:
        return keys, []
    row = document[section].get("name")
    names = RENAMED.get((section, row), {}) if isinstance(row, str) else {}
    if own[0] not in names:
        return keys, []
    return [section, names[own[0]]], [_SENTENCE.format(section, own[0], names[own[0]])]


def told(document: dict[str, Any]) -> list[str]:
    """A sentence for each key of `document` that has another name now."""
    return [_SENTENCE.format(*renamed) for renamed in _renamed(document)]


def _renamed(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Section, old and new name of each key of `document` that is written by its old one."""
    found = []
    for (section, row), names in RENAMED.items():
        given = document.get(section)
        if isinstance(given, dict) and given.get("name") == row:
            found += [(section, old, new) for old, new in names.items() if old in given]
    return found
