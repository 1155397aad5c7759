"""Functions that are machine code of their own, which kernels call by name.

Numba puts a copy of all that a kernel calls into the kernel. Large functions that many kernels call, such as the
micro-kernels of matrix products, are compiled once here instead, and kept on disk like kernels. A kernel that calls one
only has its name, so the function must be in memory before the machine code of the kernel is linked: ``Linked.call``
sees to this where a kernel is compiled, and ``_Kernels`` where its code is read from a file.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import CacheImpl, CompileResultCacheImpl
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from . import cache

_PREFIX = "minnet_linked_"
_NAMES = re.compile(rf"{_PREFIX}\w+".encode())

_functions: dict[str, "Linked"] = {}  # by name
_libraries: dict[str, Any] = {}  # of those in memory; Numba drops the code of a library that nobody holds


class _Libraries(CacheImpl):
    """How a library of machine code is put into a file."""

    def reduce(self, library: Any) -> Any:
        return library.serialize_using_object_code()

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        return target_context.codegen().unserialize_library(payload)

    def check_cachable(self, library: Any) -> bool:
        return True


class _LibraryCache(cache.CodeCache):
    _impl_class = _Libraries


class Linked:
    """A function of machine code, compiled when it is called for the first time.

    Args:
        name: a name that no other function has; functions of other ``options`` have other names.
        kinds: LLVM's types of its arguments. It returns nothing.
        emit: a function of a module, ``emit(builder, arguments, *options)``, which emits its code. Its file, and what
            that imports, determine the code.
        options: further arguments of ``emit``.
    """

    def __init__(self, name: str, kinds: Sequence[ir.Type], emit: Callable[..., None], options: Sequence[Any]) -> None:
        self.name, self._kind = _PREFIX + name, ir.FunctionType(ir.VoidType(), kinds)
        self._emit, self._options = emit, options
        _functions[self.name] = self

    def call(self, builder: Any, arguments: Sequence[Any]) -> None:
        """Emit a call in the code of a kernel."""
        self.load()
        builder.call(cgutils.get_or_insert_function(builder.module, self._kind, self.name), arguments)

    @global_compiler_lock
    def load(self) -> None:
        """Read the function from its file, or compile it, unless this has been done."""
        if self.name in _libraries:
            return
        files = cache.of(_LibraryCache, self._emit)
        library = files.load_overload(self.name, cpu_target.target_context) if files else None
        if library is None:
            library = self._compile()
            if files:
                files.save_overload(self.name, library)
        _libraries[self.name] = library

    def _compile(self) -> Any:
        library = cpu_target.target_context.codegen().create_library(self.name)
        library.enable_object_caching()
        module = library.create_ir_module(self.name)
        function = ir.Function(module, self._kind, self.name)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._emit(builder, function.args, *self._options)
        builder.ret_void()
        library.add_ir_module(module)
        library.finalize()
        return library


def in_both_precisions(
    name: str, words: int, numbers: int, emit: Callable[..., None], *options: Any
) -> dict[types.Float, Linked]:
    """Return a function for float32 and one for float64, by Numba's type of the numbers.

    Args:
        name: that of ``Linked`` without the dtype.
        words: how many int64 arguments come first.
        numbers: how many numbers of the dtype follow.
        emit: ``emit(builder, arguments, dtype, *options)``.
        options: its further arguments.
    """
    found = {}
    for dtype, kind in ((types.float32, ir.FloatType()), (types.float64, ir.DoubleType())):
        kinds = [ir.IntType(64)] * words + [kind] * numbers
        found[dtype] = Linked(f"{name}_{dtype}", kinds, emit, (dtype, *options))
    return found


class _Kernels(CompileResultCacheImpl):
    """How a kernel is put into a file. When it is read, the functions that its machine code names are loaded first."""

    def reduce(self, compiled: Any) -> Any:
        """Leave out the globals of Numba's functions, whose modules take long to import: no machine code reads them."""
        *parts, environments = super().reduce(compiled)
        needed = (it for it in environments if not it.globals["__name__"].startswith("numba."))
        return *parts, tuple(needed)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        _, _, (machine_code, _) = payload[0]
        for name in set(_NAMES.findall(machine_code)):
            _functions[name.decode()].load()
        return super().rebuild(target_context, payload)


class _KernelCache(cache.CodeCache):
    _impl_class = _Kernels


def keep(compiled: Any) -> None:
    """Keep the machine code of a kernel, if there is a place."""
    compiled._cache = cache.Kept(_KernelCache, compiled.py_func)
