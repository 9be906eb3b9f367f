"""Numbers over seeds: what is known of a mean, and of a difference between two."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds, and the value of each (results of older versions lack them). One seed has
    no standard error: it is None."""

    mean: float
    standard_error: float | None
    n: int
    values: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference over seeds that both sides have: `mean` is that of value - baseline.

    The interval and the p value (two-sided, no difference) are those of Student's t with n - 1
    degrees of freedom. They are None for one seed, and where every seed gives the same difference,
    since no spread was seen. `p_value_holm` is corrected for the number of comparisons, `wins`
    counts the seeds with value > baseline.
    """

    n: int
    mean: float
    standard_error: float | None
    interval_95_low: float | None
    interval_95_high: float | None
    p_value: float | None
    p_value_holm: float | None
    wins: int
    ties: int
