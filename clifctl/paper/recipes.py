"""Which of clifctl's recipes has the protocol of which of the authors' runs."""

from dataclasses import dataclass
from functools import cache

from clifctl.paper.tables import read


@dataclass(frozen=True, kw_only=True)
class PaperRecipe:
    """A shipped recipe with the authors' protocol for a net on a data set. `starred`: its number is
    the second one of Table 1. `tables` are those with rows of that net."""

    recipe: str
    data: str
    model: str
    augmentation: str
    starred: bool
    tables: tuple[int, ...]


def paper_recipe(data: str, model: str, *, strong: bool = False) -> PaperRecipe | None:
    """The recipe for a net on a data set, with plain or with strong augmentation; None where the
    authors ran none. Names are clifctl's."""
    key = (data, model, "strong" if strong else "plain")
    for one in paper_recipes():
        if (one.data, one.model, one.augmentation) == key:
            return one
    return None


@cache
def paper_recipes() -> tuple[PaperRecipe, ...]:
    """All of them, in the order of the tables."""
    return tuple(
        PaperRecipe(**{**row, "tables": tuple(row["tables"])}) for row in read("recipes.yaml")
    )
