"""From what a person types, a recipe's name, path or `-` and `key=value` overrides, to a Recipe."""

import copy
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clifctl import trust
from clifctl.data import DataOptions
from clifctl.errors import RecipeError, UsageError, as_listed
from clifctl.notices import tell_once
from clifctl.recipe import old_names
from clifctl.recipe.catalog import read_text
from clifctl.recipe.looked_for import with_found
from clifctl.recipe.schema import (
    FOREIGN,
    KINDS,
    NEURON_KEYS,
    TABLES,
    Recipe,
    foreign_places,
    row_of,
    section_options,
    timed_data,
    validate,
    validate_data,
)
from clifctl.recipe.yamlfile import parse_document, parse_scalar

_KEY = re.compile(r"[a-z_]+(\.[a-z_]+)*")
# The paper's T where it says nothing else.
BARE_TIMESTEPS = 6
# Stands where the net comes from elsewhere; it takes data of every shape.
_ANY_MODEL = "mlp"


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe, the name that its runs bear, what is to be said of it (for stderr), and the
    overrides that it was made with."""

    name: str
    recipe: Recipe
    notices: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipeSource:
    """A recipe as it was written, with `overrides` but without defaults: variants of it come with
    the defaults of what they change to. `rows` are the data set, net and neuron that its author
    wrote name and title for; None where the name is to stay whatever they become."""

    name: str
    where: str
    document: dict[str, Any]
    notices: tuple[str, ...]
    rows: dict[str, Any] | None = None
    overrides: tuple[str, ...] = ()

    def variant(self, overrides: Sequence[str] = ()) -> LoadedRecipe:
        """The recipe with more overrides. Raises RecipeError, UsageError."""
        document = copy.deepcopy(self.document)
        notices = apply_overrides(document, overrides)
        recipe = validate(document, self.where, overrides=(*self.overrides, *overrides))
        notices += recipe.model.options.notices(recipe.neuron.neuron)
        changed = _changed_rows(recipe.document, self.rows)
        name = self.name if changed.isdisjoint(("data", "model")) else _name_of(recipe)
        title = recipe.title
        if changed and title and title == (self.rows or {}).get("title"):
            neuron, data, model = (_called(recipe)[row] for row in ("neuron", "data", "model"))
            title = f"{neuron} on {data}, {model}"
            recipe = replace(recipe, title=title, document={**recipe.document, "title": title})
        return LoadedRecipe(name, recipe, (*self.notices, *notices), (*self.overrides, *overrides))


def _changed_rows(document: dict[str, Any], rows: dict[str, Any] | None) -> set[str]:
    """The sections whose row is another one than in `rows`."""
    if rows is None:
        return set()
    return {section for section in TABLES if document[section]["name"] != rows[section]}


def _called(recipe: Recipe) -> dict[str, str]:
    """What the data set, the net and the neuron of a recipe are called."""
    neuron = recipe.neuron.neuron.name
    return {"data": recipe.data.dataset.name, "model": recipe.model.model.name, "neuron": neuron}


def _name_of(recipe: Recipe) -> str:
    """The name of a recipe that nobody has given one: what files are called too."""
    called = _called(recipe)
    return f"{called['data']}_{trust.name_in_file(called['model'])}"


def open_recipe(reference: str, overrides: Sequence[str] = ()) -> RecipeSource:
    """Read the recipe `reference` (a name of the catalog, a path, or `-` for stdin), once.

    Raises RecipeError for one that cannot be read, UsageError for a malformed override.
    """
    read = read_text(reference)
    document = parse_document(read.text, read.where)
    for section, key, kind in _names_in(document):
        section[key] = _as_listed(kind, section[key])
    notices = [*read.notices]
    if read.folder is not None:
        notices += _place_files(document, read.folder)
    notices += old_names.told(document)
    document = old_names.with_new_names(document)
    sections = {name: document.get(name) for name in TABLES}
    rows = {n: s.get("name") if isinstance(s, dict) else None for n, s in sections.items()}
    rows["title"] = document.get("title")
    notices += apply_overrides(document, overrides)
    return RecipeSource(read.name, read.where, document, tuple(notices), rows, tuple(overrides))


def _names_in(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Where `document` names a row of a table: the mapping, its key, and the table's section."""
    if isinstance(document.get("data"), dict) and "name" in document["data"]:
        yield document["data"], "name", "data"
    for place in foreign_places(document):
        yield place.mapping, place.key, place.section


def _as_listed(section: str, name: Any) -> Any:
    return as_listed(name, TABLES[section]) if isinstance(name, str) else name


def load_recipe(reference: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """The recipe `reference` (see `open_recipe`) with overrides.

    Raises RecipeError for anything that is wrong with it, UsageError for a malformed override.
    """
    return open_recipe(reference, overrides).variant()


def _place_files(document: dict[str, Any], folder: Path) -> list[str]:
    """A FILE.py:NAME of a recipe is looked for in the recipe's folder, where it is trusted, then in
    the working folder: from here on it is relative to that one, as everywhere else. Returns what
    a person should see."""
    notices = []
    for place in foreign_places(document):
        name = place.name
        beside = os.path.join(folder, name)
        if not (trust.is_file_reference(name) and os.path.isfile(trust.file_of(beside))):
            continue
        if not os.path.isabs(name):
            place.mapping[place.key] = os.path.relpath(beside)
        trust.allow_beside(beside, folder)
        if os.path.isfile(trust.file_of(name)) and not _same_file(name, beside):
            notices.append(
                f"the {KINDS[place.section]} '{name}' is that of the recipe's folder: {place.name}"
            )
    return notices


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(trust.file_of(one)) == os.path.realpath(trust.file_of(other))


def name_of_runs(reference: str, overrides: Sequence[str]) -> str:
    """The name that runs of the recipe `reference` bear. Raises RecipeError, UsageError."""
    named = ("data", "data.name", "model", "model.name")
    switched = any(one.partition("=")[0] in named for one in overrides)
    # stdin can be read once; its recipe has no name of its own.
    if reference == "-" or not switched:
        return Path(reference).stem
    return load_recipe(reference, overrides).name


def bare_recipe(data: str, model: str | None, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """A recipe of defaults for a net that is trained already: a LIF net with T = 6 on a data set,
    unless overrides say otherwise. Without a `model` another takes its place, and the recipe is
    called after the data; a net FILE.py:NAME is run. Raises RecipeError, UsageError."""
    trust.allow_named(model)
    data, chosen = _as_listed("data", data), _as_listed("model", model or _ANY_MODEL)
    document: dict[str, Any] = {
        "timesteps": BARE_TIMESTEPS,
        "data": {"name": data},
        "model": {"name": chosen},
        "neuron": {"name": "lif"},
        "train": {"epochs": 1},
    }
    notices = apply_overrides(document, overrides)
    recipe = validate(document, f"recipe of {data} and {chosen}", overrides=overrides)
    notices += recipe.model.options.notices(recipe.neuron.neuron)
    name = data if model is None else _name_of(recipe)
    named = () if model is None else (f"model.name={model}",)
    return LoadedRecipe(name, recipe, tuple(notices), (*named, *overrides))


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Set each `key.path=value` in `document`; returns what was dropped, for the person to see.

    An override of `data.name`, `model.name` or `neuron.name` keeps those of the recipe's options
    that the new choice has too, and drops the others.
    """
    parsed = _parsed(overrides)
    for keys, value in parsed:
        if keys[0] in FOREIGN:
            trust.allow_named(value)
    notices = []
    for keys, value in parsed:
        if len(keys) == 2 and keys[0] in TABLES and keys[1] == "name":
            notices += _switch(document, keys[0], value)
    for given, value in parsed:
        keys, told = old_names.new_key(given, document)
        notices += told
        section = document
        for depth, key in enumerate(keys[:-1]):
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                path = ".".join(keys[: depth + 1])
                raise RecipeError(
                    f"{'.'.join(keys)}: '{path}' is a value, it has no keys",
                    hint=f"write {path}=value",
                )
        section[keys[-1]] = value
    return notices


def _parsed(overrides: Sequence[str]) -> list[tuple[list[str], Any]]:
    """The keys and the value of each override; names as the tables spell them."""
    found = []
    for number, override in enumerate(overrides):
        key, equals, value = override.partition("=")
        keys = key.split(".")
        if not equals or not all(keys):
            raise _no_override(override, overrides[number + 1 : number + 3])
        read = parse_scalar(value, f"override {key}")
        _require_spaces(key, value, read)
        if keys[1:] == ["name"] and keys[0] in TABLES:
            read = _as_listed(keys[0], read)
        elif keys == ["neuron", "exchange", "to"]:
            read = _as_listed("neuron", read)
        elif keys == ["neuron", "exchange"] and isinstance(read, dict) and "to" in read:
            read["to"] = _as_listed("neuron", read["to"])
        found.append((keys, read))
    return found


def _require_spaces(key: str, text: str, value: Any) -> None:
    """Raise RecipeError for `{key:value}`, which YAML reads as a key without a value."""
    inner = value.items() if isinstance(value, dict) else ()
    joined = [name for name, given in inner if ":" in name and given is None]
    if joined:
        spaced = re.sub(r":(?=[^\s:])", ": ", text)
        raise RecipeError(
            f"override {key}: a space is missing behind the colon of '{joined[0]}'",
            hint=f"write {shlex.quote(f'{key}={spaced}')}",
        )


def read_timesteps(text: str) -> int:
    """The T of an override `timesteps=text`. Raises RecipeError for anything but a number."""
    value = parse_scalar(text, "override timesteps")
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(
            f"override timesteps = {text}: must be a whole number", hint="as in timesteps=8"
        )
    return value


def _no_override(override: str, following: Sequence[str]) -> UsageError:
    hint = "write key=value after the recipe, as in train.epochs=5"
    given, *more = override.split() or [override]
    words = "".join([*more, *following]).removeprefix("=")
    if words and "=" not in words and _KEY.fullmatch(given):
        hint = f"without a space: {given}={words}"
    for section, table in TABLES.items():
        if as_listed(override, table) in table:
            hint = f"write {section}.name={as_listed(override, table)}"
    return UsageError(f"'{override}' is not an override", hint=hint)


def _switch(document: dict[str, Any], section: str, name: Any) -> list[str]:
    given = document.get(section)
    known = row_of(section, name) is not None
    if not (known and isinstance(given, dict)) or given.get("name") == name:
        return []
    kept = {"name", *(NEURON_KEYS if section == "neuron" else ())}
    kept |= set(section_options(section, name).model_fields)
    dropped = [key for key in given if key not in kept]
    for key in dropped:
        del given[key]
    if not dropped:
        return []
    paths = ", ".join(f"{section}.{key}" for key in dropped)
    return [f"{section}.name={name} has no {paths}: dropped from the recipe"]


def data_section(name: str, overrides: Sequence[str], timesteps: int) -> tuple[DataOptions, int]:
    """The options of data set `name` with overrides `key=value` (or `data.key=value`), and T.

    Where no override gives T it is the only one that the data has, or `timesteps`. Raises
    RecipeError, UsageError.
    """
    document: dict[str, Any] = {"data": {"name": name}}
    set_by = []
    for override, (keys, value) in zip(overrides, _parsed(overrides), strict=True):
        own = keys[1:] if keys[0] == "data" else keys
        if own == ["name"]:
            raise UsageError(
                "data.name: the data set is named by the argument", hint="leave it out"
            )
        if keys == ["timesteps"]:
            document["timesteps"] = value
        else:
            document["data"][".".join(own)] = value
            override = f"data.{override.removeprefix('data.')}"
        set_by.append(override)
    for line in old_names.told(document):
        tell_once(line)
    data = timed_data(with_found(old_names.with_new_names(document), []))
    document.setdefault("timesteps", (data and data.timesteps) or timesteps)
    return validate_data(document, f"data set '{name}'", set_by)
