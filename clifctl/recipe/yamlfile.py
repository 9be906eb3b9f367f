"""YAML as recipes need it: the plain values of YAML 1.2 and nothing else.

Text, whole numbers in decimal, numbers (`1e-3` is one), true, false, null, lists and mappings with
text as keys. Refused: a key given twice, anchors and aliases, tags, dates.
"""

import functools
import json
import re
import shlex
from contextlib import suppress
from typing import Any

import yaml

from clifctl.errors import RecipeError

_START = "clifctl recipes cp digits_snn5 gives one to start from"


class _Loader(yaml.SafeLoader):
    """SafeLoader without the types, aliases and silent losses that recipes have no use for."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (the base class declares it so)
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "float", "str", "seq")
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1
            raise RecipeError(f"line {line}: anchors and aliases are not used")
        return super().compose_node(parent, index)

    @classmethod
    def resolve_plain(cls, text: str) -> str:
        """The type, null, bool, int, float or str, that text without quotes has."""
        for tag, pattern in cls.yaml_implicit_resolvers.get(text[:1], ()):
            if pattern.match(text):
                return str(tag).rpartition(":")[2]
        return "str"


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|false|False)$", list("tTfF")),
    ("int", r"^[-+]?\d+$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)|[-+]?\.(?:inf|Inf)|\.nan|\.NaN)$",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node), 10)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise RecipeError(f"line {line}: key {key!r} is not a name")
        if key in seen:
            raise RecipeError(f"line {line}: key '{key}' was already given in line {seen[key]}")
        seen[key] = line
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


class _QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same rules for the parser in C, ten times as fast, which knows aliases."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
    yaml_constructors = _Loader.yaml_constructors


def parse_document(text: str, where: str, what: str = "a recipe") -> dict[str, Any]:
    """The mapping that the text of a recipe holds, or of `what` it is. Raises RecipeError for
    anything else."""
    document = _quickly(text.split("\n"))
    if document is None:
        document = _parse(text, where)
    if document is None:
        raise RecipeError(f"{where}: the file is empty", hint=_START)
    if not isinstance(document, dict):
        raise RecipeError(
            f"{where}: {what} is a mapping of keys, this is a {type(document).__name__}",
            hint=_START,
        )
    return document


# A key and what follows it, as `dump_document` writes them.
_LINE = re.compile(r"([A-Za-z_]\w*):(?: .*)?")
_DEEPEST = 4


def _quickly(lines: list[str], depth: int = 1) -> dict[str, Any] | None:
    """The mapping in lines of the plainest kind, `key: value` and sections that are indented by two
    spaces; None for whatever else YAML knows, and for what is not YAML. A listing reads thousands
    of recipes, which have nearly all of their lines in common: each line is parsed once."""
    found: dict[str, Any] = {}
    lines = lines[:-1] if lines[-1:] == [""] else lines
    start = 0
    while start < len(lines):
        end = start + 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1
        pair = _pair(lines[start])
        if pair is None or pair[0] in found:
            return None
        key, value = pair
        if end > start + 1:
            below = lines[start + 1 : end]
            plain = lines[start] == f"{key}:" and all(line.startswith("  ") for line in below)
            if not plain or depth == _DEEPEST:
                return None
            value = _quickly([line[2:] for line in below], depth + 1)
            if value is None:
                return None
        found[key] = list(value) if isinstance(value, list) else value
        start = end
    return found or None


@functools.lru_cache(maxsize=2**16)
def _pair(line: str) -> tuple[str, Any] | None:
    """The key and the value of a line that is whole by itself, and plain."""
    match = _LINE.fullmatch(line)
    if match is None or not line.isprintable() or {"&", "*", "!"} & set(line):
        return None
    try:
        document = yaml.load(line, _QuickLoader)
    except Exception:  # the whole text is parsed then, for the words of the error
        return None
    (key, value) = next(iter(document.items()))
    flat = not isinstance(value, list) or not any(isinstance(one, list | dict) for one in value)
    return (key, value) if key == match[1] and flat and not isinstance(value, dict) else None


def parse_scalar(text: str, where: str) -> Any:
    """The value of an override: a number, true, null, a [list], a {mapping}, "text" in quotes, or
    any other text as it is, with what would end it in a file (` #`, `: `). Raises RecipeError."""
    bare = text.strip()
    if bare[:1] not in _OPENING:
        tag = _Loader.resolve_plain(bare)
        return text if tag == "str" else _parse(bare, where)
    as_text = f"as text it is {shlex.quote(json.dumps(bare))}"
    try:
        value = _parse(bare, where)
    except RecipeError as broken:
        raise RecipeError(broken.message, hint=as_text) from None
    node: Any = yaml.compose(bare, _QuickLoader)
    end = node.end_mark.index
    if end < len(bare):
        raise RecipeError(f"{where}: what is '{bare[end:].strip()}' after the value?", hint=as_text)
    return value


# What a value begins with that is more than a bare word.
_OPENING = ("[", "{", '"', "'")


def _parse(text: str, where: str) -> Any:
    try:
        if not {"&", "*"} & set(text):
            # What it refuses is read again, for the words of the error.
            with suppress(Exception):
                return yaml.load(text, _QuickLoader)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(broken, "problem", None) or getattr(broken, "reason", "unreadable")
        raise RecipeError(f"{where}{line}: not YAML: {problem}", hint=_START) from None
    except RecipeError as refused:
        raise RecipeError(f"{where}, {refused.message}", hint=_START) from None
    except (ValueError, OverflowError, RecursionError, AttributeError, TypeError) as broken:
        # What a value with a tag that does not fit it, or absurd nesting, makes the loader raise.
        reason = str(broken).splitlines()[0] if str(broken) else type(broken).__name__
        raise RecipeError(f"{where}: unusable value: {reason[:80]}", hint=_START) from None


def dump_document(document: dict[str, Any]) -> str:
    """A mapping as YAML text, keys in their order, short lists on one line."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True
    )


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what either YAML 1.1 or a recipe reads as anything but text, and
    writes equal lists twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Line breaks that only Unicode knows, and what cannot be seen, are escaped.
    style = None if all(c.isprintable() or c == "\n" for c in text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=True
    ),
)
