"""Measures of class probabilities against labels."""

from typing import Any

import numpy as np

from ..base import checks

BINS = 15  # of the calibration error, as in Guo et al. 2017
_LEAST = np.finfo(np.float64).tiny  # smallest argument of a logarithm


def log_losses(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return -log of the probability of the correct class for each sample, (n,)."""
    return -np.log(np.maximum(probabilities[np.arange(len(y)), y], _LEAST))


def calibration_error(probabilities: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of class probabilities. Guo et al. 2017, equations 2 to 5.

    The probability of the predicted class decides in which of ``bins`` equal intervals ((m - 1) / bins, m / bins] a
    sample is. The error is the sum over the bins of |accuracy - mean probability|, weighted by the bin's share of the
    samples.

    Args:
        probabilities: shape (n, classes).
        y: labels, shape (n,).
        bins: number of intervals.

    Returns:
        The error, from 0 to 1.
    """
    confidence, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    return float(abs(gaps_by_bin(confidence, hits, bins).sum(axis=0)).sum() / len(y))


def gaps_by_bin(confidence: np.ndarray, hits: np.ndarray, bins: int) -> np.ndarray:
    """Return an array (n, bins) with hit - confidence of each sample in the column of its bin and 0 elsewhere."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.zeros((len(hits), bins))
    gaps[np.arange(len(hits)), place] = hits - confidence
    return gaps


def as_labels(who: str, y: Any, classes: int | None = None) -> np.ndarray:
    """Return labels (n,) as int64; raise TypeError or ValueError for anything else."""
    labels = checks.array(who, "y", y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{who}: expected integer labels; got dtype {labels.dtype}")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{who}: expected labels of shape (n,), at least one; got shape {labels.shape}")
    if classes is not None and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"{who}: expected labels from 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)
