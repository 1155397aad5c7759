"""Parts of the data: for training, validation and test."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .. import checks, streams
from .arrays import Data, check_data


def split(data: Data, fractions: Sequence[float], *, seed: int = 0, stratified: bool = False) -> list[Data]:
    """Shuffle (x, y) together and cut it into parts without overlap, one a fraction; returns new arrays.

    Args:
        data: the pair (x, y).
        fractions: above 0, with a sum of at most 1 (what is left over is dropped); boundaries are rounded.
        seed: of the order.
        stratified: give each class of y the same share of every part as it has of the data, up to rounding. Parts have
            the same lengths as without it. y must then be labels of shape (n,).

    Raises:
        ValueError: a part would be empty, or y has another shape than (n,) and ``stratified`` is set.
        TypeError: ``stratified`` is set and y is not made of labels.
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
    """The samples of ``order`` so that each class is spread evenly from the first to the last."""
    if y.ndim != 1:
        raise ValueError(f"split: expected labels of shape (n,) to stratify by; got y of shape {y.shape}")
    if y.dtype.kind not in "iubUS":
        raise TypeError(f"split: expected labels to stratify by; got y of dtype {y.dtype}")
    _, classes, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    place = np.empty(len(y))
    for label, count in enumerate(counts):
        place[classes == label] = (np.arange(count) + 0.5) / count
    return order[np.argsort(place, kind="stable")]
