"""How every kernel is compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit
from numba.extending import intrinsic

from . import cache, calls
from .denormals import FlushingCompiler

# Not fastmath=True: that also promises "no NaN, no infinity", and isfinite() would then lie.
FAST = {"reassoc", "contract", "arcp", "nsz"}


# No C code calls kernels, and Python calls no helpers: ways to do so would only take time to compile. What allocates
# nothing needs no counts of references to its arrays either, which cost more than the work on a small batch does.
_NO_COUNTS = {"no_cfunc_wrapper": True, "_nrt": False}
_NO_WRAPPERS = {"no_cpython_wrapper": True, **_NO_COUNTS}


def _compile(function: Callable[..., Any], *, parallel: bool = False, **options: bool) -> Callable[..., Any]:
    if config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)  # as compiled code, which does not warn
    compiled = njit(
        function, fastmath=FAST, error_model="numpy", pipeline_class=FlushingCompiler, parallel=parallel, **options
    )
    cache.keep(compiled)
    calls.watch(compiled, parallel)
    return compiled


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, once for each combination of dtypes, and keep the machine code on disk.

    Its arithmetic takes denormal numbers for zeros: see ``denormals``.

    ``error_model="numpy"``: a division by zero gives infinity; Python's check for it would stop a loop
    from becoming vector code. A kernel that allocates fails to compile.
    """
    return _compile(function, **_NO_COUNTS)


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel with a ``prange`` over tasks that write to places of their own.

    Numba allocates what the threads' sums need, if there are any, so it keeps the counts.
    """
    return _compile(function, parallel=True, no_cfunc_wrapper=True)


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
    return njit(function, fastmath=set(), error_model="numpy", forceinline=True, **_NO_WRAPPERS)


def fused_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose terms are added in the order written; a product and a sum may become one instruction."""
    return njit(function, fastmath={"contract"}, error_model="numpy", forceinline=True, **_NO_WRAPPERS)


def vector_code(plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Have a function's LLVM code compiled into kernels; where Python runs the kernels, ``plain`` is called instead."""
    return (lambda _: plain) if config.DISABLE_JIT else intrinsic
