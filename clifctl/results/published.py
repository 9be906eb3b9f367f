"""What the paper says of a run."""

from dataclasses import dataclass
from typing import Annotated

from clifctl.results.quantities import Quantity


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """A test accuracy that the paper printed: its best epoch on the test set."""

    accuracy_percent: Annotated[
        float, Quantity("the paper's accuracy", "%", 2, short="the paper's [%]")
    ]
    source: Annotated[str, Quantity("published in")]
    row: str
    column: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper says of a run: accuracies, the closest first, and what keeps them from being
    compared, or why it prints none."""

    accuracies: tuple[PublishedNumber, ...] = ()
    note: str | None = None
