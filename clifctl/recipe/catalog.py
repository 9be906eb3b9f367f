"""Where recipes lie: the catalog (inside the wheel, or beside the package in a source tree), files
and stdin."""

import sys
from dataclasses import dataclass
from pathlib import Path

from clifctl.commands import command_line
from clifctl.errors import RecipeError, as_listed, unknown_name
from clifctl.reading import MOST_GIVEN_BYTES, read_given_text

SUFFIXES = (".yaml", ".yml")
# The folder that the catalog lies in, in a source tree: how texts write a shipped recipe's path.
FOLDER = "recipes"


@dataclass(frozen=True)
class RecipeText:
    """A recipe as it is written: its name, its place (for messages), what to tell a person, and the
    folder of a file (None: it is no file)."""

    name: str
    where: str
    text: str
    notices: tuple[str, ...] = ()
    folder: Path | None = None


def folder() -> Path:
    """Where the catalog lies."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / FOLDER, package.parent / FOLDER):
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
    """The file of a recipe in the catalog, whatever the case of `name`. Raises RecipeError with the
    nearest name."""
    name = as_listed(name, names())
    path = folder() / f"{name}.yaml"
    if name not in names():
        of_it = [known for known in names() if name.lower() in known]
        raise RecipeError(
            unknown_name("recipe", name, names()),
            hint=f"recipes with that in their name: {', '.join(of_it)}"
            if of_it
            else "clifctl recipes ls lists them; a file needs its ending: my_recipe.yaml",
        )
    return path


def holds(reference: str) -> bool:
    """Whether `reference` is the name of a recipe in the catalog, or `recipes/NAME.yaml`."""
    path = Path(reference)
    return path.stem in names() and path in (Path(path.stem), Path(FOLDER, f"{path.stem}.yaml"))


def read_text(reference: str) -> RecipeText:
    """The recipe `reference`: a name of the catalog, a path, or `-` for stdin.

    A shipped recipe's path in a source tree, `recipes/NAME.yaml`, is that of the catalog's where
    there is no such file; a notice says so. Raises RecipeError if it cannot be read.
    """
    if reference == "-":
        try:
            text = sys.stdin.read(MOST_GIVEN_BYTES + 1)
        except (OSError, UnicodeDecodeError, AttributeError):
            raise RecipeError("stdin cannot be read", hint="pipe a recipe in") from None
        if len(text) > MOST_GIVEN_BYTES:
            raise RecipeError("stdin has more than 8 MiB", hint="pipe a recipe in")
        return RecipeText("stdin", "recipe from stdin", text)
    path = Path(reference)
    if path.is_dir() and not holds(reference):
        raise RecipeError(f"'{reference}' is a folder, not a recipe", hint=_of_folder(path))
    where = str(path)
    notices: tuple[str, ...] = ()
    if path.suffix not in SUFFIXES and path.name == reference and not path.is_file():
        path = path_of(reference)
        where = f"recipe '{path.stem}'"
    elif holds(reference) and not path.exists():
        path = path_of(path.stem)
        where = f"recipe '{path.stem}'"
        notices = (f"no file '{reference}' here: '{path.stem}' of the catalog is taken",)
    try:
        return RecipeText(path.stem, where, read_given_text(path), notices, path.parent)
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


def _of_folder(path: Path) -> str:
    if (path / "last.pt").is_file():
        return f"to go on with that run: {command_line('train', '--resume', path)}"
    if (path / "recipe.yaml").is_file():
        return f"the recipe of that run: {path / 'recipe.yaml'}"
    return "give a YAML file, a name from clifctl recipes ls, or - for stdin"
