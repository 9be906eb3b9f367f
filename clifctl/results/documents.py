"""Any result of any command, read back from its JSON document by its schema."""

from typing import Any

from clifctl.results.decoding import UnreadableResult, decode
from clifctl.results.quantities import documents
from clifctl.results.result import Result


def result_of(document: Any) -> Result:
    """The result that `document`, plain JSON, holds. Raises UnreadableResult (NewerResult)."""
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str):
        raise UnreadableResult("it has no schema, as every result of clifctl has")
    kinds = dict(documents())
    name = schema.partition("/")[0]
    if name not in kinds:
        raise UnreadableResult(f"no command gives a result of the schema {schema!r}")
    found: Result = decode(kinds[name], document)
    return found
