"""`load_recipe`: what is trained and how, as a value."""

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from clifctl import trust as trusted_files
from clifctl.api.session import LOG, Trusted, session
from clifctl.commands import override, visible
from clifctl.files import plain
from clifctl.recipe.load import LoadedRecipe, RecipeSource, apply_overrides, open_recipe
from clifctl.recipe.yamlfile import dump_document


class Recipe:
    """A valid recipe: a data set, a net, a neuron, T, and how the net is trained and evaluated.

    `load_recipe` makes one, and every function of clifctl that takes a recipe takes its name or
    path in its place. It does not change: `with_overrides` gives another one.

    >>> import clifctl
    >>> recipe = clifctl.load_recipe("digits_snn5", timesteps=2)
    >>> recipe
    Recipe('digits_snn5': digits, snn5, clif, T = 2)
    >>> recipe.with_overrides("neuron.name=lif").to_dict()["neuron"]["name"]
    'lif'
    """

    def __init__(self, loaded: LoadedRecipe, source: RecipeSource, trusted: Trusted) -> None:
        self.loaded = loaded
        self.source = source
        self.trusted = trusted

    @property
    def name(self) -> str:
        """The name that its runs bear."""
        return self.loaded.name

    @property
    def title(self) -> str:
        """One line on what it is."""
        return self.loaded.recipe.title

    @property
    def timesteps(self) -> int:
        """The number of time steps T that a sample is shown for."""
        return self.loaded.recipe.timesteps

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one time step of one sample."""
        return self.loaded.recipe.data.input_shape

    @property
    def classes(self) -> int:
        """The number of classes of its data."""
        return self.loaded.recipe.data.classes

    @property
    def static(self) -> bool:
        """Whether a sample is the same at every time step: the net's input is `[1, N, *]` then, and
        is run with `repeat` = T; else it is `[T, N, *]`."""
        return self.loaded.recipe.data.static

    def with_overrides(self, *overrides: str, trust: Sequence[str] = (), **keys: Any) -> "Recipe":
        """This recipe with overrides, as `load_recipe` takes them. Raises RecipeError, UsageError.

        >>> import clifctl
        >>> clifctl.load_recipe("digits_snn5").with_overrides(**{"train.epochs": 2}, timesteps=4)
        Recipe('digits_snn5': digits, snn5, clif, T = 4)
        """
        document = copy.deepcopy(self.source.document)
        given = (*overrides, *_as_overrides(keys))
        with session(self.trusted.also(trust)):
            notices = apply_overrides(document, given)
            every = (*self.source.overrides, *given)
            return _read(
                replace(self.source, document=document, notices=tuple(notices), overrides=every)
            )

    def to_dict(self) -> dict[str, Any]:
        """The resolved document, every default filled in: what a checkpoint carries."""
        document: dict[str, Any] = plain(self.loaded.recipe.document)
        return document

    def __repr__(self) -> str:
        own = self.loaded.recipe
        parts = (own.data.dataset.name, own.model.model.name, own.neuron.neuron.name)
        return f"Recipe('{self.name}': {', '.join(parts)}, T = {self.timesteps})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        return (self.name, self.to_dict()) == (other.name, other.to_dict())

    __hash__ = None  # type: ignore[assignment]

    def _repr_html_(self) -> str:
        text = dump_document(self.loaded.recipe.document)
        title = f"<p><b>{escape(visible(self.name))}</b></p>"
        return f"{title}\n<pre>{escape(visible(text, keep=chr(10)))}</pre>"


def load_recipe(
    recipe: str | os.PathLike[str],
    /,
    *overrides: str,
    trust: Sequence[str] = (),
    **keys: Any,
) -> Recipe:
    """The recipe of a name in the catalog, or of a YAML file.

    Overrides are those of the command line, as texts `"neuron.name=lif"` or as keywords: a key with
    a dot by `**{"neuron.name": "lif"}`. A neuron or net of a file of your own, FILE.py:NAME, is run
    if an override names it, if it lies beside the recipe and is yours, or if `trust` names it.

    Raises RecipeError naming everything that is wrong with it, UsageError for a malformed override.

    >>> import clifctl
    >>> recipe = clifctl.load_recipe("digits_snn5", "neuron.name=lif", timesteps=4)
    >>> recipe.name, recipe.timesteps, recipe.input_shape, recipe.classes
    ('digits_snn5', 4, (1, 8, 8), 10)
    >>> recipe.to_dict()["neuron"]["tau"]
    2.0
    """
    with session(Trusted().also(trust)):
        return _read(open_recipe(os.fspath(recipe), (*overrides, *_as_overrides(keys))))


def as_recipe(recipe: Recipe | str | os.PathLike[str], trust: Sequence[str] = ()) -> Recipe:
    """A recipe, or the one of that name or path."""
    if isinstance(recipe, Recipe):
        return Recipe(recipe.loaded, recipe.source, recipe.trusted.also(trust))
    return load_recipe(recipe, trust=trust)


def _read(source: RecipeSource) -> Recipe:
    """The recipe, and the files that are trusted now."""
    loaded = source.variant()
    for notice in loaded.notices:
        LOG.warning(notice)
    trusted = Trusted(trusted_files.named(), trusted_files.files())
    return Recipe(loaded, replace(source, notices=()), trusted)


def _as_overrides(keys: dict[str, Any]) -> list[str]:
    return [override(key, _plain(value)) for key, value in keys.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return os.fspath(value) if isinstance(value, Path) else value
