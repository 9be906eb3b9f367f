"""Recipes: what is run, as a strict schema; loading, overrides, and the catalog."""

from clifctl.recipe.load import LoadedRecipe, load_recipe, read_text
from clifctl.recipe.schema import Recipe, validate
from clifctl.recipe.yamlfile import dump_document

__all__ = ["LoadedRecipe", "Recipe", "dump_document", "load_recipe", "read_text", "validate"]
