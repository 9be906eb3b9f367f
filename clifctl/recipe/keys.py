"""Every key that a recipe may hold, from the schema: what it may be, and what it is without."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clifctl.errors import UsageError, nearest, unknown_name
from clifctl.recipe.schema import TABLES, row_of, schema_for

_WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


# The type of a key whose values are a list of names or numbers.
CHOICE = "choice"
# What stands for a default where a recipe has to say.
NO_DEFAULT = "required"


@dataclass(frozen=True)
class Key:
    """A key of a recipe: its `type`; its `range`, what is allowed of that, in words; its `default`
    as one types it. `variants`: the data sets, nets or neurons that have it; () where it depends on
    none."""

    path: str
    type: str
    range: str
    default: str
    description: str
    variants: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        """The section that the key is in; itself, where it is in none."""
        return self.path.partition(".")[0]


def every_key(*neurons: str) -> tuple[Key, ...]:
    """The keys of every section; those of `data`, `model` and `neuron` for each row of their table,
    and for `neurons` of a person's own. What several rows have in the same way is one key."""
    found: dict[Key, list[str]] = {}
    for key in _keys_in({}):
        found[key] = []
    for section, table in TABLES.items():
        for name in [*table, *(neurons if section == "neuron" else ())]:
            for key in _keys_in({section: {"name": name}}, section):
                found.setdefault(key, []).append(name)
    return tuple(replace(key, variants=tuple(names)) for key, names in found.items())


def chosen_keys(keys: Iterable[Key], start: str, variant: str | None) -> tuple[Key, ...]:
    """Those of `keys` that begin with `start`, and that a section has which names the data set, net
    or neuron `variant`. Raises UsageError where there are none."""
    found = tuple(keys)
    if variant is not None:
        section = _section_of(variant)
        found = tuple(key for key in found if variant in key.variants and key.section == section)
    known = found
    found = tuple(key for key in found if key.path.startswith(start))
    if not found and variant is None and _sections_of(start):
        raise UsageError(
            f"no key begins with '{start}'", hint=f"its keys: clifctl recipes keys --of {start}"
        )
    if not found:
        of = "" if variant is None else f" of '{variant}'"
        near = nearest(start, [key.path for key in known])
        guess = f" (did you mean '{near}'?)" if near else ""
        raise UsageError(
            f"no key{of} begins with '{start}'{guess}",
            hint="clifctl recipes keys lists every key",
        )
    return found


def _section_of(variant: str) -> str:
    sections = _sections_of(variant)
    if not sections:
        known = [name for table in TABLES.values() for name in table]
        raise UsageError(
            unknown_name("data set, model or neuron", variant, known),
            hint="a neuron of your own is FILE.py:NAME",
        )
    return sections[0]


def _sections_of(variant: str) -> list[str]:
    return [section for section in TABLES if row_of(section, variant) is not None]


def _keys_in(document: dict[str, Any], only: str | None = None) -> Iterator[Key]:
    """The keys of section `only` of the schema of recipes that name the rows of `document`; None:
    of all sections without rows."""
    whole = schema_for(document, []).model_json_schema()
    for name, shape in whole["properties"].items():
        if name == only or (only is None and name not in TABLES):
            yield from _keys_at(name, shape, name in whole["required"], whole["$defs"])


def _keys_at(
    path: str, shape: dict[str, Any], required: bool, sections: Mapping[str, Any]
) -> Iterator[Key]:
    """The key at `path`, of which the JSON schema says `shape`, and the keys below it."""
    parts = shape.get("anyOf", [shape])
    rows = _rows(path)
    below = next((sections[_name(part)] for part in parts if "$ref" in part), None)
    if below is None or len(parts) > 1:
        yield Key(
            path=path,
            type=CHOICE if rows else " or ".join(map(_type, parts)),
            range=rows or "; ".join(filter(None, map(_range, parts))),
            default=NO_DEFAULT if required else typed(shape.get("default")),
            description=shape.get("description", ""),  # of an own neuron
        )
    if below is not None:
        inner = below["properties"]
        for name in sorted(inner, key=lambda name: name != "name"):  # the name first
            needed = name in below.get("required", ())
            yield from _keys_at(f"{path}.{name}", inner[name], needed, sections)


def _name(part: Mapping[str, str]) -> str:
    return part["$ref"].rpartition("/")[2]


def _type(part: Mapping[str, Any]) -> str:
    if "$ref" in part:
        return "mapping"
    if _is_choice(part):
        return CHOICE
    if part["type"] == "array":
        return f"list of {_WORDS[part['items']['type']]}s"
    return _WORDS[part["type"]]


def _is_choice(part: Mapping[str, Any]) -> bool:
    return "enum" in part or "const" in part


def _rows(path: str) -> str:
    """The names that the `name` of a section may be."""
    section, _, key = path.partition(".")
    return ", ".join(TABLES[section]) if key == "name" and section in TABLES else ""


def _range(part: Mapping[str, Any]) -> str:
    """What a JSON schema allows of a type, in words."""
    if _is_choice(part):
        return ", ".join(map(typed, part.get("enum", [part.get("const")])))
    if part.get("type") == "array":
        counts = (part.get("minItems"), part.get("maxItems"))
        return ", ".join(filter(None, [_entries(*counts), _range(part["items"])]))
    least, above = part.get("minimum"), part.get("exclusiveMinimum")
    most, below = part.get("maximum"), part.get("exclusiveMaximum")
    if part.get("type") == "integer":  # a whole number has closed bounds, the narrower of two
        least = max(
            [bound for bound in (least, _next(above, 1)) if bound is not None], default=None
        )
        most = min([bound for bound in (most, _next(below, -1)) if bound is not None], default=None)
        above = below = None
    if least is not None and most is not None:
        return f"{_plain(least)} to {_plain(most)}"
    bounds = (("at least", least), ("more than", above), ("at most", most), ("less than", below))
    return ", ".join(f"{words} {_plain(bound)}" for words, bound in bounds if bound is not None)


def _next(bound: int | None, by: int) -> int | None:
    return None if bound is None else bound + by


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _entries(least: int | None, most: int | None) -> str:
    if least == most:
        return "" if least is None else f"{least} entries"
    return f"at least {least} of them" if most is None else f"{least} to {most} entries"


def typed(value: Any) -> str:
    """A value as it is typed behind `key=`."""
    return value if isinstance(value, str) and value else json.dumps(value, separators=(",", ":"))
