"""What is computed from the runs of a benchmark: times to a target, intervals, shares. Pure functions of numbers.

A time is counted in gradient evaluations. A run that never reaches the target, or that diverges, has time infinity, and
infinity is a miss wherever it stands: a rule that misses is not level with another that misses.
"""

import math
from collections.abc import Sequence

import numpy as np

FACTORS = tuple(np.linspace(0, 4, 81))  # of time, at which profiles are drawn


def time_to_target(evaluations: np.ndarray, values: np.ndarray, target: float, budget: float = math.inf) -> float:
    """Return the gradient evaluations at the first measured value that is not above the target.

    Args:
        evaluations: gradient evaluations at each measurement, (n,).
        values: the measured losses, (n,). NaN and infinity are misses.
        target: the loss to reach.
        budget: gradient evaluations after which reaching the target does not count.

    Returns:
        The time; infinity for a miss.
    """
    reached = np.flatnonzero((values <= target) & (evaluations <= budget))  # NaN compares as False
    return float(evaluations[reached[0]]) if len(reached) else math.inf


def middle(values: Sequence[float] | np.ndarray) -> float:
    """Return the median, where NaN counts as infinity. Of two middle values it is the larger if they differ in kind."""
    ordered = np.sort(np.where(np.isnan(values), math.inf, values))
    if not len(ordered):
        return math.nan
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(high if math.isinf(low) or math.isinf(high) else (low + high) / 2)


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return an interval that contains the median of the distribution with at least 95 % probability.

    It lies between two order statistics, k-th from below and k-th from above, where k is the largest for which a
    binomial variable of n tosses stays below k with probability at most 2.5 %. It makes no assumption on the
    distribution, and holds for few values and for infinite ones, where the bootstrap does not. With fewer than six
    values no such k exists, and the interval has no ends.

    Source: David and Nagaraja 2003, "Order statistics", section 7.1.
    """
    n = len(values)
    below, k = 0.0, 0
    while (below := below + math.comb(n, k) / 2**n) <= 0.025:
        k += 1
    if not k:
        return -math.inf, math.inf
    ordered = np.sort(np.where(np.isnan(values), math.inf, values))
    return float(ordered[k - 1]), float(ordered[n - k])


def differences(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return values minus reference, seed by seed. Two misses differ by 0: neither is ahead of the other."""
    values, reference = (np.where(np.isnan(v), math.inf, v) for v in (values, reference))
    both = np.isinf(values) & np.isinf(reference)
    return np.where(both, 0.0, np.where(both, 0.0, values) - np.where(both, 0.0, reference))


BETTER, WORSE, NOT_TOLD_APART = "better", "worse", "not told apart"


def judged(values: np.ndarray, reference: np.ndarray) -> str:
    """Return whether values (seeds,) are below those of a reference on the same seeds, above, or not told apart."""
    low, high = median_interval(differences(values, reference))
    return BETTER if high < 0 else WORSE if low > 0 else NOT_TOLD_APART


def ratios(times: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return times over those of a reference. A miss is infinity, also where the reference misses too."""
    missed = ~np.isfinite(times)
    with np.errstate(invalid="ignore"):
        return np.where(missed, math.inf, np.where(missed, 1.0, times) / reference)


def profile(times: np.ndarray, reference: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """Return the share of cells whose time is at most each factor times that of a fixed reference.

    The reference is fixed because dividing by the fastest entrant reorders the others when one is left out.

    Args:
        times, reference: times to the target, (problems, seeds).
        factors: the factors, (n,).

    Returns:
        Shares, (n,).

    Source: Dolan and More 2002, with a fixed reference.
    """
    found = ratios(times, reference)
    return np.array([(np.isfinite(found) & (found <= factor)).mean() for factor in factors])


def best_of(scores: np.ndarray, budget: int, rng: np.random.Generator, draws: int = 1000) -> np.ndarray:
    """Return the best score of ``budget`` trials drawn without replacement, (draws,); NaN counts as infinity."""
    scores = np.where(np.isnan(scores), math.inf, scores)
    chosen = rng.random((draws, len(scores))).argsort(axis=1)[:, :budget]
    return scores[chosen].min(axis=1)


def width(rates: np.ndarray, scores: np.ndarray, slack: float = 0.1) -> float:
    """Return over how many decades of the rate the tried trials stay within ``slack`` of the best score.

    It is the distance between the smallest and the largest such rate, 0 for one; NaN if no trial is finite.
    """
    finite = np.isfinite(scores)
    if not finite.any():
        return math.nan
    good = rates[finite & (scores <= (1 + slack) * scores[finite].min())]
    return float(np.log10(good.max() / good.min()))


def target_of(finals: Sequence[float], reach: int = 3, slack: float = 0.05) -> float:
    """Return the loss that ``reach`` of the reference rules reach, given the median final loss of each, plus a slack.

    Raises:
        ValueError: if fewer of them have a finite loss.
    """
    ordered = sorted(final for final in finals if math.isfinite(final))
    if len(ordered) < reach:
        raise ValueError(f"target_of: expected {reach} finite losses of reference rules; got {list(finals)}")
    return ordered[reach - 1] * (1 + slack)
