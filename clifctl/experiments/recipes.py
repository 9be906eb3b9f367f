"""`recipes ls`, `recipes keys`, `recipes cp` and `recipes check`."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from clifctl import trust
from clifctl.commands import command_line
from clifctl.errors import ClifctlError, RecipeError, UsageError
from clifctl.files import write_output
from clifctl.recipe import catalog
from clifctl.recipe.yamlfile import dump_document, parse_document
from clifctl.results.recipes import (
    KeyRow,
    RecipeCheck,
    RecipeChecks,
    RecipeKeys,
    RecipeList,
    RecipeRow,
)


def list_recipes() -> RecipeList:
    """Every recipe of the catalog, read without the schema: this answers without torch."""
    rows = []
    for name in catalog.names():
        read = catalog.read_text(name)
        document = parse_document(read.text, read.where)
        rows.append(
            RecipeRow(
                recipe=name,
                title=document.get("title", ""),
                data=document["data"]["name"],
                model=document["model"]["name"],
                neuron=document["neuron"]["name"],
                timesteps=document["timesteps"],
                paper=_of_the_paper(read.text),
            )
        )
    return RecipeList(recipes=tuple(rows))


def list_keys(start: str = "", variant: str | None = None) -> RecipeKeys:
    """The keys of recipes that begin with `start`; of the data set, model or neuron `variant`
    alone, which may be FILE.py:NAME, a file that is run. Raises UsageError where there are none."""
    from clifctl.recipe.variants import chosen_keys, every_key

    own = []
    if variant is not None and trust.is_file_reference(variant):
        trust.allow(variant)
        own.append(variant)
    return RecipeKeys(
        of=variant,
        keys=tuple(
            KeyRow(
                key=key.path,
                type=key.type,
                range=key.range,
                default=key.default,
                description=key.description,
                variants=key.variants,
            )
            for key in chosen_keys(every_key(*own), start, variant)
        ),
    )


def _of_the_paper(text: str) -> str | None:
    """The tables and figures of the paper that a recipe says on top it reproduces."""
    found = re.search(r"^# Reproduces (?!no )(.*(?:\n#  .*)*)", text, re.MULTILINE)
    if found is None:
        return None
    return ", ".join(dict.fromkeys(re.findall(r"(?:Table|Figure) [0-9]+", found[1])))


def copy_recipe(
    reference: str,
    destination: Path | None,
    overrides: Sequence[str] = (),
    *,
    may_write: Callable[[Path], None],
    say: Callable[[str], None],
) -> Path:
    """Copy a recipe to `destination` (a file, a folder, None: the working folder): as it is or,
    with `overrides`, as they change it, without its comments.

    `may_write` raises OutputError where the file must not be written. Returns the file's path.
    """
    read = catalog.read_text(reference)
    text, notices = read.text, read.notices
    if overrides:
        from clifctl.recipe.load import open_recipe

        source = open_recipe(reference, overrides)
        heading = f"# {read.name}, with {shlex.join(overrides)}\n"
        text, notices = heading + dump_document(source.document), source.notices
        source.variant()
    for notice in notices:
        say(notice)
    path = destination or Path(f"{read.name}.yaml")
    if path.is_dir():
        path = path / f"{read.name}.yaml"
    may_write(path)
    write_output(path, lambda file: file.write(text.encode()))
    return path


def check_recipes(
    references: Sequence[str], overrides: Sequence[str], *, say: Callable[[str], None]
) -> RecipeChecks:
    """Check each recipe as `train` would before it starts: schema, data and shapes.

    Raises what is wrong with it where there is one recipe; of several each has a row.
    """
    if not references:
        raise UsageError("no recipe to check", hint="name one: clifctl recipes check digits_snn5")
    if list(references).count("-") > 1:
        raise UsageError("stdin was given twice as a recipe", hint="give - once")
    checks = []
    for reference in references:
        try:
            checks.append(_check(reference, overrides, say))
        except ClifctlError as error:
            if len(references) == 1:
                raise
            checks.append(RecipeCheck(recipe=reference, problem=error.message))
    return RecipeChecks(recipes=tuple(checks))


def require_valid(checks: RecipeChecks) -> None:
    """Raise RecipeError where a recipe that was checked does not hold."""
    wrong = [row for row in checks.recipes if row.problem is not None]
    if wrong:
        lines = [f"{row.recipe}: {row.problem}" for row in wrong]
        raise RecipeError(
            f"{len(wrong)} of {len(checks.recipes)} recipes do not hold\n  " + "\n  ".join(lines),
            hint=f"each by itself: {command_line('recipes', 'check', wrong[0].recipe)}",
        )


def _check(reference: str, overrides: Sequence[str], say: Callable[[str], None]) -> RecipeCheck:
    import torch

    from clifctl.experiments.build import (
        build_net,
        load_data,
        parameter_count,
        require_trainable,
    )
    from clifctl.recipe.load import load_recipe

    loaded = load_recipe(reference, overrides)
    for notice in loaded.notices:
        say(notice)
    recipe = loaded.recipe
    require_trainable(recipe, load_data(recipe))
    with torch.device("meta"):
        net = build_net(recipe)
    return RecipeCheck(
        recipe=loaded.name,
        data=recipe.data.dataset.name,
        model=recipe.model.model.name,
        neuron=recipe.neuron.neuron.name,
        timesteps=recipe.timesteps,
        parameters=parameter_count(net),
    )
