"""`clifctl recipes ls|keys|show|cp|check`."""

from pathlib import Path
from typing import Annotated

import typer

from clifctl.cli.completion import complete_key
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, OverridesArgument, RecipeArgument, command
from clifctl.commands import command_line
from clifctl.errors import UntrustedFile, UsageError

app = typer.Typer(
    cls=Group,
    help="List, show, copy and check recipes.",
    no_args_is_help=True,
    epilog="Example: clifctl recipes cp digits_snn5 my_recipe.yaml",
)


@command(app, "ls", example="clifctl recipes ls")
def ls(*, output: Output) -> None:
    """List the recipes that clifctl ships."""
    from clifctl.experiments.recipes import list_recipes
    from clifctl.report.recipes import recipes_report

    output.emit(recipes_report(list_recipes()))


@command(app, "keys", example="clifctl recipes keys neuron. --of clif")
def keys(
    start: Annotated[
        str,
        typer.Argument(
            metavar="[PREFIX]",
            help="Only keys that begin so, such as train or neuron.t.",
            autocompletion=complete_key,
        ),
    ] = "",
    *,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only keys of this data set, model or neuron (or FILE.py:NAME)."
        ),
    ] = None,
    output: Output,
) -> None:
    """List every key of a recipe: what it may be, its default, and what it is.

    Each is set in a recipe's file, or by KEY=VALUE behind the recipe. The sections data, model and
    neuron have other keys for each data set, model and neuron, which are named above their tables.
    """
    from clifctl.experiments.recipes import list_keys
    from clifctl.report.recipes import keys_report

    output.emit(keys_report(list_keys(start, of)))


@command(
    app,
    "show",
    example="clifctl recipes show digits_snn5 timesteps=8 --resolved",
    text_endings=(".yaml", ".yml"),
)
def show(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    *,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Apply overrides and fill in every default.")
    ] = False,
    output: Output,
) -> None:
    """Print a recipe: as it is written, or resolved."""
    from clifctl.recipe.catalog import read_text
    from clifctl.recipe.yamlfile import dump_document, parse_document
    from clifctl.report.recipes import recipe_report

    output.keep_apart(Path(recipe))
    if not (resolved or overrides):
        read = read_text(recipe)
        for notice in read.notices:
            output.notice(notice)
        output.emit(recipe_report(read.name, parse_document(read.text, read.where), read.text))
        return
    from clifctl.recipe.load import load_recipe

    try:
        loaded = load_recipe(recipe, overrides or ())
    except UntrustedFile as refused:
        known = refused.document
        output.emit(recipe_report(Path(recipe).stem, known, dump_document(known)))
        raise
    for notice in loaded.notices:
        output.notice(notice)
    document = loaded.recipe.document
    output.emit(recipe_report(loaded.name, document, dump_document(document)))


@command(app, "cp", example="clifctl recipes cp digits_snn5 my_recipe.yaml train.lr=0.05")
def cp(
    recipe: RecipeArgument,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [KEY=VALUE]...",
            help="File to write (default: RECIPE.yaml here), and overrides to write into it.",
        ),
    ] = None,
    *,
    output: Output,
) -> None:
    """Copy a recipe to a file of your own, to edit it there, or changed by overrides at once."""
    from clifctl.experiments.recipes import copy_recipe

    files, overrides = _files_and_overrides(arguments or [])
    if len(files) > 1:
        raise UsageError(f"two files to write: {' '.join(files)}", hint="name one")
    path = copy_recipe(
        recipe,
        Path(files[0]) if files else None,
        overrides,
        may_write=output.may_write,
        say=output.notice,
    )
    output.notice(f"wrote {path}; run it with: {command_line('train', path)}")


@command(app, "check", example="clifctl recipes check recipes/*.yaml train.seed=1")
def check(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [KEY=VALUE]...",
            help="Recipes (as for train), then overrides, which apply to all of them.",
        ),
    ],
    *,
    output: Output,
) -> None:
    """Check recipes as `train` does before it starts: schema, data and shapes.

    Of several, each has a row, with what is wrong with it. Exit code 2 if one does not hold.
    """
    from clifctl.experiments.recipes import check_recipes, require_valid
    from clifctl.report.recipes import checks_report
    from clifctl.results.filled import filled
    from clifctl.results.recipes import RecipeChecks

    output.require_columns(lambda: checks_report(filled(RecipeChecks)))
    files, overrides = _files_and_overrides(recipes)
    output.keep_apart(*map(Path, files))
    checks = check_recipes(files, overrides, say=output.notice)
    output.emit(checks_report(checks))
    require_valid(checks)


def _files_and_overrides(words: list[str]) -> tuple[list[str], list[str]]:
    """Files may have an equals sign in their names."""
    files = [word for word in words if word.endswith((".yaml", ".yml")) or "=" not in word]
    return files, [word for word in words if word not in files]
