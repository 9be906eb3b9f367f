"""The recipes that clifctl ships: inside the wheel, or beside the package in a source tree."""

from pathlib import Path

from clifctl.errors import RecipeError, unknown_name


def folder() -> Path:
    """Where the catalog lies."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "recipes", package.parent / "recipes"):
        if candidate.is_dir():
            return candidate
    raise RecipeError(
        "the catalog of recipes is missing from this installation",
        hint="install clifctl again: pip install --force-reinstall clifctl",
    )


def names() -> list[str]:
    """The names of all recipes in the catalog, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def path_of(name: str) -> Path:
    """The file of a recipe in the catalog. Raises RecipeError with the nearest name."""
    path = folder() / f"{name}.yaml"
    if name not in names():
        raise RecipeError(
            unknown_name("recipe", name, names()),
            hint="clifctl recipes ls lists them; a file needs its ending: my_recipe.yaml",
        )
    return path
