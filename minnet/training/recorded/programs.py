"""The program of a step, the numbers of its updates, and what its results mean."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np

from ...data import Batches
from ...kernels.replay import NotRecordableError, Program, Tape, noted_on
from ...net.losses import Loss
from ...net.net import Net
from ...net.objective import Objective
from ...optim.optimizer import Optimizer

POSITION, EPOCH, PASS = range(3)  # cursors: samples before the batch in the epoch, epochs, training passes


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


class Row:
    """The numbers of the update of one step."""

    def __init__(self, step: "Step", numbers: list[Any]) -> None:
        self.step, self.numbers = step, numbers

    @cached_property
    def words(self) -> np.ndarray:
        """The numbers as a table for steps that all have them."""
        return self.step.program.table(self.numbers, 1)


class Stretch(NamedTuple):
    """Steps of one program that follow one another.

    Attributes:
        step: what they do.
        length: how many they are.
        table: their numbers, one row for each, or one row for all.
    """

    step: "Step"
    length: int
    table: np.ndarray


def joined(rows: list[Row]) -> list[Stretch]:
    """Return the steps of these rows in stretches."""
    ends = _ends_of_programs(rows)
    return [Stretch(rows[i].step, end - i, _table(rows[i:end])) for i, end in zip([0, *ends], ends, strict=False)]


def _ends_of_programs(rows: list[Row]) -> list[int]:
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


def _table(rows: list[Row]) -> np.ndarray:
    """Return the table of steps of one program."""
    if rows.count(rows[0]) == len(rows):
        return rows[0].words
    return rows[0].step.program.table(zip(*(row.numbers for row in rows), strict=True), len(rows))


class Step:
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
        gathered = [noted_calls(batches.gather, size, *cursor)[0] for cursor in ((0, 0), (size, 0), (0, 1))]
        if not gathered[0]:
            raise NotRecordableError(f"no kernel gathers data of dtypes {x.dtype} and {y.dtype}")
        self.program.add(gathered[0], [(gathered[1], POSITION), (gathered[2], EPOCH)])
        before, objective = net.step, net.objective
        try:
            passes, _ = noted_calls(net.loss_and_grads, x, y, **weighed)
            made = net.objective
            later, _ = noted_calls(net.loss_and_grads, x, y, **weighed)
        finally:
            net.step, net.objective = before, objective
        self._l2, self._l1 = 0.5 * net.l2, net.l1
        terms = self._terms(net, made)
        results = self.program.add(passes, [(later, PASS)], [number for number, _ in terms])
        self._parts = [(result, factor) for result, (_, factor) in zip(results, terms, strict=True)]
        self.total = self.program.add_total(self._parts)
        counting, number = noted_calls(net.correct, y, **weighed)
        self.right = None if number is None else self.program.add(counting, keep=[int(number)])[0]
        # All targets count, or a kernel returns the number of those that do, or the sum of their weights.
        self._targets, self._weighed = size * net.positions, weighed["sample_weight"] is not None
        self._counted = None
        if self._weighed or cast(Loss, net.loss_function).leaves_out():
            counts, counted = noted_calls(net.counted, y, **weighed)
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


def noted_calls(function: Callable[..., Any], *args: Any, **named: Any) -> tuple[Tape, Any]:
    """Return the kernel calls that a function makes, and what it returns where a kernel returns its call's number."""
    calls: Tape = []
    with noted_on(calls):
        made = function(*args, **named)
    return calls, made
