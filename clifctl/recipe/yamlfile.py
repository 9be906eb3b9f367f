"""YAML as recipes need it: duplicate keys refused, `1e-3` a number, only true/false booleans."""

import re
from typing import Any

import yaml

from clifctl.errors import RecipeError


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 and without silent loss of a repeated key."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class declares it so)
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:bool")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.inf|\.Inf|\.nan|\.NaN)$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise RecipeError(f"line {line}: key {key!r} is not a name")
        if key in seen:
            raise RecipeError(f"line {line}: key '{key}' was already given in line {seen[key]}")
        seen[key] = line
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_document(text: str, where: str) -> dict[str, Any]:
    """The mapping that a recipe's text holds. Raises RecipeError for anything else."""
    try:
        document = yaml.load(text, _Loader)
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(broken, "problem", None) or "unreadable"
        raise RecipeError(
            f"{where}{line}: not YAML: {problem}", hint="clifctl recipes ls names working recipes"
        ) from None
    except RecipeError as refused:
        raise RecipeError(f"{where}, {refused.message}", hint="keep one of them") from None
    if document is None:
        raise RecipeError(
            f"{where}: the file is empty", hint="start from one: clifctl recipes cp digits_snn5"
        )
    if not isinstance(document, dict):
        raise RecipeError(
            f"{where}: a recipe is a mapping of keys, this is a {type(document).__name__}",
            hint="start from one: clifctl recipes cp digits_snn5",
        )
    return document


def parse_scalar(text: str) -> Any:
    """The value of an override, read as YAML: a number, true, null, text or a [list]."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def dump_document(document: dict[str, Any]) -> str:
    """A mapping as YAML text, keys in their order, short lists on one line."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True
    )


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=True
    ),
)
