"""How every kernel is compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit

# Not fastmath=True: that also promises "no NaN, no infinity", and isfinite() would then lie.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, once for each combination of dtypes, and keep the machine code on disk.

    ``error_model="numpy"``: a division by zero gives infinity; Python's check for it would stop a loop
    from becoming vector code.
    """
    return njit(function, cache=True, fastmath=FAST, error_model="numpy")


def exact_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel whose divisions stay divisions: "arcp" makes x / c into x * (1 / c), which is off by a rounding."""
    return njit(function, cache=True, fastmath=FAST - {"arcp"}, error_model="numpy")


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel with a ``prange`` over tasks that write to places of their own."""
    return njit(function, cache=True, fastmath=FAST, error_model="numpy", parallel=True)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Part of a kernel in the same file: compiled into it, not kept on disk by itself, which would only take time."""
    return njit(function, fastmath=FAST, error_model="numpy")
