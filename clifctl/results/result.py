"""What every result of a command can do: it is a JSON document, and a table in a notebook."""

from functools import singledispatch
from typing import Any

from clifctl.files import plain
from clifctl.results.decoding import encode


class Result:
    """The base of the frozen dataclasses that commands and functions return. One that is a document
    of its own has a `schema`."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that `--format json` prints: its schema first, where it has one, NaN
        and infinity as None, tuples as lists."""
        document: dict[str, Any] = plain(encode(self))
        return document

    def _repr_html_(self) -> str | None:
        """The tables that `--format table` prints, for a notebook."""
        return as_html(self)


@singledispatch
def as_html(result: object) -> str | None:
    """A result as HTML, where something is registered for its type (`clifctl.report.notebook`);
    else None: a notebook shows its repr."""
    return None
