"""What the trials of a grid give: estimates over seeds, and paired differences."""

from dataclasses import dataclass, replace
from typing import Annotated, get_type_hints

from clifctl.results.quantities import (
    MEMORY_ENERGY,
    PARAMETERS,
    SOP_ENERGY,
    STEP,
    TRAINING_TIME,
    Quantity,
    quantities_of,
)
from clifctl.results.statistics import Difference, Estimate
from clifctl.results.trials import Quantities


@dataclass(frozen=True, kw_only=True)
class Summary(Quantities[Estimate | None]):
    """What the finished trials of one cell of a grid gave, over their seeds. Each estimate is None
    where no trial is finished, or none measured it. Whole numbers are the largest of the trials.
    The temporal share of the gradient is that of `gradients`, and energies are those of `energy`,
    an inference in its corrected accounting, where they were asked for."""

    seeds: tuple[int, ...]
    step_ms: Annotated[Estimate | None, replace(STEP, of="step_ms_median")]
    parameters: Annotated[int | None, PARAMETERS]
    kept_for_backward_bytes: int | None
    peak_memory_bytes: int | None
    beside_most: Annotated[int | None, Quantity("trials at once", of="beside")]
    temporal_share_percent: Annotated[
        Estimate | None,
        Quantity(
            "temporal share of the gradient", "%", 1, short="temporal share [%]", compared=True
        ),
    ] = None
    sop_energy_nj: Annotated[Estimate | None, SOP_ENERGY] = None
    memory_energy_nj: Annotated[Estimate | None, MEMORY_ENERGY] = None
    train_seconds: Annotated[Estimate | None, TRAINING_TIME] = None


# The quantities of a Summary that are estimated, and not just the largest of the trials.
ESTIMATES = {
    name: quantities_of(Summary)[name]
    for name, hint in get_type_hints(Summary).items()
    if hint == Estimate | None
}
# Paired differences to a baseline over the seeds that both have, by the name of the quantity; None
# where one of them has none. Each quantity is a family of its own for the correction.
Differences = dict[str, Difference | None]


@dataclass(frozen=True, kw_only=True)
class MeanCurve:
    """Mean and standard error over seeds, an entry an epoch; one seed has no standard error."""

    mean: tuple[float, ...]
    standard_error: tuple[float, ...] | None
