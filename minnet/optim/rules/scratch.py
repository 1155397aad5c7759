"""Scratch memory for rules that need more than their state."""

import math
import threading

import numpy as np

from ...kernels.arrays import aligned_empty
from ...kernels.vector.product import new_work


class _Scratch(threading.local):
    """Scratch memory of one thread. It grows to the largest tensor so far and holds nothing between two calls."""

    def __init__(self) -> None:
        self.flat: dict[np.dtype, np.ndarray] = {}
        self.work: dict[np.dtype, np.ndarray] = {}


_scratch = _Scratch()


def scratch(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return arrays of these shapes, with undefined contents. The next call may return the same memory."""
    sizes = [math.prod(shape) for shape in shapes]
    flat = _scratch.flat.get(dtype)
    if flat is None or flat.size < sum(sizes):
        flat = _scratch.flat[dtype] = aligned_empty(sum(sizes), dtype)
    arrays, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(flat[start : start + size].reshape(shape))
        start += size
    return arrays


def product_work(dtype: np.dtype) -> np.ndarray:
    """Return the memory that matrix products need."""
    if dtype not in _scratch.work:
        _scratch.work[dtype], _ = new_work(dtype)
    return _scratch.work[dtype]
