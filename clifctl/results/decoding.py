"""Results as JSON documents, and back: a result outlives the clifctl that wrote it."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")


class UnreadableResult(ValueError):
    """A document that does not hold the expected result; the message says why."""


class NewerResult(UnreadableResult):
    """A document that a newer clifctl wrote."""


def encode(result: Any) -> dict[str, Any]:
    """The document of a result: its schema first, where it has one."""
    schema = getattr(type(result), "schema", None)
    head = {} if schema is None else {"schema": schema}
    return {**head, **dataclasses.asdict(result)}


def decode(kind: type[Result], document: Any) -> Result:
    """The result of type `kind` that `document`, plain JSON, holds.

    A field that an older clifctl did not write has its default. Raises NewerResult for a newer
    schema and for fields that `kind` does not have, UnreadableResult for anything else.
    """
    if not isinstance(document, dict):
        raise UnreadableResult(f"it is a {type(document).__name__}, not a mapping")
    fields = dict(document)
    known = getattr(kind, "schema", None)
    if known is not None:
        _check_schema(known, fields.pop("schema", None))
    result = _validated(kind, fields)
    unknown = _unknown(fields, result)
    if unknown:
        raise NewerResult(f"it has fields that this clifctl does not know: {', '.join(unknown)}")
    return result


def _check_schema(known: str, given: Any) -> None:
    name, _, version = known.rpartition("/")
    if not isinstance(given, str) or not re.fullmatch(re.escape(name) + r"/\d{1,9}", given):
        raise UnreadableResult(f"its schema is {json.dumps(given)[:60]}, not {known}")
    if int(given.rpartition("/")[2]) > int(version):
        raise NewerResult(f"its schema is {given}, this clifctl reads {known} and older ones")


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _validated(kind: type[Result], fields: dict[str, Any]) -> Result:
    from pydantic import ValidationError

    from clifctl.strict import in_words

    adapter: Any = _adapter(kind)  # type: ignore[arg-type]
    try:
        # As JSON: there a list is a tuple and a mapping a dataclass, but a text is no number.
        found: Result = adapter.validate_json(json.dumps(fields), strict=True)
        return found
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    except (TypeError, RecursionError) as unusable:
        raise UnreadableResult(f"it is no plain document ({unusable})") from None
    # What is not finite was written as null.
    lost = [e for e in errors if e["type"] == "float_type" and e["input"] is None]
    if len(lost) == len(errors):
        whole = json.loads(json.dumps(fields))
        for error in lost:
            *way, last = error["loc"]
            place: Any = whole
            for part in way:
                place = place[part]
            place[last] = math.nan
        return _validated(kind, whole)
    where = ".".join(str(part) for part in errors[0]["loc"])
    raise UnreadableResult(f"{where}: {in_words(errors[0])}")


def _unknown(given: Any, known: Any, path: str = "") -> list[str]:
    """The keys of `given`, in all depths, that are not in `known`, or no fields of it."""
    known = vars(known) if dataclasses.is_dataclass(known) else known
    if isinstance(given, dict) and isinstance(known, dict):
        found = []
        for key, value in given.items():
            below = f"{path}.{key}" if path else str(key)
            found += _unknown(value, known[key], below) if key in known else [below]
        return found
    if isinstance(given, list) and isinstance(known, list | tuple):
        pairs = enumerate(zip(given, known, strict=False))
        return [one for n, pair in pairs for one in _unknown(*pair, f"{path}[{n}]")]
    return []


def flat(document: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """A document without sections: the names of the sections stand before a key, with `separator`
    between."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            inside = flat(value, separator)
            found |= {f"{key}{separator}{name}": one for name, one in inside.items()}
        else:
            found[key] = value
    return found
