"""The recipes of a table or figure, on the paper's data and on those that stand in their place."""

from collections.abc import Mapping, Sequence

from clifctl.experiments.reproduce.cells import (
    Basis,
    basis_of,
    command_of,
    named_data,
    require_free,
    substitute,
)
from clifctl.experiments.reproduce.found import FREE_KEYS
from clifctl.paper import PaperItem


class Bases:
    """Recipes with `overrides`, each opened once; `data` are those that a person named."""

    def __init__(self, overrides: Sequence[str] = (), data: str | None = None) -> None:
        require_free(overrides)
        self._overrides = overrides
        self._own: dict[str, Basis] = {}
        self._other: dict[str, Basis] = {}
        self._data = None if data is None else named_data(data)

    @property
    def changed(self) -> tuple[str, ...]:
        """The overrides that make other runs of the paper's."""
        return tuple(one for one in self._overrides if one.partition("=")[0] not in FREE_KEYS)

    def own(self, recipe: str) -> Basis:
        """A recipe on the paper's data."""
        if recipe not in self._own:
            self._own[recipe] = basis_of(recipe, self._overrides)
        return self._own[recipe]

    def other(self, recipe: str) -> Basis | None:
        """A recipe on the data that were named; None where none were, or the paper's."""
        if self._data is None or self._data == self.own(recipe).data:
            return None
        if recipe not in self._other:
            self._other[recipe] = substitute(recipe, self._data, self._overrides)
        return self._other[recipe]

    def all_of(self, recipe: str) -> tuple[Basis, ...]:
        """Both."""
        other = self.other(recipe)
        return (self.own(recipe),) if other is None else (self.own(recipe), other)


def commands_of(item: PaperItem, bases: Bases) -> tuple[str, ...]:
    """The commands that make a table or figure, each in a line."""
    made = (
        command_of(grid, item.seeds, bases.own(grid.recipe).half if grid.exchange else 0)
        for grid in item.grids
    )
    return (*made, *(f"clifctl {command}" for command in item.commands))


def in_the_place_of(taken: Mapping[Basis, Sequence[str]]) -> str:
    """What to say of runs on other data than the paper's: the recipes of the paper whose place each
    basis takes. All are on the same data."""
    data = next(iter(taken)).data
    kept = [basis.recipe for basis, recipes in taken.items() if basis.recipe in recipes]
    said = [
        f"{basis.recipe} in the place of {', '.join(dict.fromkeys(recipes))}"
        for basis, recipes in taken.items()
        if basis.recipe not in recipes
    ]
    said += [f"{', '.join(kept)} with data.name={data}"] if kept else []
    return (
        f"on {data}, which is not the paper's data: {'; '.join(said)}. Its numbers do not compare "
        "with the paper's."
    )
