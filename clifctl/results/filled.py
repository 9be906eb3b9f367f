"""A result with something in every field: what its report looks like is known before any work."""

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar, Union

Kind = TypeVar("Kind")


def filled(kind: type[Kind], **known: Any) -> Kind:
    """A `kind` (a dataclass of results) whose fields all hold something: one entry in each tuple
    and mapping, a 1 for each number, an `x` for each text. `known` has the values of fields of
    these names, at any depth."""
    fields: Any = kind
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            field.name: known[field.name] if field.name in known else _of(hints[field.name], known)
            for field in dataclasses.fields(fields)
        }
    )


def _of(hint: Any, known: dict[str, Any]) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _of(next(part for part in parts if part is not type(None)), known)
    if origin is Literal:
        return parts[0]
    if origin is tuple:
        return tuple(_of(part, known) for part in parts if part is not Ellipsis)
    if isinstance(origin, type) and issubclass(origin, typing.Mapping):
        return {_of(parts[0], known): _of(parts[1], known)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return filled(hint, **known)
    return {bool: True, int: 1, float: 1.0}.get(hint, "x")
