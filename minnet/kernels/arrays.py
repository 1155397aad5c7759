"""Arrays whose vectors don't straddle cache lines."""

from typing import Any

import numpy as np

_LINE = 64  # bytes


def aligned_empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """``np.empty``, starting at a multiple of a cache line."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    room = np.empty(count + _LINE // dtype.itemsize, dtype)
    start = -room.ctypes.data % _LINE // dtype.itemsize
    return room[start : start + count].reshape(shape)
