"""The `recipes` commands -> report."""

from typing import Any

from clifctl.report.render import Column, Report, Table, document_of, list_table
from clifctl.results.decoding import flat
from clifctl.results.recipes import (
    KeyRow,
    RecipeCheck,
    RecipeChecks,
    RecipeKeys,
    RecipeList,
    RecipeRow,
)

_COLUMNS = ("recipe", "data", "model", "neuron", "timesteps")


def recipes_report(result: RecipeList) -> Report:
    """The catalog."""
    title = "recipes that clifctl ships"
    optional = ("model", "data", "timesteps", "neuron", "paper")
    columns = (*_COLUMNS, "paper", "title")
    table = list_table(title, RecipeRow, result.recipes, *columns, optional=optional)
    return Report(document_of(result), (table,))


def recipe_report(name: str, document: dict[str, Any], text: str) -> Report:
    """One recipe: its text for a reader, its keys and values for a program."""
    rows = tuple({"key": key, "value": value} for key, value in flat(document).items())
    table = Table(name, (Column("key", "key"), Column("value", "value")), rows)
    whole = {"schema": "clifctl.recipe/1", "recipe": name, "content": document}
    return Report(whole, (table,), text=text, text_only=True)


def keys_report(result: RecipeKeys) -> Report:
    """Keys of recipes: for a reader a table of those that the same data sets, models or neurons
    have, for csv one of all."""
    groups: dict[str, list[KeyRow]] = {}
    for row in result.keys:
        groups.setdefault(_group(row, result), []).append(row)
    columns = (Column("key", "key"), Column("range", "what it may be"), *_OF_A_KEY)
    tables = tuple(
        Table(title, columns, tuple(map(_key_row, rows))) for title, rows in groups.items()
    )
    whole = list_table(
        "keys", KeyRow, result.keys, "key", "type", "range", "default", "description", "variants"
    )
    return Report(document_of(result), tables, data=(whole,))


_OF_A_KEY = (Column("default", "default"), Column("description", "description"))


def _group(row: KeyRow, result: RecipeKeys) -> str:
    """What the table is called that a key is in: its section, and what in it has the key."""
    section, dot, _ = row.key.partition(".")
    if not dot:
        return "every recipe"
    if not row.variants:
        return section
    return f"{section}: {result.of or ', '.join(row.variants)}"


def _key_row(row: KeyRow) -> dict[str, str]:
    """The type stands before its range, but for a choice, which its range lists."""
    type = row.type.replace("choice", row.range) if "choice" in row.type else row.type
    range = "" if "choice" in row.type else row.range
    may_be = ", ".join(filter(None, (type, range)))
    return {
        "key": row.key,
        "range": may_be,
        "default": row.default,
        "description": row.description,
    }


def checks_report(result: RecipeChecks) -> Report:
    """Every recipe that was checked: those that hold, and what is wrong with the others."""
    wrong = [row.recipe for row in result.recipes if row.problem is not None]
    columns = (*_COLUMNS, "parameters", *(("problem",) if wrong else ()))
    title = (
        f"{len(wrong)} of {len(result.recipes)} recipes do not hold" if wrong else "valid recipes"
    )
    table = list_table(title, RecipeCheck, result.recipes, *columns)
    return Report(document_of(result), (table,))
