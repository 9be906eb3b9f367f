"""The base of everything that a person writes in YAML or gives as an option of a neuron or net."""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from clifctl.errors import as_listed

# The kind of a validator's error, as it begins -> what is said of it.
_WORDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a number that is finite",
    "bool": "must be true or false",
    "string": "must be text",
    "tuple": "must be a list, as [1, 2]",
    "list": "must be a list, as [1, 2]",
    "model": "must be a mapping of keys",
    "dataclass": "must be a mapping of keys",
    "dict": "must be a mapping of keys",
    "none_required": "must be null",
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "unexpected_keyword": "is not known",
}


def in_words(error: ErrorDetails) -> str:
    """What is wrong with a value, for the person who wrote it."""
    kind = error["type"]
    for start, words in _WORDS.items():
        if kind == start or kind.startswith(f"{start}_"):
            return words
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return message.replace("greater than or equal to", "at least").replace(
        "less than or equal to", "at most"
    )


class Strict(BaseModel):
    """Frozen, strictly typed (no text for a number), unknown names and NaN refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_listed(cls, value: Any, info: ValidationInfo) -> Any:
        """One of several names may be written in any case: `AdamW` is `adamw`."""
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(value, str) and field is not None:
            choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
            return as_listed(value, choices)
        return value


# torch's generator on the CPU takes the last 32 bits of a seed.
SEEDS = 2**32
# The context in which a document that a run was made with is read: it may hold a larger seed.
OF_A_RUN = {"of_a_run": True}


def _distinct(seed: int, info: ValidationInfo) -> int:
    if seed >= SEEDS and info.context != OF_A_RUN:
        raise ValueError(
            f"must be less than {SEEDS} (2^32): beyond, seeds come again, {seed} is {seed % SEEDS}"
        )
    return seed


Seed = Annotated[
    int,
    Field(ge=0, lt=2**63, json_schema_extra={"exclusiveMaximum": SEEDS}),
    AfterValidator(_distinct),
]
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
