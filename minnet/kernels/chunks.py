"""How flat arrays are divided among threads: in chunks of one size. Short arrays are not divided."""

from collections.abc import Callable
from typing import Any

from .compile import helper

CHUNK = 16384  # elements that a thread takes at a time
SERIAL = 65536  # up to so many, waking a second thread costs more than it brings


def for_size(size: int, serial: Callable[..., Any], parallel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel for flat arrays of ``size`` elements. The size decides, never the number of threads.

    A kernel with a ``prange`` takes half a microsecond more for a call, also where it does not enter the ``prange``.
    """
    return parallel if size > SERIAL else serial


@helper
def chunks(size):
    """Return the number of chunks of an array with so many elements."""
    return (size + CHUNK - 1) // CHUNK


@helper
def bounds(chunk, size):
    """Return the first and the last (exclusive) element of a chunk."""
    return chunk * CHUNK, min(size, (chunk + 1) * CHUNK)
