"""What the `recipes` commands return."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from clifctl.results.quantities import PARAMETERS, TIMESTEPS, Quantity
from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One recipe of the catalog. `paper`: the tables and figures that it reproduces, in part."""

    recipe: str
    title: str
    data: str
    model: str
    neuron: str
    timesteps: Annotated[int, TIMESTEPS]
    paper: Annotated[str | None, Quantity("the paper's")] = None


@dataclass(frozen=True, kw_only=True)
class RecipeList(Result):
    """The catalog of recipes."""

    schema: ClassVar[str] = "clifctl.recipes/1"

    recipes: tuple[RecipeRow, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeCheck:
    """Whether a recipe holds: schema, data and shapes. `problem` is None where it does; otherwise
    no more than `recipe`, as it was asked for, is known."""

    recipe: str
    problem: str | None = None
    data: str | None = None
    model: str | None = None
    neuron: str | None = None
    timesteps: Annotated[int | None, TIMESTEPS] = None
    parameters: Annotated[int | None, PARAMETERS] = None


@dataclass(frozen=True, kw_only=True)
class RecipeChecks(Result):
    """Every recipe that was checked."""

    schema: ClassVar[str] = "clifctl.recipes.check/1"

    recipes: tuple[RecipeCheck, ...]


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """A key of a recipe. `variants`: the data sets, models or neurons that have it, all of one
    section; empty where every recipe has it."""

    key: str
    type: str
    range: Annotated[str, Quantity("what it may be")]
    default: str
    description: str
    variants: Annotated[tuple[str, ...], Quantity("data sets, models or neurons that have it")]


@dataclass(frozen=True, kw_only=True)
class RecipeKeys(Result):
    """Keys of recipes; `of`: the data set, model or neuron whose keys alone were asked for."""

    schema: ClassVar[str] = "clifctl.recipes.keys/1"

    of: str | None
    keys: tuple[KeyRow, ...]
