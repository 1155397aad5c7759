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
