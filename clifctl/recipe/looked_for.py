"""What a recipe leaves to be found by a look at the names of the data's files."""

from typing import Any

from clifctl.data import DATASETS
from clifctl.errors import DataError
from clifctl.recipe.problems import Problem


def with_found(document: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """`document` with what its data set finds where that is not given; what keeps it from being
    found is added to `problems`."""
    section = document.get("data")
    name = section.get("name") if isinstance(section, dict) else None
    row = DATASETS.get(name) if isinstance(name, str) else None
    if not isinstance(section, dict) or row is None:
        return document
    try:
        return {**document, "data": {**section, **row.found(section)}}
    except DataError as missing:
        for key in row.looked_for:
            if section.get(key) is None:
                said = f": not given, and not found by looking: {missing.message}"
                problems.append(Problem(f"data.{key}", said))
        return document
