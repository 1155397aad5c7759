"""Arrays that start at a cache line, so that no vector crosses two of them."""

from typing import Any

import numpy as np

_LINE = 64  # bytes


def aligned_empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return ``np.empty`` whose memory starts at a multiple of a cache line."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    room = np.empty(count + _LINE // dtype.itemsize, dtype)
    start = -room.ctypes.data % _LINE // dtype.itemsize
    return room[start : start + count].reshape(shape)
