"""Machine code is made of whole kernels, and not of the parts that they consist of.

Numba makes machine code of every function that it compiles, also of helpers, which are called within kernels only. Of a
``prange`` it makes machine code three times: of the body, of a loop that calls the body, and of what a thread calls. In
the end, the kernel's own LLVM code includes all of them, and is optimised as a whole. Here the parts remain LLVM code
as it was written. That no machine code is made of them took a quarter off the time that a product takes to compile, and
that they are not optimised apart took another quarter.
"""

import copy
import gc
from functools import cache
from typing import Any

from llvmlite import ir
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler
from numba.core.registry import cpu_target

BODY = "__numba_parfor_gufunc"  # how the name of the function begins that Numba makes of the body of a prange
LAUNCH = ".kernel."  # ... and that of the function that hands the body to the threads


def internal(function: Any, suffix: str) -> Any:
    """Declare an empty function of the same type as ``function``, which only its module can call."""
    new = ir.Function(function.module, function.ftype, function.module.get_unique_name(f"{function.name}.{suffix}"))
    new.linkage = "internal"
    return new


def set_apart(function: Any, suffix: str) -> Any:
    """Move the body of ``function`` to a function that only its module can call, and return that."""
    body = internal(function, suffix)
    for part in ("blocks", "args", "attributes", "scope"):
        old, new = getattr(function, part), getattr(body, part)
        setattr(body, part, old)
        setattr(function, part, new)
    return body


class _Code(JITCodeLibrary):
    """LLVM code as Numba wrote it. It is optimised and made machine code when the address of a function is asked for.

    Only a kernel's is. The parts of a kernel are optimised with it, and not before, which would take as long again.
    """

    _emitted = False

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalized = True

    def get_pointer_to_function(self, name):
        """Return the address of a function, or 0 if there is none of this name, as for the wrapper of a helper."""
        self._ensure_finalized()
        if self.name.startswith(BODY):  # it has a wrapper for Python, which nobody calls
            return 0
        if not self._emitted and any(function.name == name for function in self.get_defined_functions()):
            self._emitted = True
            super()._optimize_final_module()
            self._final_module.verify()
            super()._finalize_final_module()
        return super().get_pointer_to_function(name)


class _Codegen(JITCPUCodegen):
    def set_env(self, env_name, env):
        """Numba's environment holds what compiled code needs of Python; without machine code there is no place."""
        if self._engine.is_symbol_defined(env_name):
            super().set_env(env_name, env)


@cache
def _codegen() -> tuple[_Codegen, dict[Any, Any]]:
    """Return Numba's code generator with libraries of ``_Code``, and what Numba compiles with it for all functions."""
    codegen = copy.copy(cpu_target.target_context.codegen())
    codegen.__class__ = _Codegen
    codegen._library_class = _Code
    return codegen, {}


class WholeCompiler(Compiler):
    """Numba's compiler for kernels and their parts, which makes machine code of whole kernels only."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        codegen, shared = _codegen()
        self.state.targetctx = self.state.targetctx.subtarget(_internal_codegen=codegen)
        self.state.targetctx.cached_internal_func = shared

    def compile_extra(self, func):
        """Compile a function without Python's search for garbage, which takes a tenth of the time."""
        searches = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if searches:
                gc.enable()
