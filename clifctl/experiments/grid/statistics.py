"""Statistics over seeds: means with standard errors, paired differences, Holm's correction."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clifctl.results.statistics import Difference, Estimate

CONFIDENCE = 0.95
SIGNIFICANT = 0.05


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error (sample standard deviation over the root of n) of `values`.

    Raises ValueError for no values at all.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    return Estimate(
        mean=float(np.mean(values)),
        standard_error=_error(values),
        n=len(values),
        values=tuple(values),
    )


def interval_95(known: Estimate) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean, Student's t; None for one value, or where all are equal."""
    if not known.standard_error:
        return None, None
    half = known.standard_error * _t_quantile((1 + CONFIDENCE) / 2, known.n - 1)
    return known.mean - half, known.mean + half


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The difference values - baseline, pair by pair; both have one entry a seed, in one order.

    Interval and p value are those of the paired t test (Student 1908), two-sided. Raises ValueError
    for sequences that cannot be paired.
    """
    if len(values) != len(baseline) or not values:
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")
    differences = [value - base for value, base in zip(values, baseline, strict=True)]
    n = len(differences)
    mean, error = float(np.mean(differences)), _error(differences)
    # Rounding alone can make a spread of equal differences: 97.2 - 96.8 and 96.6 - 96.2.
    rounding = 8 * sys.float_info.epsilon * max(map(abs, (*values, *baseline)))
    low = high = p_value = None
    if error is not None and error > rounding:
        half = error * _t_quantile((1 + CONFIDENCE) / 2, n - 1)
        low, high = mean - half, mean + half
        p_value = _two_sided_p(mean / error, n - 1)
    return Difference(
        n=n,
        mean=mean,
        standard_error=error,
        interval_95_low=low,
        interval_95_high=high,
        p_value=p_value,
        p_value_holm=None,
        wins=sum(difference > rounding for difference in differences),
        ties=sum(abs(difference) <= rounding for difference in differences),
    )


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """P values corrected by Holm's method (1979), which holds the chance of any false difference
    below the level, whatever the dependence between the tests. None is no test and stays None."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[index] = largest
    return tuple(corrected)


def with_holm(differences: Sequence[Difference | None]) -> tuple[Difference | None, ...]:
    """The same differences as one family of comparisons, each with its corrected p value."""
    corrected = holm([None if one is None else one.p_value for one in differences])
    return tuple(
        None if one is None else replace(one, p_value_holm=p)
        for one, p in zip(differences, corrected, strict=True)
    )


def _error(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _two_sided_p(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))
