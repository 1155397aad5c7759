"""Scores of a benchmark against tables computed by hand: hit, miss, tie, all miss, NaN."""

import math

import numpy as np
import pytest

from minnet.benchmark import scores

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("losses", "target", "budget", "expected"),
    [
        ([3.0, 2.0, 1.0], 2.0, INF, 20.0),  # a hit, at a loss equal to the target
        ([3.0, 2.0, 1.0], 0.5, INF, INF),  # a miss
        ([3.0, 1.0, 3.0], 2.0, INF, 20.0),  # what comes after does not matter
        ([NAN, NAN, 1.0], 2.0, INF, 30.0),
        ([NAN, INF, NAN], 2.0, INF, INF),
        ([3.0, 2.0, 1.0], 1.0, 25.0, INF),  # too late
        ([3.0, -INF, 1.0], 2.0, INF, 20.0),
    ],
)
def test_time_to_target(losses, target, budget, expected):
    assert scores.time_to_target(np.array([10.0, 20.0, 30.0]), np.array(losses), target, budget) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], 2),
        ([1, 2, 3, 4], 2.5),
        ([1, INF, INF], INF),
        ([1, 2, INF, INF], INF),
        ([NAN, 1, 2], 2),
        ([INF], INF),
    ],
)
def test_median_with_misses(values, expected):
    assert scores.middle(values) == expected


def test_the_interval_of_ten_is_from_the_second_to_the_ninth():
    # P(at most one of ten tosses) = 11 / 1024 = 1.1 %, P(at most two) = 5.5 %.
    assert scores.median_interval([5, 3, 1, 2, 4, 10, 9, 8, 7, 6]) == (2, 9)
    assert scores.median_interval([1, 2, 3, 4, 5, 6]) == (1, 6)  # 1 / 64
    assert scores.median_interval([1, 2, 3, 4, 5]) == (-INF, INF)  # 1 / 32 is above 2.5 %
    assert scores.median_interval([1, 2, 3, 4, 5, 6, 7, 8, NAN, INF]) == (2, INF)


def test_the_interval_covers_the_median_of_skewed_values():
    rng = np.random.default_rng(1)
    intervals = [scores.median_interval(rng.exponential(size=10)) for _ in range(2000)]
    covered = np.mean([low <= math.log(2) <= high for low, high in intervals])
    assert abs(covered - (1 - 2 * 11 / 1024)) < 4 * math.sqrt(0.0215 * 0.9785 / 2000)


def test_two_misses_are_no_difference():
    found = scores.differences(np.array([INF, 1.0, INF, NAN, 4.0]), np.array([INF, INF, 2.0, INF, 3.0]))
    assert found.tolist() == [0.0, -INF, INF, 0.0, 1.0]


def test_verdicts():
    ten = np.arange(10.0)
    assert scores.judged(ten, ten) == "not told apart"
    assert scores.judged(ten, ten + 1) == "better"
    assert scores.judged(np.full(10, INF), ten) == "worse"
    assert scores.judged(np.full(10, INF), np.full(10, INF)) == "not told apart"
    assert scores.judged(ten[:5], ten[:5] + 1) == "not told apart"  # too few seeds to say anything


def test_rules_that_are_equal_are_told_apart_in_at_most_five_of_a_hundred_draws():
    rng = np.random.default_rng(2)
    # Time is coarse and often infinite, as it is in a benchmark.
    first, second = (np.where(rng.random((100, 10)) < 0.2, INF, rng.integers(5, 9, (100, 10))) for _ in range(2))
    apart = sum(scores.judged(a, b) != "not told apart" for a, b in zip(first, second, strict=True))
    assert apart <= 5


def test_ratios_and_profile():
    times = np.array([[10.0, 20.0], [INF, INF], [40.0, INF]])
    reference = np.array([[10.0, 10.0], [INF, 10.0], [10.0, INF]])
    assert scores.ratios(times, reference).tolist() == [[1.0, 2.0], [INF, INF], [4.0, INF]]
    # Infinity over infinity is a miss at any factor; a hit where the reference misses counts at any factor.
    assert scores.profile(times, reference, [1, 2, 4, INF]).tolist() == [1 / 6, 2 / 6, 3 / 6, 3 / 6]
    assert scores.profile(np.array([[5.0]]), np.array([[INF]]), [0.5, 1]).tolist() == [1, 1]
    assert scores.profile(np.full((2, 2), INF), np.full((2, 2), INF), [1, INF]).tolist() == [0, 0]


def test_best_of_a_budget():
    rng = np.random.default_rng(0)
    trials = np.array([3.0, 1.0, NAN, 2.0])
    assert (scores.best_of(trials, 4, rng) == 1).all()
    alone = scores.best_of(trials, 1, rng, 4000)
    assert abs((alone == INF).mean() - 0.25) < 0.03
    # Both of two trials miss the best with probability 1 / 2.
    assert abs((scores.best_of(trials, 2, rng, 4000) == 1).mean() - 0.5) < 0.03


def test_width_in_decades():
    rates, losses = np.array([1e-3, 1e-2, 1e-1, 1.0]), np.array([1.09, 1.0, 1.1, INF])
    assert scores.width(rates, losses) == pytest.approx(2)
    assert scores.width(rates, np.array([5.0, 1.0, 5.0, NAN])) == 0
    assert math.isnan(scores.width(rates, np.full(4, INF)))


def test_a_target_is_what_three_of_four_reach():
    assert scores.target_of([4.0, 1.0, 3.0, 2.0]) == pytest.approx(3 * 1.05)
    assert scores.target_of([INF, 1.0, 3.0, 2.0]) == pytest.approx(3 * 1.05)
    with pytest.raises(ValueError, match="expected 3 finite losses"):
        scores.target_of([INF, NAN, 3.0, 2.0])
