"""Where recipes lie: the catalog (inside the wheel, or beside the package in a source tree), files
and stdin."""

import sys
from pathlib import Path

from clifctl.commands import command_line
from clifctl.errors import RecipeError, unknown_name

SUFFIXES = (".yaml", ".yml")


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


def read_text(reference: str) -> tuple[str, str, str]:
    """Name, place (for messages) and text of a recipe. Raises RecipeError if it cannot be read."""
    if reference == "-":
        try:
            return "stdin", "recipe from stdin", sys.stdin.read()
        except (OSError, UnicodeDecodeError, AttributeError):
            raise RecipeError("stdin cannot be read", hint="pipe a recipe in") from None
    path = Path(reference)
    if path.suffix not in SUFFIXES and path.name == reference and not path.is_file():
        path = path_of(reference)
    try:
        return path.stem, str(path), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = path.stem in names()
        raise RecipeError(
            f"no recipe file '{reference}'",
            hint=f"the catalog has one: {command_line('recipes', 'show', path.stem)}"
            if known
            else "clifctl recipes ls lists the recipes that clifctl ships",
        ) from None
    except (OSError, ValueError) as unreadable:
        reason = getattr(unreadable, "strerror", None) or "not text in UTF-8"
        raise RecipeError(
            f"cannot read recipe '{reference}': {reason}",
            hint="give a YAML file, a name from clifctl recipes ls, or - for stdin",
        ) from None
