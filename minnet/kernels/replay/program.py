"""The steps of a training as a list of kernel calls, and the tables that the calls read."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from operator import is_, itemgetter
from typing import Any

import numpy as np
from numba import types

from ..arrays import address_of
from ..calls import Call, run_machine_code
from .emit import Function, Line, Mark, Peek, Place, Total, View, callee_of, emit

_MOST_FUNCTIONS = 256  # of the process; the one that was used the longest time ago is dropped
_functions: OrderedDict[tuple[Any, ...], tuple[Any, Function]] = OrderedDict()  # by structure


class NotRecordableError(Exception):
    """Says why a step cannot be recorded."""


class Program:
    """A step as a list of kernel calls.

    Add the calls of a step in their order, ``finish``, and then ``run`` as often as needed.

    Args:
        cursors: how many integers say where a step is, such as the position of its batch.
    """

    def __init__(self, cursors: int) -> None:
        self._cursors = cursors
        self._lines: list[Line | Total | Mark | Peek] = []
        self._results = 0
        self._pointers: dict[int, int] = {}  # by address: index in the table
        self._views: list[View] = []
        self._placed: dict[int, Place] = {}  # by id of an array
        self._arrays: list[np.ndarray] = []  # kept, so that addresses and ids stay theirs
        self._constants: list[Any] = []
        self._row: list[Any] = []  # numbers of the first row, for their types
        self._update: list[tuple[Any, _Chosen, list[Any], _Chosen]] = []  # see ``row_of``

    # Making it -------------------------------------------------------------------------------------------

    def add(
        self,
        calls: Iterable[Call],
        others: Iterable[tuple[Iterable[Call], int]] = (),
        keep: Sequence[int] = (),
    ) -> list[int]:
        """Add calls whose numbers stay the same.

        Args:
            calls: the calls, in order.
            others: pairs (the same calls with another value of a cursor, the cursor). Integers that differ are that
                cursor.
            keep: numbers of the calls, counted from 1, whose results are kept.

        Returns:
            The indices of the results that are kept.
        """
        calls = list(calls)
        moved = [(list(theirs), cursor) for theirs, cursor in others]
        kept = {}
        for number, call in enumerate(calls, 1):
            cursors = {
                i: cursor
                for theirs, cursor in moved
                for i, (mine, other) in enumerate(zip(call.args, theirs[number - 1].args, strict=True))
                if isinstance(mine, int | np.integer) and mine != other
            }
            places = tuple(
                Place("cursor", cursors[i], type(value)) if i in cursors else self._place(value)
                for i, value in enumerate(call.args)
            )
            kept[number] = self._new_result() if number in keep else None
            self._lines.append(Line(*call, places, kept[number]))
        return [index for number in keep if (index := kept[number]) is not None]

    def add_total(self, terms: Sequence[tuple[int, float | None]]) -> int:
        """Add the objective, a sum of results times factors (None for 1), and return the index of its result.

        A step ends if the objective is not finite.
        """
        placed = tuple(
            (result, None if factor is None else self._constant(np.float64(factor))) for result, factor in terms
        )
        result = self._new_result()
        self._lines.append(Total(placed, result))
        return result

    def add_mark(self) -> int:
        """Add a 1 among the results, which shows that a step has come this far; return its index."""
        result = self._new_result()
        self._lines.append(Mark(result))
        return result

    def add_peek(self, array: np.ndarray, element: int) -> int:
        """Add a copy of an element of a float64 array to the results; return its index."""
        result = self._new_result()
        self._lines.append(Peek(self._views[self._place(array).value].pointer, element, result))
        return result

    def add_update(self, calls: Sequence[Call], following: Sequence[Call]) -> None:
        """Add the calls of an update. Their numbers form a row of their own at every step.

        Args:
            calls: calls of one step.
            following: calls of the step after it. Integers are part of the program unless they differ there.
        """
        for call, other in zip(calls, following, strict=True):
            places: list[Place] = []
            checked: list[int] = []
            varying: list[int] = []
            for i, (value, then) in enumerate(zip(call.args, other.args, strict=True)):
                if isinstance(value, float | np.floating) or (_is_integer(value) and value != then):
                    places.append(Place("row", len(self._row), type(value)))
                    self._row.append(value)
                    varying.append(i)
                else:
                    places.append(self._place(value))
                    checked.append(i)
            self._lines.append(Line(*call, tuple(places), None, in_update=True))
            fixed = [call.args[i] for i in checked]
            self._update.append((call.kernel, _chooser(checked), fixed, _chooser(varying)))

    def finish(self) -> None:
        """Compile the function, or take that of a program with the same structure.

        Raises:
            NotRecordableError: Python would compute with the result of a kernel.
        """
        structure = (self._cursors, self._results, tuple(self._views), *map(_structure, self._lines))
        found = _functions.get(structure)
        if found is None:
            _check_results(self._lines, self._views)
            found = emit(self._lines, self._views, self._cursors, self._results)
        _functions[structure] = found
        _functions.move_to_end(structure)
        if len(_functions) > _MOST_FUNCTIONS:
            _functions.popitem(last=False)
        self._library: Any = found[0]  # the function works as long as this is kept
        self._function: Function = found[1]
        self._tables = (
            np.array(list(self._pointers), np.uint64),
            np.array([_word(value) for value in self._constants] or [0], np.uint64),
        )
        self._addresses = tuple(map(address_of, self._tables))

    def _new_result(self) -> int:
        self._results += 1
        return self._results - 1

    def _constant(self, value: Any) -> int:
        self._constants.append(value)
        return len(self._constants) - 1

    def _place(self, value: Any) -> Place:
        if isinstance(value, np.ndarray):
            return self._placed.get(id(value)) or self._place_array(value)
        kind = type(value)
        if kind is int or kind is bool:
            return Place("fixed", value, kind)
        if value is None:
            return Place("none", None)
        if kind is tuple:
            return Place("tuple", tuple(map(self._place, value)))
        if isinstance(value, float | np.floating | np.uint64):
            return Place("constant", self._constant(value), kind)
        return Place("fixed", int(value), kind)

    def _place_array(self, array: np.ndarray) -> Place:
        pointer = self._pointers.setdefault(address_of(array), len(self._pointers))
        # The flags say how the elements lie, and whether they may be written.
        self._views.append(View(pointer, array.dtype, array.shape, array.strides, array.flags.num))
        self._arrays.append(array)
        place = self._placed[id(array)] = Place("array", len(self._views) - 1)
        return place

    # Running it ------------------------------------------------------------------------------------------

    def row_of(self, calls: Sequence[Call]) -> list[Any] | None:
        """Return the row of an update that makes these calls; None if they do not belong to this program."""
        if len(calls) != len(self._update):
            return None
        row: list[Any] = []
        for (kernel, args), (own, checked, fixed, varying) in zip(calls, self._update, strict=True):
            if kernel is not own:
                return None
            came = checked(args)
            if not all(map(is_, came, fixed)) and not all(map(_same, came, fixed)):
                return None
            row += varying(args)
        return row

    def table(self, columns: Iterable[Any], steps: int) -> np.ndarray:
        """Return the numbers of steps as rows of words, shape (steps, words).

        Args:
            columns: the numbers of ``row_of``, each as a number for all steps, or as ``steps`` numbers.
            steps: number of steps.
        """
        words = np.zeros((steps, max(1, len(self._row))), np.uint64)
        for i, (example, column) in enumerate(zip(self._row, columns, strict=True)):
            if isinstance(example, np.float32):
                words.view(np.float32)[:, 2 * i] = column
            elif isinstance(example, float | np.floating):
                words.view(np.float64)[:, i] = column
            else:
                words.view(np.int64)[:, i] = column
        return words

    def run(self, table: np.ndarray, cursors: np.ndarray) -> tuple[int, np.ndarray]:
        """Run steps. Other Python threads can work meanwhile.

        Args:
            table: one row of words for each step, or one row for all steps.
            cursors: C-contiguous int64 array of shape (steps, cursors).

        Returns:
            (steps that were completed, results of shape (steps, results) as words).
        """
        steps = len(cursors)
        results = np.zeros((steps, self._results), np.uint64)
        tables = *self._addresses, address_of(table), address_of(cursors), address_of(results)
        words = table.shape[1] if len(table) > 1 else 0
        return run_machine_code(self._function, steps, words, *tables), results


_Chosen = Callable[[Sequence[Any]], Sequence[Any]]


def _chooser(places: Sequence[int]) -> _Chosen:
    """Return a function that takes the elements at these places out of a sequence."""
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda values: (values[places[0]],)) if places else (lambda values: ())


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    """Return whether two arguments are the same number, or the same memory with the same shape."""
    if isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)
            and address_of(a) == address_of(b)
        )
    if isinstance(b, tuple):
        return isinstance(a, tuple) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _check_results(lines: Sequence[Line | Total | Mark | Peek], views: Sequence[View]) -> None:
    """Raise NotRecordableError if Python computes with the result of a kernel, which a program would not do."""
    of_kernels = {}
    for line in lines:
        if isinstance(line, Line):
            of_kernels[line.result] = returned = callee_of(line, views).returns
            if line.in_update and returned not in (types.none, types.boolean):
                raise NotRecordableError(f"an update computes with the result of the kernel {line.kernel.__name__}")
        elif isinstance(line, Total) and any(of_kernels[result] != types.float64 for result, _ in line.terms):
            raise NotRecordableError("the objective is no sum of numbers that kernels return")


def _structure(line: Line | Total | Mark | Peek) -> tuple[Any, ...]:
    """Return what a function's code depends on."""
    if isinstance(line, Line):
        return id(line.kernel), line.places, line.result
    return type(line).__name__, *line


def _word(value: Any) -> int:
    """Return the bits of a number, in a word of 64 bits."""
    if isinstance(value, np.float32):
        return int(value.view(np.uint32))
    return int(np.float64(value).view(np.uint64)) if isinstance(value, float | np.floating) else int(value)
