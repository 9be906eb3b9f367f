"""What a shell completes: recipes, keys, and the names of neurons, data sets and models."""

from collections.abc import Iterable


def complete_recipe(incomplete: str) -> list[str]:
    """Names of the catalog."""
    from clifctl.recipe import catalog

    return _beginning(incomplete, catalog.names())


def complete_recipe_or_override(incomplete: str) -> list[str]:
    """A recipe, or an override where none is named."""
    return [*complete_recipe(incomplete), *complete_override(incomplete)]


def complete_override(incomplete: str) -> list[str]:
    """Keys of recipes, and behind `KEY=` what a choice may be."""
    from clifctl.recipe.keys import CHOICE
    from clifctl.recipe.variants import every_key

    words: dict[str, None] = {}
    for key in every_key():
        words[f"{key.path}="] = None
        if CHOICE in key.type and incomplete.startswith(f"{key.path}="):
            words |= dict.fromkeys(f"{key.path}={one}" for one in key.range.split(", "))
    found = _beginning(incomplete, words)
    return [word for word in found if word != incomplete]


def complete_key(incomplete: str) -> list[str]:
    """Keys of recipes."""
    return [word.removesuffix("=") for word in complete_override(incomplete)]


def complete_neuron(incomplete: str) -> list[str]:
    """Names of neurons, at the end of a list with commas too."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _section_names("neuron", last)]


def complete_data(incomplete: str) -> list[str]:
    """Names of data sets."""
    return _section_names("data", incomplete)


def complete_model(incomplete: str) -> list[str]:
    """Names of models."""
    return _section_names("model", incomplete)


def complete_paper(incomplete: str) -> list[str]:
    """Names of the paper's tables and figures."""
    from clifctl.experiments.reproduce.names import item_names

    return _beginning(incomplete, item_names())


def _section_names(section: str, incomplete: str) -> list[str]:
    from clifctl.recipe.schema import TABLES

    return _beginning(incomplete, TABLES[section])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
