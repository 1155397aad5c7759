"""Arrays that start at a cache line, so that no vector crosses two of them; addresses of arrays."""

import ctypes
import math
from typing import Any

import numpy as np

_LINE = 64  # bytes


def aligned_empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return ``np.empty`` whose memory starts at a multiple of a cache line."""
    dtype = np.dtype(dtype)
    count = math.prod(shape) if isinstance(shape, tuple) else shape
    room = np.empty(count + _LINE // dtype.itemsize, dtype)
    start = -address_of(room) % _LINE // dtype.itemsize
    return room[start : start + count].reshape(shape)


def address_of(array: np.ndarray) -> int:
    """Return the address of the first element: ``array.ctypes.data``, which takes several times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]  # an array is a buffer
    except (TypeError, ValueError, BufferError):  # read-only, not contiguous or empty
        return array.ctypes.data
