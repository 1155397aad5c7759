"""One compiled function that makes a list of kernel calls, again and again.

The kernels are not compiled again. The function calls the machine code that Numba has made of them, by its address and
with Numba's own calling convention. Addresses of arrays and numbers are read from tables that are handed over. Two
trainings of the same structure therefore share one function. A call takes about half a millisecond to emit.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.callconv import RETCODE_NONE, RETCODE_OK
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)


class Place(NamedTuple):
    """Where an argument of a call comes from when the function runs.

    Attributes:
        kind: meaning of ``value``:
            ``"array"``: index of a ``View``;
            ``"fixed"``: an integer or truth value, which is part of the function;
            ``"none"``: nothing, for None;
            ``"constant"``: index of a number that stays the same;
            ``"row"``: index of a number in the row of the step;
            ``"cursor"``: index of an integer in the cursors of the step;
            ``"tuple"``: places of the elements.
        value: see ``kind``.
        type: class of a number.
    """

    kind: str
    value: Any
    type: Any = None


class View(NamedTuple):
    """An array that is an argument.

    Attributes:
        pointer: index of its address.
        dtype, shape, strides: those of the array.
        flags: ``array.flags.num``.
    """

    pointer: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    flags: int


class Line(NamedTuple):
    """One call of a kernel.

    Attributes:
        kernel: the kernel.
        args: arguments of the types that it is called with.
        places: places of its arguments, which tell their types.
        result: index under which its result is kept; None if it is not kept.
        in_update: whether it belongs to the update.
    """

    kernel: Any
    args: tuple[Any, ...]
    places: tuple[Place, ...]
    result: int | None
    in_update: bool = False


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


def overload_of(line: Line) -> Any:
    """Return the machine code that Numba has made of a kernel for these arguments; have it made if there is none."""
    signature = tuple(map(line.kernel.typeof_pyval, line.args))
    if signature not in line.kernel.overloads:
        line.kernel.compile(signature)
    return line.kernel.overloads[signature]


_TABLES = ("pointers", "constants", "rows", "cursors", "results")
_STAGE = 32  # lines of a function


@global_compiler_lock
def emit(
    lines: Sequence[Line | Total | Mark | Peek], views: Sequence[View], cursors: int, results: int
) -> tuple[Any, Function]:
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
        views: arrays that are arguments.
        cursors: number of cursors of a step.
        results: number of results of a step.

    Returns:
        (library, function); the function works as long as the library is kept.
    """
    context = cpu_target.target_context
    module = ir.Module("recorded steps")
    module.triple = llvm.get_process_triple()
    words = _WORD.as_pointer()
    stages = [_stage(context, module, lines[i : i + _STAGE], views) for i in range(0, len(lines), _STAGE)]
    function = ir.Function(module, ir.FunctionType(_WORD, [_WORD, _WORD, *[words] * len(_TABLES)]), "steps")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    count, row_words, pointers, constants, rows, all_cursors, all_results = function.args
    with cgutils.for_range(builder, count) as loop:
        step = loop.index
        tables = (
            pointers,
            constants,
            builder.gep(rows, [builder.mul(step, row_words)]),
            builder.gep(all_cursors, [builder.mul(step, _WORD(cursors))]),
            builder.gep(all_results, [builder.mul(step, _WORD(results))]),
        )
        for stage in stages:
            with cgutils.if_unlikely(builder, builder.not_(builder.call(stage, tables))):
                builder.ret(step)
    builder.ret(count)
    # The code consists of loads and calls, where optimisation gains nothing that would be worth its time.
    machine = llvm.Target.from_triple(module.triple).create_target_machine(opt=1, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * len(_TABLES))
    return engine, kind(engine.get_function_address("steps"))


def _stage(context: Any, module: Any, lines: Sequence[Line | Total | Mark | Peek], views: Sequence[View]) -> Any:
    """Emit a function that goes through some lines of one step. It returns whether the step goes on.

    The time that LLVM takes for a function grows faster than its length, so a long step has several.
    """
    kind = ir.FunctionType(ir.IntType(1), [_WORD.as_pointer()] * len(_TABLES))
    function = ir.Function(module, kind, module.get_unique_name("stage"))
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emitter = _Emitter(context, builder, dict(zip(_TABLES, function.args, strict=True)), views)
    for line in lines:
        if isinstance(line, Mark):
            builder.store(_WORD(1), emitter.at("results", line.result))
        elif isinstance(line, Peek):
            emitter.peek(line)
        else:
            go_on = emitter.total(line) if isinstance(line, Total) else emitter.call(line)
            with cgutils.if_unlikely(builder, builder.not_(go_on)):
                builder.ret(ir.Constant(ir.IntType(1), 0))
    builder.ret(ir.Constant(ir.IntType(1), 1))
    return function


class _Emitter:
    """Emits the lines of one step."""

    def __init__(self, context: Any, builder: Any, tables: dict[str, Any], views: Sequence[View]) -> None:
        self.context, self.builder, self.tables, self.views = context, builder, tables, views
        self._memory: dict[Any, Any] = {}  # for what a kernel hands back, by type; all calls share it

    def call(self, line: Line) -> Any:
        """Emit the call of a kernel; return whether the step goes on, as a value in the function.

        Numba's machine code takes a pointer to its result, a pointer to the description of an exception, and the
        arguments, where arrays and tuples are taken apart. It returns a status. A kernel that returns a truth value is
        a guard, which says whether the step may go on.
        """
        builder, convention = self.builder, self.context.call_conv
        compiled = overload_of(line)
        described = compiled.fndesc
        address = compiled.library.get_pointer_to_function(described.llvm_func_name)
        kind = convention.get_function_type(described.restype, described.argtypes)
        returned, raised, *wanted = kind.args
        taken = iter(wanted)
        arguments = [part for place in line.places for part in self.parts(place, taken)]
        if next(taken, None) is not None:
            raise AssertionError(f"the call of {line.kernel.__name__} leaves arguments out")
        pointer = builder.inttoptr(_WORD(address), kind.as_pointer())
        memory = self.memory(returned.pointee)
        status = builder.call(pointer, [memory, self.memory(raised.pointee), *arguments])
        go_on = builder.or_(*(builder.icmp_signed("==", status, code) for code in (RETCODE_OK, RETCODE_NONE)))
        guards = described.restype == types.boolean
        if line.result is None and not guards:
            return go_on
        result = self.context.get_returned_value(builder, described.restype, builder.load(memory))
        if line.result is not None:
            builder.store(self.as_word(result), self.at("results", line.result))
        if not guards:
            return go_on
        return builder.and_(go_on, self.context.cast(builder, result, described.restype, types.boolean))

    def memory(self, kind: Any) -> Any:
        """Return a pointer to memory for a value of an LLVM type."""
        if kind not in self._memory:
            self._memory[kind] = cgutils.alloca_once(self.builder, kind)
        return self._memory[kind]

    def total(self, line: Total) -> Any:
        """Emit the sum of the objective; return whether it is finite."""
        builder, total = self.builder, None
        for result, factor in line.terms:
            value = builder.bitcast(self.load("results", result), ir.DoubleType())
            if factor is not None:
                strength = builder.bitcast(self.load("constants", factor), ir.DoubleType())
                value = builder.fmul(strength, value)
            total = value if total is None else builder.fadd(total, value)
        builder.store(builder.bitcast(total, _WORD), self.at("results", line.result))
        # x - x is 0 for a finite x and NaN for any other x.
        return builder.fcmp_ordered("==", builder.fsub(total, total), ir.Constant(ir.DoubleType(), 0.0))

    def peek(self, line: Peek) -> None:
        """Emit the copy of a number to the results."""
        address = self.load("pointers", line.array)
        words = self.builder.inttoptr(address, _WORD.as_pointer())
        element = self.builder.load(self.builder.gep(words, [_INDEX(line.element)]))
        self.builder.store(element, self.at("results", line.result))

    def parts(self, place: Place, wanted: Iterator[Any]) -> Iterator[Any]:
        """Yield the values that stand for an argument, of the LLVM types that are wanted next."""
        if place.kind == "array":
            yield from self.array(self.views[place.value], wanted)
        elif place.kind == "tuple":
            for element in place.value:
                yield from self.parts(element, wanted)
        elif place.kind == "none":
            yield ir.Constant(next(wanted), None)
        elif place.kind == "fixed":
            yield ir.Constant(next(wanted), int(place.value))
        else:
            table = {"constant": "constants", "row": "rows", "cursor": "cursors"}[place.kind]
            yield self.from_word(self.load(table, place.value), next(wanted))

    def array(self, view: View, wanted: Iterator[Any]) -> Iterator[Any]:
        """Yield an array as Numba takes it apart, without an owner whose references would be counted."""
        owner, parent, nitems, itemsize, data = (next(wanted) for _ in range(5))
        address = self.load("pointers", view.pointer)
        yield from (ir.Constant(owner, None), ir.Constant(parent, None))
        yield from (nitems(math.prod(view.shape)), itemsize(view.dtype.itemsize))
        yield self.builder.inttoptr(address, data)
        yield from (next(wanted)(number) for number in (*view.shape, *view.strides))

    def at(self, table: str, index: int) -> Any:
        return self.builder.gep(self.tables[table], [_INDEX(index)])

    def load(self, table: str, index: int) -> Any:
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
