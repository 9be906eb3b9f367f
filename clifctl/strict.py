"""The base of everything that a person writes in YAML or gives as an option of a neuron or net."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen, strictly typed (no text for a number), unknown names and NaN refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# What fits into the integers of torch and of every file format.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]
Width = Annotated[int, Field(gt=0, le=2**16)]
# A YAML list is a Python list: the container is converted, its entries are not.
Widths = Annotated[tuple[Annotated[Width, Field(strict=True)], ...], Field(strict=False)]
Numbers = Annotated[tuple[Annotated[float, Field(strict=True)], ...], Field(strict=False)]


def _nameable(path: str) -> str:
    if "\0" in path:
        raise ValueError("must be a path, and no path has a zero byte")
    return path


PathText = Annotated[str, AfterValidator(_nameable)]
