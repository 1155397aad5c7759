"""Training steps that are recorded once and replayed.

A step is a fixed list of kernel calls on fixed memory, because layers hold no state and a net owns all arrays. The
list is made once: Python goes through a step while the kernels are only noted (``kernels.calls.noting``). From then on
a compiled loop makes the calls (``kernels.replay``). The bits are those of a step that Python takes, because the same
machine code works on the same arrays in the same order; all that Python does in a step is to choose the kernels.

What changes from step to step is read from tables. Three cursors say where a step is: the position of its batch in
the epoch, the epoch, and the number of the training pass, which keys the noise. The numbers of an update (learning
rate, bias corrections) are computed by the rule itself: it is asked to update for each step while the kernels are
noted, and the numbers that it hands to them become the row of the step.

A guard is a kernel that returns whether the step may go on, such as the check that the batch is finite. Where a guard
or the loss ends a step before its update, Python takes that step from its beginning and raises the error. Where a guard
ends the update itself, the block says so, and Python makes the update of the same gradient again to raise the error.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple, cast

import numpy as np

from ...data import Batches
from ...kernels.replay import NotRecordableError, Program, Tape, noted_on, noting
from ...net.losses import Loss
from ...net.net import Net
from ...net.objective import Objective
from ...optim.optimizer import Optimizer
from .reasons import reason_against

POSITION, EPOCH, PASS = range(3)  # cursors: samples before the batch in the epoch, epochs, training passes

PATIENCE = 64  # steps that a run of a new kind takes in Python first
_known_kinds: dict[tuple[Any, ...], float] = {}  # seconds a step, by kind of run, of those that have been recorded
_MOST_PROGRAMS = 64  # of one run; an update that has another form at every step is not recorded


class Block(NamedTuple):
    """Steps that were taken.

    Attributes:
        losses: objectives (steps,).
        counted: for each step, the number of targets that count, or the sum of their weights.
        right: the same for targets that were classified correctly; None if the loss does not classify.
        norms: for each step, the norm of the gradient before clipping; None if it is not clipped.
        failed: whether one more step was begun, whose update failed. Its passes are done, and it is counted in
            ``net.step`` and in the position of the batches.
    """

    losses: list[float]
    counted: list[float]
    right: list[float] | None
    norms: list[float] | None
    failed: bool = False

    def part(self, first: int, end: int) -> "Block":
        """Return some of the steps."""
        right = None if self.right is None else self.right[first:end]
        norms = None if self.norms is None else self.norms[first:end]
        return Block(self.losses[first:end], self.counted[first:end], right, norms)

    def joined(self, other: "Block") -> "Block":
        """Return these steps and others that follow them."""
        right = None if self.right is None or other.right is None else self.right + other.right
        norms = None if self.norms is None or other.norms is None else self.norms + other.norms
        return Block(self.losses + other.losses, self.counted + other.counted, right, norms, other.failed)


class Update(NamedTuple):
    """The update of one step: the learning rate, before ``lr_factor`` and groups."""

    lr: float
    lr_factor: float


class RecordedSteps:
    """The steps of one net with its batches and its optimizer.

    Attributes:
        reason: why the steps cannot be recorded; None if they can.
    """

    def __init__(self, net: Net, batches: Batches, optimizer: Optimizer) -> None:
        self.net, self.batches, self.optimizer = net, batches, optimizer
        self.reason = reason_against(net, optimizer)
        self._programs: dict[int, list[_Step]] = {}  # by batch size
        self._first: int | None = None  # steps of the optimizer before this run
        self._depends: tuple[Any, ...] | None = None  # what the programs depend on
        self._steady: dict[tuple[int, Update], _Row] = {}  # of updates that are always the same
        # Of vectorised rules: updates, the calls noted for all of them, and by batch size the program and its table.
        self._tables: tuple[Sequence[Update], Tape, dict[int, tuple[_Step, np.ndarray]]] | None = None
        self._open: ExitStack | None = None  # within ``at_work``
        self._ready_in: int | None = None  # process in which ``_open`` keeps kernels ready to be noted

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within this context, kernels stay ready to be noted from the first time on, which saves time at each go."""
        with ExitStack() as stack:
            self._open, self._ready_in = stack, None
            try:
                yield
            finally:
                self._open = None

    def take(self, updates: list[Update], known: Sequence[Update] = (), place: int = 0) -> Block | None:
        """Take steps, one for each update; stop at a step that ends in an error.

        Args:
            updates: the updates.
            known: a list that has them from ``place`` on, and then updates that will probably follow. The numbers of
                all of them are computed at once, and kept as long as the same list is given.
            place: see ``known``.

        Returns:
            What was done; None if Python must take the next step.
        """
        if self.reason is not None or self.batches.position % self.batches.batch_size or not self._is_worth_it():
            return None
        self._forget_if_changed()
        cursors = np.empty((len(updates), 3), np.int64)
        sizes = self.batches.coming_batches(cursors)
        cursors[:, PASS] = range(self.net.step, self.net.step + len(updates))
        numbers = self.optimizer.numbers.copy()
        try:
            stretches, later = self._stretches(sizes, updates, known, place)
        except NotRecordableError as error:
            self.reason = str(error)
            self.optimizer.numbers = numbers
            return None
        block = self._run(cursors, stretches)
        if later:
            self.optimizer.numbers = [numbers, *later][len(block.losses)]
        return block if block.losses or block.failed else None

    def seconds(self) -> float | None:
        """Return how long a recorded step of such a run took last in this process; None if that is not known."""
        return _known_kinds.get(self._kind) or None

    @cached_property
    def _kind(self) -> tuple[Any, ...]:
        """What runs whose steps take about as long have in common."""
        layers = [(type(node.layer), node.plan.out) for node in self.net.nodes()]
        rules = [type(rule) for rule in self.optimizer.all_rules()]
        return self.net.input_shape, self.net.dtype, self.batches.batch_size, *layers, *rules

    def _is_worth_it(self) -> bool:
        """Return whether to record now: compiling a function takes as long as some hundred steps of a small net.

        A run of a new kind therefore takes its first steps in Python.
        """
        if self._depends is not None:
            return True
        if self._first is None:
            self._first = self.optimizer.steps
        if self.optimizer.steps < self._first + PATIENCE and self._kind not in _known_kinds:
            return False
        _known_kinds.setdefault(self._kind, 0.0)
        return True

    def _forget_if_changed(self) -> None:
        """Forget the programs if memory has moved, or if what they hold as fixed has changed.

        Rules use scratch memory of the Python thread.
        """
        net = self.net
        if self._depends is None:
            net.reserve(self.batches.batch_size)  # before anything is recorded, since memory moves when it grows
        fixed = net.l2, net.l1, net.max_norm, net.loss_function, net.frozen, self.optimizer.clip_norm
        depends = (net.generation, threading.get_ident(), *fixed)
        if depends != self._depends:
            self._depends, self._programs, self._steady, self._tables = depends, {}, {}, None

    def _run(self, cursors: np.ndarray, stretches: "list[_Stretch]") -> Block:
        """Run these steps, up to the first that does not complete."""
        block, failed, first = Block([], [], [], []), False, 0
        for step, length, table in stretches:
            end, start = first + length, time.perf_counter()
            done, results = step.program.run(table, cursors[first:end])
            if done:
                _known_kinds[self._kind] = (time.perf_counter() - start) / done
            step.read(results[:done], block)
            failed = done < end - first and bool(results[done, step.updating])
            if begun := done + failed:
                self.net.step += begun
                self.net.note_pass(step.batch[0], step.objective(results[begun - 1].view(np.float64)))
                self.optimizer.steps += done
                self.batches.advance(begun)
            if done < end - first:
                break
            first = end
        right = block.right if step.right is not None else None
        norms = block.norms if step.norm is not None else None
        return block._replace(right=right, norms=norms, failed=failed)

    def _stretches(
        self, sizes: list[int], updates: list[Update], known: Sequence[Update], place: int
    ) -> "tuple[list[_Stretch], list[np.ndarray]]":
        """Return the steps with these updates, and the rule's numbers after each; none if the rule keeps none."""
        optimizer, first = self.optimizer, self.optimizer.steps
        always_the_same = optimizer.is_steady() and updates.count(updates[0]) == len(updates)
        try:
            if not always_the_same and optimizer.takes_many():
                return self._together(sizes, *((known, place) if known else (updates, 0))), []
            rows, numbers = self._rows(sizes, updates)
            return _joined(rows), numbers
        finally:
            optimizer.steps = first

    def _together(self, sizes: list[int], known: Sequence[Update], place: int) -> "list[_Stretch]":
        """Do what ``_stretches`` says, by noting one update with the numbers of all steps."""
        optimizer, first = self.optimizer, self.optimizer.steps
        for size in set(sizes) - set(self._programs):
            i = sizes.index(size)
            optimizer.steps = first + i
            self._rows_one_by_one([size], [known[place + i]])  # makes the program
        if self._tables is None or self._tables[0] is not known:
            rates, factors = np.array(known).T
            calls: Tape = []
            with self._noting(), noted_on(calls):
                optimizer.steps = first - place + np.arange(len(known))  # type: ignore[assignment]  # see takes_many
                optimizer.update(rates * factors, factors)
            self._tables = known, calls, {}
        _, calls, tables = self._tables
        found: list[_Stretch] = []
        for size, alike in groupby(sizes):
            if size not in tables:
                row = self._known(size, calls)
                assert row is not None  # a vectorised rule makes the same calls in all steps
                tables[size] = row.step, row.step.program.table(row.numbers, len(known))
            step, table = tables[size]
            length = len(list(alike))
            found.append(_Stretch(step, length, table[place : place + length]))
            place += length
        return found

    def _rows(self, sizes: list[int], updates: list[Update]) -> "tuple[list[_Row], list[np.ndarray]]":
        """Return the row of each update, and the rule's numbers after it; ``optimizer.steps`` changes."""
        optimizer = self.optimizer
        if not optimizer.is_steady():
            return self._rows_one_by_one(sizes, updates)
        if optimizer.steps > 0 and updates.count(updates[0]) == len(updates):
            return self._steady_rows(sizes, updates[0]), []
        if optimizer.steps > 0 or len(updates) == 1:
            return self._rows_one_by_one(sizes, updates)
        # The first update of a rule may differ from all others.
        start, _ = self._rows_one_by_one(sizes[:1], updates[:1])
        optimizer.steps = 1
        return start + self._rows(sizes[1:], updates[1:])[0], []

    def _steady_rows(self, sizes: list[int], update: Update) -> "list[_Row]":
        """Return the rows of updates that are always the same."""
        by_size = {}
        for size in set(sizes):
            known = self._steady.get((size, update))
            if known is None:
                (known,), _ = self._rows_one_by_one([size], [update])
                if len(self._steady) < _MOST_PROGRAMS:
                    self._steady[size, update] = known
            by_size[size] = row = known
        return [row] * len(sizes) if len(by_size) == 1 else [by_size[size] for size in sizes]

    def _rows_one_by_one(self, sizes: list[int], updates: list[Update]) -> "tuple[list[_Row], list[np.ndarray]]":
        """Do what ``_rows`` says, by noting each update. ``optimizer.steps`` changes."""
        optimizer, first = self.optimizer, self.optimizer.steps
        rows: list[_Row] = []
        numbers: list[np.ndarray] = []
        calls: Tape = []
        keeps = optimizer.numbers.size > 0
        with self._noting(), noted_on(calls):
            for i, (size, update) in enumerate(zip(sizes, updates, strict=True)):
                calls.clear()
                optimizer.steps = first + i
                optimizer.update(update.lr * update.lr_factor, update.lr_factor)
                rows.append(self._row(size, update, calls))
                if keeps:
                    numbers.append(optimizer.numbers.copy())
        return rows, numbers

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Within this context kernels can be noted."""
        with ExitStack() as here:
            if self._open is None:
                here.enter_context(noting())
            elif self._ready_in != os.getpid():
                self._open.enter_context(noting())
                self._ready_in = os.getpid()
            yield

    def _row(self, size: int, update: Update, calls: Tape) -> "_Row":
        """Return the row of an update that makes these calls; record the step if it is the first of its form."""
        known = self._known(size, calls)
        if known is None:
            if sum(map(len, self._programs.values())) == _MOST_PROGRAMS:
                raise NotRecordableError("its updates have another form at every step")
            self._programs.setdefault(size, []).append(self._record(size, update, calls))
            known = self._known(size, calls)
            assert known is not None
        return known

    def _known(self, size: int, calls: Tape) -> "_Row | None":
        """Return the row of an update that makes these calls; None if no step of its form has been recorded."""
        for step in self._programs.get(size, ()):
            numbers = step.program.row_of(calls)
            if numbers is not None:
                return _Row(step, numbers)
        return None

    def _record(self, size: int, update: Update, calls: Tape) -> "_Step":
        """Make the program of a step."""
        optimizer, following = self.optimizer, calls
        numbers, steps = optimizer.numbers.copy(), optimizer.steps
        kernels = [call.kernel for call in calls]
        try:
            for later in range(1, _MOST_PROGRAMS):
                optimizer.steps = steps + later
                try:
                    noted, _ = _noted(optimizer.update, update.lr * update.lr_factor, update.lr_factor)
                except ValueError:  # a schedule leaves its range in a step to come, which will say so
                    break
                if [call.kernel for call in noted] == kernels:
                    following = noted
                    break
        finally:
            optimizer.numbers, optimizer.steps = numbers, steps
        return _Step(self.net, self.batches, optimizer, size, calls, following)


class _Row:
    """The numbers of the update of one step."""

    def __init__(self, step: "_Step", numbers: list[Any]) -> None:
        self.step, self.numbers = step, numbers

    @cached_property
    def words(self) -> np.ndarray:
        """The numbers as a table for steps that all have them."""
        return self.step.program.table(self.numbers, 1)


class _Stretch(NamedTuple):
    """Steps of one program that follow one another.

    Attributes:
        step: what they do.
        length: how many they are.
        table: their numbers, one row for each, or one row for all.
    """

    step: "_Step"
    length: int
    table: np.ndarray


def _joined(rows: list[_Row]) -> list[_Stretch]:
    """Return the steps of these rows in stretches."""
    ends = _ends_of_programs(rows)
    return [_Stretch(rows[i].step, end - i, _table(rows[i:end])) for i, end in zip([0, *ends], ends, strict=False)]


def _ends_of_programs(rows: list[_Row]) -> list[int]:
    """Return where rows end that follow one another and belong to one program.

    Rows after the first that are all the same are apart from it, since they need no table of all steps.
    """
    same = rows.count(rows[-1])
    if same == len(rows):
        return [len(rows)]
    if same == len(rows) - 1 and rows[0] is not rows[-1]:
        return [1, len(rows)]
    changes = [i for i in range(1, len(rows)) if rows[i].step is not rows[i - 1].step]
    return [*changes, len(rows)]


def _table(rows: list[_Row]) -> np.ndarray:
    """Return the table of steps of one program."""
    if rows.count(rows[0]) == len(rows):
        return rows[0].words
    return rows[0].step.program.table(zip(*(row.numbers for row in rows), strict=True), len(rows))


class _Step:
    """The program of a step, and the meaning of its results.

    Attributes:
        program: the program.
        batch: the arrays (x, y) that the batch is gathered into.
        total: index of the objective.
        updating: index of a 1 that is written before the update.
        right: index of the number of correct samples; None if the loss does not classify.
        norm: index of the gradient's norm before clipping; None if it is not clipped.
    """

    def __init__(
        self, net: Net, batches: Batches, optimizer: Optimizer, size: int, update: Tape, following: Tape
    ) -> None:
        self.program = Program(cursors=3)
        x, y = self.batch = batches.places(size)
        weighed = {"sample_weight": batches.weights(size)}
        gathered = [_noted(batches.gather, size, *cursor)[0] for cursor in ((0, 0), (size, 0), (0, 1))]
        if not gathered[0]:
            raise NotRecordableError(f"no kernel gathers data of dtypes {x.dtype} and {y.dtype}")
        self.program.add(gathered[0], [(gathered[1], POSITION), (gathered[2], EPOCH)])
        before, objective = net.step, net.objective
        try:
            passes, _ = _noted(net.loss_and_grads, x, y, **weighed)
            made = net.objective
            later, _ = _noted(net.loss_and_grads, x, y, **weighed)
        finally:
            net.step, net.objective = before, objective
        self._l2, self._l1 = 0.5 * net.l2, net.l1
        terms = self._terms(net, made)
        results = self.program.add(passes, [(later, PASS)], [number for number, _ in terms])
        self._parts = [(result, factor) for result, (_, factor) in zip(results, terms, strict=True)]
        self.total = self.program.add_total(self._parts)
        counting, number = _noted(net.correct, y, **weighed)
        self.right = None if number is None else self.program.add(counting, keep=[int(number)])[0]
        # All targets count, or a kernel returns the number of those that do, or the sum of their weights.
        self._targets, self._weighed = size * net.positions, weighed["sample_weight"] is not None
        self._counted = None
        if self._weighed or cast(Loss, net.loss_function).leaves_out():
            counts, counted = _noted(net.counted, y, **weighed)
            self._counted = self.program.add(counts, keep=[int(counted)])[0]
        self.updating = self.program.add_mark()
        self.program.add_update(update, following)
        clips = optimizer.clip_norm is not None
        self.norm = self.program.add_peek(optimizer.norm_sums, 2) if clips else None
        self.program.finish()

    def _terms(self, net: Net, made: Objective) -> list[tuple[int, float | None]]:
        """Return the parts of the objective: (number of the call that returns it, what it is multiplied by)."""
        number = int(made.data)
        if made.data != number:
            raise NotRecordableError(f"{net.loss_function} computes with the result of its kernel")
        penalties = [(made.l2, self._l2), (made.l1, self._l1)]
        return [(number, None), *((round(value / factor), factor) for value, factor in penalties if factor)]

    def read(self, results: np.ndarray, block: Block) -> None:
        """Add steps to a block."""
        kind = np.float64 if self._weighed else np.int64
        block.losses.extend(results[:, self.total].view(np.float64).tolist())
        if self._counted is None:
            block.counted.extend([self._targets] * len(results))
        else:
            block.counted.extend(results[:, self._counted].view(kind).tolist())
        if self.right is not None and block.right is not None:
            block.right.extend(results[:, self.right].view(kind).tolist())
        if self.norm is not None and block.norms is not None:
            block.norms.extend(results[:, self.norm].view(np.float64).tolist())

    def objective(self, results: np.ndarray) -> Objective:
        """Return the objective of a step with these results."""
        values = iter(float(results[i]) * (1.0 if factor is None else factor) for i, factor in self._parts)
        return Objective(next(values), next(values) if self._l2 else 0.0, next(values) if self._l1 else 0.0)


def _noted(function: Callable[..., Any], *args: Any, **named: Any) -> tuple[Tape, Any]:
    """Return the kernel calls that a function makes, and what it returns where a kernel returns its call's number."""
    calls: Tape = []
    with noted_on(calls):
        made = function(*args, **named)
    return calls, made
