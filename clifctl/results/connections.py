"""How the connections of a net ran."""

from dataclasses import dataclass
from typing import Annotated, Literal

from clifctl.results.quantities import Quantity

How = Literal["event-driven", "dense"]
# Why the connections of older results are dense.
DENSE_THEN = "connections were dense before there was a choice"


@dataclass(frozen=True, kw_only=True)
class ConnectionPaths:
    """How one connection of a net ran in a training step: forward, the gradient of its weights and
    that of its input, each with its reason; None for what did not run.

    `connection` says what it is, `maps` the size of the maps that it reads. Of its inputs
    `active_percent` were not 0, and of the surrogate's windows of the neurons that gave them
    `open_percent` were open, where that was counted.
    """

    layer: str
    connection: str
    maps: tuple[int, ...]
    active_percent: Annotated[float | None, Quantity("active inputs", "%", 1)]
    open_percent: Annotated[float | None, Quantity("open windows", "%", 1)]
    forward: How | None
    forward_reason: str | None
    weight_gradient: How | None
    weight_gradient_reason: str | None
    input_gradient: How | None
    input_gradient_reason: str | None

    @property
    def in_words(self) -> str:
        """How each direction ran and why, in one line; directions that agree are named together."""
        ran = (
            ("forward", self.forward, self.forward_reason),
            ("weight gradient", self.weight_gradient, self.weight_gradient_reason),
            ("input gradient", self.input_gradient, self.input_gradient_reason),
        )
        alike: dict[str, list[str]] = {}
        for direction, how, why in ran:
            if how is not None:
                alike.setdefault(f"{how} ({why})", []).append(direction)
        said = "; ".join(f"{', '.join(directions)} {how}" for how, directions in alike.items())
        return f"{self.connection}: {said}"
