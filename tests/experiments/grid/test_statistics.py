"""Statistics over seeds, against scipy and against their definitions."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clifctl.experiments.grid.statistics import estimate, holm, paired_difference, with_holm
from clifctl.results.statistics import Difference


def samples(n: int, effect: float, seed: int) -> tuple[list[float], list[float]]:
    """Pairs with a large spread in common and a known effect."""
    generator = np.random.default_rng(seed)
    common = generator.normal(95.0, 2.0, n)
    values = common + effect + generator.normal(0.0, 0.5, n)
    return values.tolist(), (common + generator.normal(0.0, 0.5, n)).tolist()


@pytest.mark.parametrize("n", [2, 3, 8, 30])
@pytest.mark.parametrize("effect", [0.0, 0.7, -2.0])
def test_a_paired_difference_is_scipys(n: int, effect: float) -> None:
    values, baseline = samples(n, effect, seed=n)
    found = paired_difference(values, baseline)
    reference = stats.ttest_rel(values, baseline)
    interval = reference.confidence_interval(0.95)
    assert found.n == n
    assert found.mean == pytest.approx(np.subtract(values, baseline).mean(), rel=1e-12)
    assert found.standard_error == pytest.approx(stats.sem(np.subtract(values, baseline)))
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    assert found.interval_95_low == pytest.approx(interval.low, rel=1e-9)
    assert found.interval_95_high == pytest.approx(interval.high, rel=1e-9)
    assert found.wins == sum(v > b for v, b in zip(values, baseline, strict=True))


def test_an_estimate_is_the_mean_and_its_standard_error() -> None:
    values = [96.2, 97.4, 95.0, 96.8]
    found = estimate(values)
    assert found.mean == pytest.approx(96.35)
    assert found.standard_error == pytest.approx(stats.sem(values))
    assert found.n == 4


def test_a_known_effect_is_found_and_covered_as_often_as_promised() -> None:
    covered = false_alarms = powerful = 0
    for seed in range(400):
        values, baseline = samples(8, 0.7, seed)
        found = paired_difference(values, baseline)
        assert found.interval_95_low is not None
        assert found.interval_95_high is not None
        covered += found.interval_95_low < 0.7 < found.interval_95_high
        powerful += found.p_value is not None and found.p_value < 0.05
        nothing = paired_difference(*samples(8, 0.0, seed))
        false_alarms += nothing.p_value is not None and nothing.p_value < 0.05
    # 400 draws: the expected 380 and 20 with three standard deviations of the binomial.
    assert 367 <= covered <= 393
    assert 7 <= false_alarms <= 33
    # d = 0.7 / 0.707, n = 8: the power of the paired t test is 0.67.
    assert 0.58 < powerful / 400 < 0.76


def test_one_seed_has_no_error_bar_and_no_p_value() -> None:
    assert estimate([96.2]).standard_error is None
    found = paired_difference([97.0], [96.0])
    assert (found.mean, found.n, found.wins) == (1.0, 1, 1)
    unknown = (found.standard_error, found.interval_95_low, found.interval_95_high)
    assert unknown == (None, None, None)
    assert (found.p_value, found.p_value_holm) == (None, None)


@pytest.mark.parametrize("step", [0.0, 0.4])
def test_equal_differences_show_no_spread_and_no_p_value(step: float) -> None:
    baseline = [96.2, 96.8, 95.4]
    found = paired_difference([value + step for value in baseline], baseline)
    assert found.mean == pytest.approx(step)
    assert (found.p_value, found.interval_95_low) == (None, None)
    assert (found.wins, found.ties) == ((3, 0) if step else (0, 3))


def test_what_cannot_be_paired_is_refused() -> None:
    for values, baseline in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError, match="cannot be paired"):
            paired_difference(values, baseline)
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


def test_holm_by_hand() -> None:
    # sorted: .01 * 4, .02 * 3, .03 * 2 -> not below .06, .5 * 1
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx((0.06, 0.5, 0.04, 0.06))
    assert holm([0.02, None, 0.01]) == (0.02, None, 0.02)
    assert holm([None]) == (None,)
    assert holm([]) == ()


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """The definition: a hypothesis falls where Bonferroni rejects every set that contains it."""
    everything = range(len(p_values))
    sets = [c for size in range(1, len(p_values) + 1) for c in combinations(everything, size)]
    for index, corrected in enumerate(holm(p_values)):
        worst = max(len(s) * min(p_values[i] for i in s) for s in sets if index in s)
        assert corrected == pytest.approx(min(1.0, worst))


def test_a_family_keeps_its_order_and_its_gaps() -> None:
    one = paired_difference(*samples(8, 2.0, 1))
    other = paired_difference(*samples(8, 0.0, 2))
    first, gap, last = with_holm([other, None, one])
    assert gap is None
    assert isinstance(first, Difference)
    assert isinstance(last, Difference)
    assert one.p_value is not None
    assert last.p_value_holm == pytest.approx(2 * one.p_value)
    assert first.p_value_holm == other.p_value
