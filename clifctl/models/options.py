"""What the recipe's `model` section holds for every net."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from clifctl.models.norm import NormMode

# A YAML list is a Python list: the container is converted, its entries are not.
PositiveInts = Annotated[tuple[Annotated[int, Field(gt=0, strict=True)], ...], Field(strict=False)]


class ModelOptions(BaseModel):
    """Base of a net's options: frozen, strictly typed, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    batch_norm: NormMode = Field(
        "per_step", description="batch norm statistics: of each time step, or of all together"
    )
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout before the read-out")
