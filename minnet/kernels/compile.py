"""How kernels and their helpers are compiled."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

from . import calls, linked
from .denormals import FlushingCompiler
from .emission import WholeCompiler

IS_COMPILED = not config.DISABLE_JIT  # False where Python runs the kernels

# Not fastmath=True: that also promises "no NaN, no infinity", and isfinite() would then lie.
FAST = {"reassoc", "contract", "arcp", "nsz"}


# No C code calls kernels, and Python calls no helpers: ways to do so would only take time to compile. What allocates
# nothing needs no counts of references to its arrays either, which cost more than the work on a small batch does.
_NO_COUNTS: dict[str, Any] = {"no_cfunc_wrapper": True, "_nrt": False}
_NO_WRAPPERS = {"no_cpython_wrapper": True, "pipeline_class": WholeCompiler, **_NO_COUNTS}


def _widest(target: Any) -> Any:
    """Return a target whose loops are in the widest registers of the processor, or those of MINNET_VECTOR_BYTES."""
    width = f'"prefer-vector-width"="{8 * int(os.environ.get("MINNET_VECTOR_BYTES") or 64)}"'

    def post_lowering(module, library):
        target.post_lowering(module, library)
        for function in module.functions:
            if not function.is_declaration:
                set.add(function.attributes, width)  # past llvmlite's check: it knows no attributes with values

    return target.subtarget(post_lowering=post_lowering)


class _WideCompiler(FlushingCompiler):
    """Numba's compiler for kernels with wide loops."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        self.state.targetctx = _widest(self.state.targetctx)


class _WideHelperCompiler(WholeCompiler):
    """Numba's compiler for routines with wide loops."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        self.state.targetctx = _widest(self.state.targetctx)


def _compile(
    function: Callable[..., Any],
    *,
    parallel: bool = False,
    compiler: type[FlushingCompiler] = FlushingCompiler,
    **options: bool,
) -> Callable[..., Any]:
    if config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)  # as compiled code, which does not warn
    compiled = njit(function, fastmath=FAST, error_model="numpy", pipeline_class=compiler, parallel=parallel, **options)
    linked.keep(compiled)
    calls.watch(compiled, parallel)
    return compiled


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call with each combination of dtypes, and keep the machine code on disk.

    Denormal numbers count as zeros in kernels: see ``denormals``. ``error_model="numpy"`` makes a division by zero give
    infinity; Python's check would prevent vector code. A kernel that allocates memory fails to compile.
    """
    return _compile(function, **_NO_COUNTS)


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel with a ``prange`` over tasks that write to separate memory.

    Numba may allocate memory for sums across threads, so reference counts are kept.
    """
    return _compile(function, parallel=True, no_cfunc_wrapper=True)


def wide_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that computes exponentials or other functions of many operations, number by number.

    On processors whose clock slows down for 512-bit registers, LLVM takes 256 bits of them. That is right for loops
    that wait for memory; a loop of dozens of operations for each number takes nearly twice as long.
    """
    return _compile(function, compiler=_WideCompiler, **_NO_COUNTS)


def wide_parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A ``parallel_kernel`` whose loops are those of a ``wide_kernel``."""
    return _compile(function, parallel=True, compiler=_WideCompiler, no_cfunc_wrapper=True)


def _part(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a part of kernels, once for all values of an argument.

    Numba would compile it once more for each call in which a whole number is written out, as if this were a type.
    """
    part = njit(function, error_model="numpy", **{**_NO_WRAPPERS, **options})
    if not config.DISABLE_JIT:
        template = part.get_call_template
        part.get_call_template = lambda args, kws: template(
            tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()}
        )
    return part


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of kernels, which is compiled into them and always inlined.

    Otherwise each kernel that calls the helper would contain a copy, optimised in its own way, and a process would use
    the copy that was loaded first. The bits of a sum would then depend on which kernels ran before.
    """
    return _part(function, fastmath=FAST, forceinline=True)


def routine(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that is too large to be inlined. Its copies agree: it moves numbers, or adds in a stated order."""
    return _part(function, fastmath=set())


def wide_routine(function: Callable[..., Any]) -> Callable[..., Any]:
    """A ``routine`` whose loops are those of a ``wide_kernel``, from which alone it is called."""
    return _part(function, fastmath=set(), pipeline_class=_WideHelperCompiler)


def exact_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose arithmetic is done as written. It is always inlined, because a call would prevent vector code.

    The empty set of flags must be given: a helper without flags has those of its caller.
    """
    return _part(function, fastmath=set(), forceinline=True)


def fused_helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper whose terms are added in the order written. A product and a sum may become one instruction."""
    return _part(function, fastmath={"contract"}, forceinline=True)


def vector_code(plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Compile the LLVM code of a function into kernels. If Python runs the kernels, ``plain`` is called instead."""
    return (lambda _: plain) if config.DISABLE_JIT else intrinsic
