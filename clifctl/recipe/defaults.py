"""What a key of a recipe counts as where it is left out.

Recipes, checkpoints and results folders outlive the clifctl that wrote them. A key that came later
is missing there and counts as its default, which is therefore what clifctl did before it had the
key; and a key that stands at its default takes no part in the name of a trial.
"""

from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from clifctl.recipe.schema import schema_for


def defaults_of(document: dict[str, Any]) -> dict[str, Any]:
    """Every key that a recipe which names the rows of `document` may leave out, and its default, in
    sections as in the recipe. What a row that is not known may leave out is not known either."""
    return _defaults(schema_for(document, []), document)


def _defaults(schema: type[BaseModel], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        given = document.get(name)
        section = next((one for one in _kinds(field.annotation) if _is_section(one)), None)
        if section is not None and (isinstance(given, dict) or section is field.annotation):
            found[name] = _defaults(section, given if isinstance(given, dict) else {})
        elif not field.is_required():
            found[name] = to_jsonable_python(field.get_default(call_default_factory=True))
    return found


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Of `Section | None` both, of anything else itself."""
    return (annotation, *get_args(annotation))


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def completed(document: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`document` with the defaults of the keys that it lacks, below its own."""
    found = dict(document)
    for key, default in defaults.items():
        given = document.get(key, {} if isinstance(default, dict) else default)
        both = isinstance(given, dict) and isinstance(default, dict)
        found[key] = completed(given, default) if both else given
    return found


def without_defaults(document: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`document` without the keys that stand at their default, and without what is then empty."""
    found = {}
    for key, given in document.items():
        default = defaults.get(key, ...)
        if isinstance(given, dict) and isinstance(default, dict):
            given, default = without_defaults(given, default), {}
        # True is no 1, but 1 is 1.0.
        if given != default or isinstance(given, bool) != isinstance(default, bool):
            found[key] = given
    return found
