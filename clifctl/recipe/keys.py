"""The keys of a schema of recipes: what each may be, and what it is where it is left out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

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


def keys_in(schema: type[BaseModel]) -> Iterator[Key]:
    """The keys of a schema of recipes, those of its sections behind each; none where an own neuron
    takes values that no JSON can hold."""
    try:
        whole = schema.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return
    for name, shape in whole["properties"].items():
        yield from _keys_at(name, shape, name in whole.get("required", ()), whole.get("$defs", {}))


def _keys_at(
    path: str, shape: dict[str, Any], required: bool, sections: Mapping[str, Any]
) -> Iterator[Key]:
    """The key at `path`, of which the JSON schema says `shape`, and the keys below it."""
    parts = shape.get("anyOf", [shape])
    below = next((sections[_name(part)] for part in parts if "$ref" in part), None)
    if below is None or len(parts) > 1:
        yield Key(
            path=path,
            type=" or ".join(map(_type, parts)),
            range="; ".join(filter(None, map(_range, parts))),
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
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}))}s"
    return _WORDS.get(part.get("type", ""), "value")


def _is_choice(part: Mapping[str, Any]) -> bool:
    return "enum" in part or "const" in part


def _range(part: Mapping[str, Any]) -> str:
    """What a JSON schema allows of a type, in words."""
    if _is_choice(part):
        return ", ".join(map(typed, part.get("enum", [part.get("const")])))
    if part.get("type") == "array":
        counts = (part.get("minItems"), part.get("maxItems"))
        return ", ".join(filter(None, [_entries(*counts), _range(part.get("items", {}))]))
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
