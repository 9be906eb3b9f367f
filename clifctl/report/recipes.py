"""The `recipes` commands -> report."""

from collections.abc import Iterator
from typing import Any

from clifctl.report.neurons import _list_report
from clifctl.report.render import Column, Report, Table
from clifctl.results.recipes import RecipeChecks, RecipeList


def recipes_report(result: RecipeList) -> Report:
    """The catalog."""
    columns = (
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("title", "title"),
    )
    return _list_report("recipes that clifctl ships", result, columns, result.recipes)


def recipe_report(name: str, document: dict[str, Any], text: str) -> Report:
    """One recipe: its text for a reader, its keys and values for a program."""
    rows = tuple({"key": key, "value": value} for key, value in _leaves(document))
    table = Table(name, (Column("key", "key"), Column("value", "value")), rows)
    whole = {"schema": "clifctl.recipe/1", "recipe": name, "content": document}
    return Report(whole, (table,), text=text, text_only=True)


def _leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def checks_report(result: RecipeChecks) -> Report:
    """The recipes that hold."""
    columns = (
        Column("recipe", "recipe"),
        Column("data", "data"),
        Column("model", "model"),
        Column("neuron", "neuron"),
        Column("timesteps", "time steps"),
        Column("parameters", "parameters", 0),
    )
    return _list_report("valid recipes", result, columns, result.recipes)
