"""What is wrong with a recipe, in words, and whether the recipe's file or an override says it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clifctl.errors import RecipeError, nearest
from clifctl.recipe.keys import Key, keys_in
from clifctl.strict import in_words

# What other programs and papers call a key.
_OTHER_NAMES = {
    "t": "timesteps",
    "batch": "train.batch_size",
    "learning_rate": "train.lr",
    "threshold": "neuron.v_threshold",
    "k": "neuron.window",
    "dataset": "data.name",
    "net": "model.name",
}
# How alike a key of another section must be to be offered for one.
_ALIKE = 0.75


@dataclass(frozen=True)
class Problem:
    """What is wrong at `path`: `said` stands behind the path. `meant`: the key that was probably
    meant."""

    path: str
    said: str
    meant: str | None = None

    def told(self, override: str | None = None) -> str:
        """The problem in words, as one of `override` where that is given."""
        guess = self.meant
        key, _, value = (override or "").partition("=")
        if guess is not None and key == self.path:
            guess += f"={value}"
        said = self.said if guess is None else f"{self.said} (did you mean '{guess}'?)"
        return f"{'' if override is None else 'override '}{self.path}{said}"


def refusal(
    where: str, problems: Sequence[Problem], left_out: int, overrides: Sequence[str], hint: str
) -> RecipeError:
    """The error that names `problems`, and of how many more it does not; those of `overrides` are
    said to be of them, and all others of `where`."""
    blamed = [_override_of(problem, overrides) for problem in problems]
    told = [problem.told(by) for problem, by in zip(problems, blamed, strict=True)]
    count = len(problems) + left_out
    place = "" if all(blamed) else f"{where}: "
    if left_out:
        told.append(f"and {left_out:,} more unknown keys or wrong values")
    heading = place if count == 1 else f"{place}{count:,} problems\n  "
    return RecipeError(heading + "\n  ".join(told), hint=hint)


def _override_of(problem: Problem, overrides: Sequence[str]) -> str | None:
    """The last override that sets the key of a problem, or what is in it; or a key that a problem
    of its whole section names."""
    for override in reversed(overrides):
        key = override.partition("=")[0]
        section, _, name = key.rpartition(".")
        of_section = section == problem.path and re.search(rf"\b{re.escape(name)}\b", problem.said)
        if f"{problem.path}.".startswith(f"{key}.") or of_section:
            return override
    return None


def describe(error: ErrorDetails, schema: type[BaseModel]) -> Problem:
    """An error that pydantic found in a document of `schema`, in words."""
    path = ".".join(str(part) for part in error["loc"])
    given = error["input"]
    if error["type"] == "missing":
        return Problem(path, f": missing{_choices(schema, error['loc'])}")
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, error, schema)
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        write = f"{path}.KEY=VALUE, or in quotes '{path}={{KEY: VALUE}}'"
        return Problem(path, f": must be a mapping of keys, given {shown(given)}; write {write}")
    if error["type"] in ("too_short", "too_long"):
        bound = "at least" if error["type"] == "too_short" else "at most"
        count = error["ctx"]["min_length" if bound == "at least" else "max_length"]
        return Problem(path, f" = {given}: must have {bound} {count} entries, has {len(given)}")
    message = in_words(error)
    if error["type"] == "string_type" and isinstance(given, bool | int | float):
        quoted = f'"{json.dumps(given)}"'
        message += f", which it is in quotes: {quoted} (in a shell: {path}='{quoted}')"
    value = "" if isinstance(given, dict) else f" = {shown(given)}"
    return Problem(path, f"{value}: {message}")


def shown(given: Any) -> str:
    """A value, shortened."""
    text = "null" if given is None else repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(path: str, error: ErrorDetails, schema: type[BaseModel]) -> Problem:
    key = str(error["loc"][-1])
    if ":" in key and error["input"] is None:
        name, _, value = key.partition(":")
        return Problem(path, f": a space is missing behind the colon: '{name}: {value}'")
    meant = _meant(key, error, schema)
    allowed = list(_section_at(schema, error["loc"][:-1]).model_fields)
    return Problem(
        path, ": unknown key" + (f"; allowed: {', '.join(allowed)}" if not meant else ""), meant
    )


def _meant(key: str, error: ErrorDetails, schema: type[BaseModel]) -> str | None:
    """The path of the key that was probably meant by the unknown `key`: one like it in its own
    section, or else of that name, or nearly so, in another one."""
    own = _section_at(schema, error["loc"][:-1]).model_fields
    near = nearest(key, own)
    if len(error["loc"]) == 1:
        elsewhere = key_named(key, keys_in(schema))
        return near if elsewhere is None else elsewhere
    if near is None:
        return key_named(key, keys_in(schema))
    return ".".join([*map(str, error["loc"][:-1]), near])


def key_named(name: str, keys: Iterable[Key]) -> str | None:
    """The path of the key that `name` probably means, whatever its section: of two the first."""
    paths: dict[str, str] = {}
    for key in keys:
        paths.setdefault(key.path, key.path)
        paths.setdefault(key.path.rpartition(".")[2], key.path)
    paths = {**_OTHER_NAMES, **paths}
    found = nearest(name, paths, alike=_ALIKE)
    return None if found is None else paths[found]


def _choices(schema: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """What a missing key may be, where it is one of a few names."""
    field = _section_at(schema, path[:-1]).model_fields[str(path[-1])]
    choices = get_args(field.annotation)
    named = bool(choices) and all(isinstance(choice, str) for choice in choices)
    return f"; allowed: {', '.join(choices)}" if named else ""


def _section_at(schema: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    for part in path:
        annotation = schema.model_fields[str(part)].annotation
        # Of `Section | None`, the section.
        schema = cast(type[BaseModel], (get_args(annotation) or (annotation,))[0])
    return schema
