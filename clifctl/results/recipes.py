"""What the `recipes` commands return."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.quantities import PARAMETERS, TIMESTEPS


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One recipe of the catalog."""

    recipe: str
    title: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]


@dataclass(frozen=True, kw_only=True)
class RecipeList:
    """The catalog of recipes."""

    schema: ClassVar[str] = "clifctl.recipes/1"

    recipes: tuple[RecipeRow, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeCheck:
    """A recipe that passed the check of its schema, data and shapes."""

    recipe: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    parameters: Annotated[int, PARAMETERS]


@dataclass(frozen=True, kw_only=True)
class RecipeChecks:
    """Every recipe that was checked."""

    schema: ClassVar[str] = "clifctl.recipes.check/1"

    recipes: tuple[RecipeCheck, ...]
