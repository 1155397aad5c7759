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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ...data import Batches
from ...kernels.replay import NotRecordableError, Tape, noted_on, noting
from ...net.net import Net
from ...optim.optimizer import Optimizer
from .programs import PASS, Block, Row, Step, Stretch, joined, noted_calls
from .reasons import reason_against

PATIENCE = 64  # steps that a run of a new kind takes in Python first
_known_kinds: dict[tuple[Any, ...], float] = {}  # seconds a step, by kind of run, of those that have been recorded
_MOST_PROGRAMS = 64  # of one run; an update that has another form at every step is not recorded


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
        self._programs: dict[int, list[Step]] = {}  # by batch size
        self._first: int | None = None  # steps of the optimizer before this run
        self._depends: tuple[Any, ...] | None = None  # what the programs depend on
        self._steady: dict[tuple[int, Update], Row] = {}  # of updates that are always the same
        # Of vectorised rules: updates, the calls noted for all of them, and by batch size the program and its table.
        self._tables: tuple[Sequence[Update], Tape, dict[int, tuple[Step, np.ndarray]]] | None = None
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

    def _run(self, cursors: np.ndarray, stretches: list[Stretch]) -> Block:
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
    ) -> tuple[list[Stretch], list[np.ndarray]]:
        """Return the steps with these updates, and the rule's numbers after each; none if the rule keeps none."""
        optimizer, first = self.optimizer, self.optimizer.steps
        always_the_same = optimizer.is_steady() and updates.count(updates[0]) == len(updates)
        try:
            if not always_the_same and optimizer.takes_many():
                return self._together(sizes, *((known, place) if known else (updates, 0))), []
            rows, numbers = self._rows(sizes, updates)
            return joined(rows), numbers
        finally:
            optimizer.steps = first

    def _together(self, sizes: list[int], known: Sequence[Update], place: int) -> list[Stretch]:
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
        found: list[Stretch] = []
        for size, alike in groupby(sizes):
            if size not in tables:
                row = self._known(size, calls)
                assert row is not None  # a vectorised rule makes the same calls in all steps
                tables[size] = row.step, row.step.program.table(row.numbers, len(known))
            step, table = tables[size]
            length = len(list(alike))
            found.append(Stretch(step, length, table[place : place + length]))
            place += length
        return found

    def _rows(self, sizes: list[int], updates: list[Update]) -> tuple[list[Row], list[np.ndarray]]:
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

    def _steady_rows(self, sizes: list[int], update: Update) -> list[Row]:
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

    def _rows_one_by_one(self, sizes: list[int], updates: list[Update]) -> tuple[list[Row], list[np.ndarray]]:
        """Do what ``_rows`` says, by noting each update. ``optimizer.steps`` changes."""
        optimizer, first = self.optimizer, self.optimizer.steps
        rows: list[Row] = []
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

    def _row(self, size: int, update: Update, calls: Tape) -> Row:
        """Return the row of an update that makes these calls; record the step if it is the first of its form."""
        known = self._known(size, calls)
        if known is None:
            if sum(map(len, self._programs.values())) == _MOST_PROGRAMS:
                raise NotRecordableError("its updates have another form at every step")
            self._programs.setdefault(size, []).append(self._record(size, update, calls))
            known = self._known(size, calls)
            assert known is not None
        return known

    def _known(self, size: int, calls: Tape) -> Row | None:
        """Return the row of an update that makes these calls; None if no step of its form has been recorded."""
        for step in self._programs.get(size, ()):
            numbers = step.program.row_of(calls)
            if numbers is not None:
                return Row(step, numbers)
        return None

    def _record(self, size: int, update: Update, calls: Tape) -> Step:
        """Make the program of a step."""
        optimizer, following = self.optimizer, calls
        numbers, steps = optimizer.numbers.copy(), optimizer.steps
        kernels = [call.kernel for call in calls]
        try:
            for later in range(1, _MOST_PROGRAMS):
                optimizer.steps = steps + later
                try:
                    noted, _ = noted_calls(optimizer.update, update.lr * update.lr_factor, update.lr_factor)
                except ValueError:  # a schedule leaves its range in a step to come, which will say so
                    break
                if [call.kernel for call in noted] == kernels:
                    following = noted
                    break
        finally:
            optimizer.numbers, optimizer.steps = numbers, steps
        return Step(self.net, self.batches, optimizer, size, calls, following)
