"""Splits of the data into parts, for training, validation and test."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..base import checks, streams
from ..base.guide import guided
from .arrays import Data, check_data


@guided
def split(data: Data, fractions: Sequence[float], *, seed: int = 0, stratified: bool = False) -> list[Data]:
    """Shuffle x and y together, and split them into parts without overlap.

    Args:
        data: pair (x, y).
        fractions: fraction of the samples in each part, above 0. Their sum is at most 1; remaining samples are dropped.
            Boundaries are rounded.
        seed: seed of the order.
        stratified: whether each class of y has the same share of every part as of the data, up to rounding. The lengths
            of the parts do not change. y must be labels of shape (n,).

    Returns:
        A list of pairs (x, y) of new arrays, one for each fraction.

    Raises:
        ValueError: if a part would be empty, or ``stratified`` is set and y does not have shape (n,).
        TypeError: if ``stratified`` is set and y is not made of labels.
    """
    x, y = check_data("split", data)
    if not isinstance(fractions, Iterable):
        raise TypeError(f"split: expected a sequence of fractions; got {fractions!r}")
    shares = [checks.positive("split", "each fraction", fraction) for fraction in fractions]
    if not shares or math.fsum(shares) > 1 + 1e-9:
        raise ValueError(f"split: expected fractions that sum to at most 1; got {tuple(fractions)}")
    stream = streams.generator(checks.count("split", "seed", seed, least=0), "split")
    order = stream.permutation(len(x))
    if checks.truth("split", "stratified", stratified):
        order = _stratified(order, y)
    ends = [round(len(x) * math.fsum(shares[: i + 1])) for i in range(len(shares))]
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    if any(part.size == 0 for part in parts):
        raise ValueError(f"split: expected every part to get a sample; got {len(x)} samples for {tuple(fractions)}")
    if stratified:
        parts = [stream.permutation(part) for part in parts]
    return [(x[part], y[part]) for part in parts]


def _stratified(order: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the samples of ``order``, rearranged so that each class is spread evenly."""
    if y.ndim != 1:
        raise ValueError(f"split: expected labels of shape (n,) to stratify by; got y of shape {y.shape}")
    if y.dtype.kind not in "iubUS":
        raise TypeError(f"split: expected labels to stratify by; got y of dtype {y.dtype}")
    _, classes, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    place = np.empty(len(y))
    for label, count in enumerate(counts):
        place[classes == label] = (np.arange(count) + 0.5) / count
    return order[np.argsort(place, kind="stable")]
