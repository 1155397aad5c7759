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


def rows(array: np.ndarray) -> np.ndarray:
    """View all axes but the last as one. An array of two axes is returned as it is, which saves most of the time."""
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


def flat(array: np.ndarray) -> np.ndarray:
    """View all axes as one. An array of one axis is returned as it is."""
    return array if array.ndim == 1 else array.reshape(-1)


def address_of(array: np.ndarray) -> int:
    """Return the address of the first element: ``array.ctypes.data``, which takes several times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]  # an array is a buffer
    except (TypeError, ValueError, BufferError):  # read-only, not contiguous or empty
        return array.ctypes.data
