"""Euclidean norms of vectors whose squares may be too large for their dtype."""

import math
from collections.abc import Sequence

import numpy as np

from ..kernels import flat


def largest_size(arrays: Sequence[np.ndarray]) -> float:
    """The largest absolute value in flat arrays; NaN if there is one, 0 if there are no elements."""
    return max((float(np.abs(array).max(initial=0)) for array in arrays), key=lambda size: (size != size, size))


def euclidean(arrays: Sequence[np.ndarray]) -> float:
    """The norm of flat arrays, all together; not finite only if an element is not."""
    norm = math.sqrt(sum(flat.sum_of_squares(array) for array in arrays))
    if math.isfinite(norm):
        return norm
    largest = largest_size(arrays)
    if not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum(flat.sum_of_squares(array / array.dtype.type(largest)) for array in arrays))
