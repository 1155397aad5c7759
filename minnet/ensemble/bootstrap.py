"""The bootstrap: draws with replacement, and simultaneous intervals for differences from a reference."""

import numpy as np


def resampled(rng: np.random.Generator, n: int, draws: int) -> np.ndarray:
    """Draw n of n items with replacement, several times; return the share of each item, (draws, n)."""
    drawn = rng.integers(n, size=(draws, n))
    drawn += n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(-1, n) / n


def simultaneous_widths(away: np.ndarray) -> np.ndarray:
    """Return half the width of each of several 95 % intervals that hold together.

    The best of many equal entries looks better than it is, so its difference has to be judged among all of them (White
    2000, "A reality check for data snooping"). Each difference is measured in units of its standard deviation s over
    the draws, as in Romano and Wolf 2005. The intervals extend c s to both sides, where c is the 95 % quantile, over
    the draws, of the largest deviation of any difference from its mean.

    Args:
        away: differences from the reference in each draw, (entries, draws).

    Returns:
        Half the width for each entry, (entries,).
    """
    away = away - away.mean(axis=1, keepdims=True)
    deviations = away.std(axis=1)
    # The difference of an entry that equals the reference in every draw has deviation 0.
    units = np.divide(away.T, deviations, out=np.zeros_like(away.T), where=deviations > 1e-12)
    return np.quantile(abs(units).max(axis=1), 0.95) * deviations
