"""One compiled function that makes a list of kernel calls, again and again.

The kernels are not compiled again. The function calls the machine code that Numba has made of them, by its address and
with Numba's own calling convention. Addresses of arrays and numbers are read from tables that are handed over. Two
trainings of the same structure therefore share one function.

The code is written as LLVM's text, because LLVM reads it several times as quickly as objects for its instructions are
made and printed. All tables consist of words of 64 bits, and a pointer is passed as such a word, which takes the same
register or place on the stack.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import types
from numba.core.callconv import RETCODE_NONE, RETCODE_OK
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from ..denormals import set_and_restored


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


class Callee(NamedTuple):
    """The machine code of a kernel for arguments of some types.

    Attributes:
        address: where it begins.
        returns: Numba type of the result.
        bits: size of the result in memory; 0 for none.
        arguments: LLVM types of the arguments as Numba takes them apart, where pointers are words.
        kept: what must exist as long as the code is called.
    """

    address: int
    returns: Any
    bits: int
    arguments: tuple[str, ...]
    kept: Any


_callees: dict[tuple[Any, ...], Callee] = {}  # by kernel and types of arguments


def callee_of(line: Line, views: Sequence[View]) -> Callee:
    """Return the machine code that Numba has made of a kernel for these arguments; have it made if there is none."""
    form = (line.kernel, *(_form(place, views) for place in line.places))
    if form not in _callees:
        _callees[form] = _compiled(line)
    return _callees[form]


def _form(place: Place, views: Sequence[View]) -> tuple[Any, ...]:
    """Return what the Numba type of an argument depends on."""
    if place.kind == "array":
        view = views[place.value]
        return view.dtype, len(view.shape), view.flags
    return tuple(_form(each, views) for each in place.value) if place.kind == "tuple" else (place.type,)


def _compiled(line: Line) -> Callee:
    signature = tuple(map(line.kernel.typeof_pyval, line.args))
    if signature not in line.kernel.overloads:
        line.kernel.compile(signature)
    compiled = line.kernel.overloads[signature]
    described, context = compiled.fndesc, cpu_target.target_context
    kind = context.call_conv.get_function_type(described.restype, described.argtypes)
    returned = kind.args[0].pointee
    none = described.restype == types.none
    return Callee(
        compiled.library.get_pointer_to_function(described.llvm_func_name),
        described.restype,
        0 if none else 8 * context.get_abi_sizeof(returned),
        tuple("i64" if isinstance(each, ir.PointerType) else str(each) for each in kind.args[2:]),
        compiled,
    )


Function = Callable[..., int]
_TABLES = ("pointers", "constants", "rows", "cursors", "results")
_PARAMETERS = ", ".join(f"i64* %{table}" for table in _TABLES)
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
    # The time that LLVM takes for a function grows faster than its length, so a long step has several.
    stages = [
        _Stage(lines[i : i + _STAGE], views).text(number) for number, i in enumerate(range(0, len(lines), _STAGE))
    ]
    triple = llvm.get_process_triple()
    text = "\n".join([f'target triple = "{triple}"', *stages, _loop(len(stages), cursors, results)])
    # The code consists of loads and calls, where optimisation gains nothing, and takes five times as long to emit.
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=0, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * len(_TABLES))
    return engine, kind(engine.get_function_address("steps"))


def _loop(stages: int, cursors: int, results: int) -> str:
    """Return the text of the function that goes through the stages of each step."""
    tables = "i64* %pointers, i64* %constants, i64* %row, i64* %cursor, i64* %result"
    set_flags, restore_flags = set_and_restored(True, "flags")  # here, so that no kernel has to do so
    calls = "".join(
        f"""
  %goes{i} = call i1 @stage{i}({tables})
  br i1 %goes{i}, label %after{i}, label %stop
after{i}:"""
        for i in range(stages)
    )
    return f"""
define i64 @steps(i64 %count, i64 %words, {_PARAMETERS}) {{
entry:{set_flags}
  br label %head
head:
  %step = phi i64 [0, %entry], [%next, %after{stages - 1}]
  %more = icmp slt i64 %step, %count
  br i1 %more, label %body, label %stop
body:
  %row_at = mul i64 %step, %words
  %row = getelementptr i64, i64* %rows, i64 %row_at
  %cursor_at = mul i64 %step, {cursors}
  %cursor = getelementptr i64, i64* %cursors, i64 %cursor_at
  %result_at = mul i64 %step, {results}
  %result = getelementptr i64, i64* %results, i64 %result_at{calls}
  %next = add i64 %step, 1
  br label %head
stop:{restore_flags}
  ret i64 %step
}}
"""


class _Stage:
    """Writes the function for some lines of one step, which returns whether the step goes on."""

    def __init__(self, lines: Sequence[Line | Total | Mark | Peek], views: Sequence[View]) -> None:
        self._views, self._written, self._names = views, list[str](), 0
        self._addresses: dict[int, str] = {}  # names of those that are loaded at the start of the function
        for line in lines:
            if isinstance(line, Mark):
                self._store("1", line.result)
            elif isinstance(line, Peek):
                self._peek(line)
            else:
                go_on = self._total(line) if isinstance(line, Total) else self._call(line)
                self._names += 1
                self._written.append(f"  br i1 {go_on}, label %go{self._names}, label %stop\ngo{self._names}:")

    def text(self, number: int) -> str:
        """Return the function as text."""
        # All kernels write their results to one place; nobody reads what they raised.
        return "\n".join(
            [
                f"define internal i1 @stage{number}({_PARAMETERS}) noinline {{",
                "  %returned = alloca i64\n  %raised = alloca i64",
                "  %returned_at = ptrtoint i64* %returned to i64\n  %raised_at = ptrtoint i64* %raised to i64",
                *(
                    f"  {name}_at = getelementptr i64, i64* %pointers, i64 {pointer}\n"
                    f"  {name} = load i64, i64* {name}_at"
                    for pointer, name in self._addresses.items()
                ),
                *self._written,
                "  ret i1 1\nstop:\n  ret i1 0\n}",
            ]
        )

    def _value(self, instruction: str) -> str:
        """Write an instruction; return the name of its value."""
        self._names += 1
        self._written.append(f"  %v{self._names} = {instruction}")
        return f"%v{self._names}"

    def _load(self, kind: str, table: str, index: int) -> str:
        """Write the reading of a number from a table of words; return its name."""
        place = self._value(f"getelementptr i64, i64* %{table}, i64 {index}")
        return self._read(kind, place)

    def _read(self, kind: str, place: str) -> str:
        """Write the reading of a number at a pointer to a word, from its first bytes."""
        if kind != "i64":
            place = self._value(f"bitcast i64* {place} to {kind}*")
        return self._value(f"load {kind}, {kind}* {place}")

    def _store(self, word: str, result: int) -> None:
        place = self._value(f"getelementptr i64, i64* %results, i64 {result}")
        self._written.append(f"  store i64 {word}, i64* {place}")

    def _call(self, line: Line) -> str:
        """Write the call of a kernel; return whether the step goes on.

        Numba's machine code takes a pointer to its result, a pointer to the description of an exception, and the
        arguments, where arrays and tuples are taken apart. It returns a status. A kernel that returns a truth value is
        a guard, which says whether the step may go on.
        """
        callee = callee_of(line, self._views)
        wanted = iter(callee.arguments)
        parts = [part for place in line.places for part in self._parts(place, wanted)]
        if next(wanted, None) is not None:
            raise AssertionError(f"the call of {line.kernel.__name__} leaves arguments out")
        kinds = ", ".join(["i64", "i64", *callee.arguments])
        arguments = ", ".join(["i64 %returned_at", "i64 %raised_at", *parts])
        status = self._value(f"call i32 inttoptr (i64 {callee.address} to i32 ({kinds})*)({arguments})")
        fine = [self._value(f"icmp eq i32 {status}, {int(code.constant)}") for code in (RETCODE_OK, RETCODE_NONE)]
        go_on = self._value(f"or i1 {fine[0]}, {fine[1]}")
        if line.result is not None:
            word = self._read(f"i{callee.bits}", "%returned")
            self._store(word if callee.bits == 64 else self._value(f"zext i{callee.bits} {word} to i64"), line.result)
        if callee.returns != types.boolean:
            return go_on
        truth = self._value(f"trunc i{callee.bits} {self._read(f'i{callee.bits}', '%returned')} to i1")
        return self._value(f"and i1 {go_on}, {truth}")

    def _parts(self, place: Place, wanted: Iterator[str]) -> Iterator[str]:
        """Yield the values that stand for an argument, with their types, which are those that are wanted next."""
        if place.kind == "array":
            yield self._array(self._views[place.value], wanted)
        elif place.kind == "tuple":
            for element in place.value:
                yield from self._parts(element, wanted)
        elif place.kind == "none":
            yield f"{next(wanted)} 0"
        elif place.kind == "fixed":
            yield f"{next(wanted)} {int(place.value)}"
        else:
            table, kind = {"constant": "constants", "row": "rows", "cursor": "cursors"}[place.kind], next(wanted)
            yield f"{kind} {self._load(kind, table, place.value)}"

    def _array(self, view: View, wanted: Iterator[str]) -> str:
        """Return an array as Numba takes it apart, without an owner whose references would be counted."""
        words = (
            0,
            0,
            math.prod(view.shape),
            view.dtype.itemsize,
            self._address(view.pointer),
            *view.shape,
            *view.strides,
        )
        if any(next(wanted) != "i64" for _ in words):
            raise AssertionError(f"an array of {len(view.shape)} axes has other parts than words")
        return "i64 " + ", i64 ".join(map(str, words))

    def _address(self, pointer: int) -> str:
        """Return the name of an address, which the function loads at its start, once."""
        return self._addresses.setdefault(pointer, f"%a{pointer}")

    def _total(self, line: Total) -> str:
        """Write the sum of the objective; return whether it is finite."""
        total = None
        self._names += 1
        clear, restore = set_and_restored(False, f"flags{self._names}")  # Python adds without them
        self._written.append(clear)
        for result, factor in line.terms:
            value = self._load("double", "results", result)
            if factor is not None:
                value = self._value(f"fmul double {self._load('double', 'constants', factor)}, {value}")
            total = value if total is None else self._value(f"fadd double {total}, {value}")
        self._written.append(restore)
        self._store(self._value(f"bitcast double {total} to i64"), line.result)
        # x - x is 0 for a finite x and NaN for any other x.
        return self._value(f"fcmp oeq double {self._value(f'fsub double {total}, {total}')}, 0.0")

    def _peek(self, line: Peek) -> None:
        """Write the copy of a number to the results."""
        start = self._value(f"inttoptr i64 {self._address(line.array)} to i64*")
        place = self._value(f"getelementptr i64, i64* {start}, i64 {line.element}")
        self._store(self._read("i64", place), line.result)
