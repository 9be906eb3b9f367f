"""The `recipes` commands -> report."""

from typing import Any

from clifctl.report.render import Column, Report, Table, document_of, list_table
from clifctl.results.decoding import flat
from clifctl.results.recipes import RecipeCheck, RecipeChecks, RecipeList, RecipeRow

_COLUMNS = ("recipe", "data", "model", "neuron", "timesteps")


def recipes_report(result: RecipeList) -> Report:
    """The catalog."""
    title = "recipes that clifctl ships"
    optional = ("model", "data", "timesteps", "neuron")
    columns = (*_COLUMNS, "title")
    table = list_table(title, RecipeRow, result.recipes, *columns, optional=optional)
    return Report(document_of(result), (table,))


def recipe_report(name: str, document: dict[str, Any], text: str) -> Report:
    """One recipe: its text for a reader, its keys and values for a program."""
    rows = tuple({"key": key, "value": value} for key, value in flat(document).items())
    table = Table(name, (Column("key", "key"), Column("value", "value")), rows)
    whole = {"schema": "clifctl.recipe/1", "recipe": name, "content": document}
    return Report(whole, (table,), text=text, text_only=True)


def checks_report(result: RecipeChecks) -> Report:
    """The recipes that passed the check."""
    table = list_table("valid recipes", RecipeCheck, result.recipes, *_COLUMNS, "parameters")
    return Report(document_of(result), (table,))
