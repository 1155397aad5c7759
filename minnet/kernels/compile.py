"""How every kernel is compiled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit

from .denormals import FlushingCompiler

# Not fastmath=True: that also promises "no NaN, no infinity", and isfinite() would then lie.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def _source_stamp() -> tuple[float, int]:
    """Changes with any file of this package."""
    files = [path.stat() for path in Path(__file__).parent.glob("*.py")]
    return max(file.st_mtime for file in files), sum(file.st_size for file in files)


# Helpers are not called from Python; ways to do so would only take time to compile.
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_STAMP = (*_source_stamp(), os.environ.get("MINNET_VECTOR_BYTES", ""))


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    compiled = njit(function, cache=True, error_model="numpy", pipeline_class=FlushingCompiler, **options)
    if not config.DISABLE_JIT:  # else it is the function itself
        # Numba throws kept code away when the kernel's own file changes. Helpers come from other files too.
        compiled._cache._cache_file._source_stamp = _STAMP
    return compiled


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, once for each combination of dtypes, and keep the machine code on disk.

    Its arithmetic takes denormal numbers for zeros: see ``denormals``.

    ``error_model="numpy"``: a division by zero gives infinity; Python's check for it would stop a loop
    from becoming vector code.
    """
    return _compile(function, fastmath=FAST)


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel with a ``prange`` over tasks that write to places of their own."""
    return _compile(function, fastmath=FAST, parallel=True)


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Part of kernels: compiled into them, always inlined.

    A helper of its own would be in every kernel that calls it, optimised differently in each, and all of a process
    would call the copy that was loaded first: sums would then depend on what else has run.
    """
    return njit(function, fastmath=FAST, error_model="numpy", forceinline=True, **_NO_WRAPPERS)


def routine(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper too large to be inlined everywhere, whose copies agree: it moves numbers, or adds in a stated order."""
    return njit(function, fastmath=set(), error_model="numpy", **_NO_WRAPPERS)


def exact_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose arithmetic is done as written. Always inlined: a call would stop a loop from becoming vector code.

    The empty set must be said: a helper that says nothing takes over its caller's flags.
    """
    return njit(function, fastmath=set(), error_model="numpy", forceinline=True)


def fused_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose terms are added in the order written; a product and a sum may become one instruction."""
    return njit(function, fastmath={"contract"}, error_model="numpy", forceinline=True, **_NO_WRAPPERS)
