"""One compiled function that makes a list of kernel calls, again and again.

The kernels are not compiled again. The function calls the machine code that Numba has made of them, by its address and
with Numba's own calling convention. Addresses of arrays and numbers are read from tables that are handed over. Two
trainings of the same structure therefore share one function, which takes about 20 ms to make.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)


class Place(NamedTuple):
    """Where an argument of a call comes from when the function runs.

    Attributes:
        kind: meaning of ``value``:
            ``"array"``: index of the array's address;
            ``"fixed"``: an integer or truth value, which is part of the function;
            ``"none"``: nothing, for None;
            ``"constant"``: index of a number that stays the same;
            ``"row"``: index of a number in the row of the step;
            ``"cursor"``: index of an integer in the cursors of the step;
            ``"tuple"``: places of the elements.
        value: see ``kind``.
        shape, strides: of an array, strides in bytes.
    """

    kind: str
    value: Any
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()


class Line(NamedTuple):
    """One call of a kernel.

    Attributes:
        kernel: the kernel.
        signature: Numba types of its arguments.
        places: places of its arguments.
        result: index under which its result is kept; None if it is not kept.
        guard: whether the result says if the step may go on.
    """

    kernel: Any
    signature: tuple[Any, ...]
    places: tuple[Place, ...]
    result: int | None
    guard: bool


class Total(NamedTuple):
    """The objective: a sum of results, each times a constant. The step goes on if the sum is finite.

    Attributes:
        terms: pairs (index of a result, index of the constant that it is multiplied by, or None).
        result: index under which the sum is kept.
    """

    terms: tuple[tuple[int, int | None], ...]
    result: int


class Mark(NamedTuple):
    """A 1 that is written among the results when a step comes to this line.

    Attributes:
        result: its index.
    """

    result: int


class Peek(NamedTuple):
    """A number in an array that is copied to the results.

    Attributes:
        array: index of the array's address.
        element: index of a float64 in the array.
        result: index under which it is kept.
    """

    array: int
    element: int
    result: int


Function = Callable[..., int]
_TABLES = ("pointers", "constants", "rows", "cursors", "results")


@global_compiler_lock
def emit(lines: Sequence[Line | Total | Mark | Peek], cursors: int, results: int) -> tuple[Any, Function]:
    """Compile the function for steps that consist of these lines.

    The function takes the number of steps, the number of words from one row of ``rows`` to the next, and the addresses
    of the tables:

    * ``pointers``: addresses of arrays.
    * ``constants``: words of 64 bits, each with a number in its own type.
    * ``rows``: such words; one row for each step, or one row for all steps.
    * ``cursors``: a row of int64 for each step.
    * ``results``: a row of words for each step, which the function fills.

    It returns the number of steps that were completed: all, unless a guard or the objective ended a step.

    Args:
        lines: calls of a step, in order.
        cursors: number of cursors of a step.
        results: number of results of a step.

    Returns:
        (library, function); the function works as long as the library is kept.
    """
    context = cpu_target.target_context
    library = context.codegen().create_library("recorded steps")
    module = library.create_ir_module("recorded steps")
    words = _WORD.as_pointer()
    function = ir.Function(module, ir.FunctionType(_WORD, [_WORD, _WORD, *[words] * len(_TABLES)]), "steps")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    count, row_words, *addresses = function.args
    tables = dict(zip(_TABLES, addresses, strict=True))
    with cgutils.for_range(builder, count) as loop:
        step = loop.index
        tables_now = {
            **tables,
            "rows": builder.gep(tables["rows"], [builder.mul(step, row_words)]),
            "cursors": builder.gep(tables["cursors"], [builder.mul(step, _WORD(cursors))]),
        }
        out = builder.gep(tables["results"], [builder.mul(step, _WORD(results))])
        emitter = _Emitter(context, builder, tables_now, out)
        for line in lines:
            if isinstance(line, Mark):
                builder.store(_WORD(1), emitter.at(out, line.result))
                continue
            if isinstance(line, Peek):
                emitter.peek(line)
                continue
            go_on = emitter.total(line) if isinstance(line, Total) else emitter.call(line)
            with cgutils.if_unlikely(builder, builder.not_(go_on)):
                builder.ret(step)
    builder.ret(count)
    library.add_ir_module(module)
    library.finalize()
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * len(_TABLES))
    return library, kind(library.get_pointer_to_function("steps"))


class _Emitter:
    """Emits the lines of one step."""

    def __init__(self, context: Any, builder: Any, tables: dict[str, Any], out: Any) -> None:
        self.context, self.builder, self.tables, self.out = context, builder, tables, out

    def call(self, line: Line) -> Any:
        """Emit the call of a kernel; return whether the step goes on, as a value in the function."""
        builder, convention = self.builder, self.context.call_conv
        compiled = line.kernel.overloads[line.signature]
        described = compiled.fndesc
        address = compiled.library.get_pointer_to_function(described.llvm_func_name)
        kind = convention.get_function_type(described.restype, described.argtypes)
        pointer = builder.inttoptr(_WORD(address), kind.as_pointer())
        arguments = [self.argument(*each) for each in zip(line.places, described.argtypes, strict=True)]
        status, result = convention.call_function(builder, pointer, described.restype, described.argtypes, arguments)
        if line.result is not None:
            builder.store(self.as_word(result), self.at(self.out, line.result))
        if not line.guard:
            return status.is_ok
        return builder.and_(status.is_ok, self.context.cast(builder, result, described.restype, types.boolean))

    def total(self, line: Total) -> Any:
        """Emit the sum of the objective; return whether it is finite."""
        builder, total = self.builder, None
        for result, factor in line.terms:
            value = builder.bitcast(self.load(self.out, result), ir.DoubleType())
            if factor is not None:
                strength = builder.bitcast(self.load(self.tables["constants"], factor), ir.DoubleType())
                value = builder.fmul(strength, value)
            total = value if total is None else builder.fadd(total, value)
        builder.store(builder.bitcast(total, _WORD), self.at(self.out, line.result))
        # x - x is 0 for a finite x and NaN for any other x.
        return builder.fcmp_ordered("==", builder.fsub(total, total), ir.Constant(ir.DoubleType(), 0.0))

    def peek(self, line: Peek) -> None:
        """Emit the copy of a number to the results."""
        address = self.load(self.tables["pointers"], line.array)
        words = self.builder.inttoptr(address, _WORD.as_pointer())
        self.builder.store(self.load(words, line.element), self.at(self.out, line.result))

    def argument(self, place: Place, kind: Any) -> Any:
        """Return the value of an argument of a Numba type."""
        if place.kind == "array":
            return self.array(place, kind)
        if place.kind == "none":
            return self.context.get_dummy_value()
        if place.kind == "tuple":
            elements = [self.argument(*each) for each in zip(place.value, kind.types, strict=True)]
            return self.context.make_tuple(self.builder, kind, elements)
        value_type = self.context.get_value_type(kind)
        if place.kind == "fixed":
            return ir.Constant(value_type, int(place.value))
        table = {"constant": "constants", "row": "rows", "cursor": "cursors"}[place.kind]
        return self.from_word(self.load(self.tables[table], place.value), value_type)

    def array(self, place: Place, kind: Any) -> Any:
        """Return an array as Numba hands it to machine code, without an owner whose references would be counted."""
        structure = cgutils.create_struct_proxy(kind)(self.context, self.builder)
        address = self.load(self.tables["pointers"], place.value)
        structure.data = self.builder.inttoptr(address, structure.data.type)
        size = 1
        for length in place.shape:
            size *= length
        structure.nitems = _WORD(size)
        structure.itemsize = _WORD(self.context.get_abi_sizeof(self.context.get_data_type(kind.dtype)))
        structure.shape = cgutils.pack_array(self.builder, [_WORD(n) for n in place.shape], _WORD)
        structure.strides = cgutils.pack_array(self.builder, [_WORD(n) for n in place.strides], _WORD)
        structure.meminfo = ir.Constant(structure.meminfo.type, None)
        structure.parent = ir.Constant(structure.parent.type, None)
        return structure._getvalue()

    def at(self, table: Any, index: int) -> Any:
        return self.builder.gep(table, [_INDEX(index)])

    def load(self, table: Any, index: int) -> Any:
        return self.builder.load(self.at(table, index))

    def from_word(self, word: Any, kind: Any) -> Any:
        """Return the number, of 64 or fewer bits, that is in a word."""
        if isinstance(kind, ir.FloatType):
            return self.builder.bitcast(self.builder.trunc(word, ir.IntType(32)), kind)
        if isinstance(kind, ir.DoubleType):
            return self.builder.bitcast(word, kind)
        return word if kind.width == 64 else self.builder.trunc(word, kind)

    def as_word(self, value: Any) -> Any:
        """Return a word with a number in it."""
        if isinstance(value.type, ir.DoubleType):
            return self.builder.bitcast(value, _WORD)
        return value if value.type.width == 64 else self.builder.zext(value, _WORD)
