"""Recorded steps in the training loop: many are taken at one go and then entered in the history one by one."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import numpy as np

from ..data import Batches, Data
from ..net.net import Net
from ..optim.optimizer import Optimizer
from .callbacks import Callback, Record, Run, acts_at_steps
from .history import History
from .recorded import Ahead, Block, Forecast, RecordedSteps, Update
from .state import State

# Of an epoch so far: sum of losses, number of samples, number of correct answers (None if the loss does not classify);
# with sample weights, the weighted sums.
Sums = tuple[float, float, float | None]
NOTHING_YET: Sums = (0.0, 0, 0)

_AT_ONE_GO = 0.05  # seconds that a go takes at most, about: signals and progress bars wait for its end


class Replaying:
    """The part of a ``Loop`` that takes recorded steps. ``Loop`` declares and sets most of the attributes."""

    net: Net
    optimizer: Optimizer
    batches: Batches
    callbacks: list[Callback]
    validation: Data | None
    history: History
    step: int
    steps: int
    lr_factor: float
    epoch_so_far: Sums
    good: State
    latest: State
    unproven: bool
    over: bool
    recorded: RecordedSteps
    _forecast: Forecast
    _evaluated: Any
    _amid: bool
    # State before several epochs that are taken at one go, and state before the last of them; None until there are any.
    _kept: tuple[State, State] | None
    _epoch_by_epoch: bool  # whether each epoch ends a go

    def _at_speed(self, epoch_by_epoch: bool) -> Iterator[Record]:
        """Take all steps, many at one go where possible; yield the last record of each go."""
        iter(self)  # type: ignore[call-overload]  # ``Loop`` is an iterator
        known = self.recorded.seconds()
        self._epoch_by_epoch, most = epoch_by_epoch, 1 if known is None else max(1, int(_AT_ONE_GO / known))
        try:
            while True:
                start, before = time.perf_counter(), self.step
                try:
                    record = self._advance(most)
                except StopIteration:
                    return
                each = (time.perf_counter() - start) / (self.step - before)
                most = max(1, min(8 * most, int(_AT_ONE_GO / each)))
                yield record
        finally:
            self._epoch_by_epoch = True

    def _replay(self, most: int) -> Record | None:
        """Take up to ``most`` recorded steps; return None if Python must take the next step."""
        if self.recorded.reason is not None:
            return None
        left = min(len(self.batches) - self.batches.position // self.batches.batch_size, self.steps - self.step)
        if most > left and not self._epoch_by_epoch and self._nobody_looks_at_epochs():
            record = self._take_epochs(self._forecast.look_ahead(cast(Run, self), most))
            if record is not None:
                return record
        ahead = self._forecast.look_ahead(cast(Run, self), min(most, left))
        if not ahead.updates:
            return None
        epoch = self.batches.epoch_index + 1
        with self._under_way():
            block = self._take(ahead)
            if block is None:
                return None
            if self.unproven:  # the first loss after ``latest`` is finite
                self.good, self.latest, self.unproven = self.latest, self.good, False
            record = self._enter(epoch, ahead, block)
            if block.failed:
                self._update_again(epoch, ahead.updates[len(block.losses)])
            self._tell(record, ahead.looking if len(block.losses) == len(ahead.updates) else ())
        self._rest()
        return record

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """Within this context a step is under way; after an exception it stays so, and the run cannot go on."""
        self._amid = True
        yield
        self._amid = False

    def _take(self, ahead: Ahead) -> Block | None:
        self.net.begin_training()  # other threads predict before or after these steps
        try:
            return self.recorded.take(ahead.updates, ahead.known, ahead.place)
        finally:
            self.net.end_training()

    def _enter(self, epoch: int, ahead: Ahead, block: Block) -> Record:
        """Add steps of one epoch to the history and to ``epoch_so_far``; return the record of the last one."""
        taken = len(block.losses)
        self.history.steps.extend_later(_rows(self.step + 1, epoch, block, ahead), taken)
        self.epoch_so_far = _added(self.epoch_so_far, block)
        self.step += taken
        last = ahead.updates[taken - 1]
        return Record(self.step, epoch, block.losses[-1] if taken else np.nan, last.lr * last.lr_factor)

    def _update_again(self, epoch: int, update: Update) -> NoReturn:
        """Make the update that failed in compiled code, on the same gradient, to raise its error."""
        try:
            self.optimizer.update(update.lr * update.lr_factor, update.lr_factor)
        except FloatingPointError as error:
            self._fail("a finite gradient", f"at step {self.step + 1} (epoch {epoch}): {error}")
        raise RuntimeError(f"Trainer: expected the update of step {self.step + 1} to fail as it did in compiled code")

    # Several epochs at one go ----------------------------------------------------------------------------

    def _nobody_looks_at_epochs(self) -> bool:
        """Return whether the run is at the start of an epoch, and nothing but the history notes the end of epochs."""
        if self.batches.position or self.validation is not None or self._evaluated is not None:
            return False
        if self.net.streams:  # the state of the net is reset between epochs
            return False
        return not any(
            acts_at_steps(callback) or type(callback).on_epoch is not Callback.on_epoch for callback in self.callbacks
        )

    def _take_epochs(self, ahead: Ahead) -> Record | None:
        """Take several whole epochs at one go, or all that is left of the run.

        Returns:
            The record of the last step. None if these are no more than one epoch, or if one of their steps failed:
            all of them are undone then, and epochs are taken one by one from there on.
        """
        each, count, first = len(self.batches), len(ahead.updates), self.batches.epoch_index
        if self.step + count < self.steps:
            count -= count % each
        last = (count - 1) // each * each  # steps before the last epoch
        if last <= 0:
            return None
        before, amid = self._kept = self._kept or (State(self.net, self.optimizer), State(self.net, self.optimizer))
        before.take(self.net, self.optimizer)
        with self._under_way():
            block = self._take(ahead.part(0, last))
            if block is not None and len(block.losses) == last:
                amid.take(self.net, self.optimizer)
                end = self._take(ahead.part(last, count))
                block = block.joined(end) if end is not None else None
            if block is None or len(block.losses) < count or not np.isfinite(self.net.params).all():
                before.put_back(self.net, self.optimizer)
                self.batches.seek(first)
                self._epoch_by_epoch = True
                return None
            # As if epochs had been taken one by one: the loss of the last one was finite, and its end is new.
            self._kept, self.good, self.unproven = (before, self.good), amid, True
            self.latest.take(self.net, self.optimizer)
            record = self._enter_epochs(first + 1, each, ahead, block)
        self._rest()
        return record

    def _enter_epochs(self, first: int, each: int, ahead: Ahead, block: Block) -> Record:
        """Add steps of whole epochs, and the epochs, to the history; return the record of the last step."""
        count, last = len(block.losses), ahead.updates[len(block.losses) - 1]
        epochs = -(-count // each)
        self.history.steps.extend_later(_rows_of_steps(self.step, first, each, ahead, block), count)
        self.history.epochs.extend_later(_rows_of_epochs(self.step, first, each, ahead, block), epochs)
        self.step += count
        return Record(self.step, first + epochs - 1, block.losses[-1], last.lr * last.lr_factor)

    # What ``Loop`` does ----------------------------------------------------------------------------------

    def _advance(self, most: int) -> Record:
        raise NotImplementedError

    def _tell(self, record: Record, callbacks: Sequence[Callback]) -> None:
        raise NotImplementedError

    def _end_epoch(self, record: Record) -> None:
        raise NotImplementedError

    def _rest(self) -> None:
        raise NotImplementedError

    def _fail(self, expected: str, got: str) -> NoReturn:
        raise NotImplementedError


def _rows(first: int, epoch: int, block: Block, ahead: Ahead) -> Iterator[dict[str, Any]]:
    """Make the history's rows of steps of one epoch."""
    steps = zip(
        block.losses, ahead.updates, ahead.hyperparameters, strict=False
    )  # the last steps may not have been taken
    for step, (loss, update, values) in enumerate(steps, first):
        row = {"step": step, "epoch": epoch, "loss": loss, "lr": update.lr * update.lr_factor, **values}
        if block.norms is not None:
            row["grad_norm"] = block.norms[step - first]
        yield row


def _rows_of_steps(before: int, first: int, each: int, ahead: Ahead, block: Block) -> Iterator[dict[str, Any]]:
    """Make the history's rows of steps of the epochs from ``first`` on; ``before`` steps came before them."""
    for epoch, start in enumerate(range(0, len(block.losses), each), first):
        end = start + each
        yield from _rows(before + 1 + start, epoch, block.part(start, end), ahead.part(start, end))


def _rows_of_epochs(before: int, first: int, each: int, ahead: Ahead, block: Block) -> Iterator[dict[str, Any]]:
    """Make the history's rows of several epochs; arguments as for ``_rows_of_steps``."""
    for epoch, start in enumerate(range(0, len(block.losses), each), first):
        part = block.part(start, start + each)
        steps = len(part.losses)
        last = ahead.updates[start + steps - 1]
        row = row_of_epoch(epoch, before + start + steps, _added(NOTHING_YET, part))
        yield row | {"lr": last.lr * last.lr_factor}


def _added(so_far: Sums, block: Block) -> Sums:
    """Add steps to the sums of an epoch, one by one, as steps that Python takes are added."""
    loss, samples, right = so_far
    for value, counted in zip(block.losses, block.counted, strict=True):
        loss, samples = loss + value * counted, samples + counted
    if right is None or block.right is None:
        return loss, samples, None
    for newly_right in block.right:
        right += newly_right
    return loss, samples, right


def row_of_epoch(epoch: int, step: int, sums: Sums) -> dict[str, Any]:
    """Return the history's row of an epoch that ended with a step, without evaluations."""
    loss, samples, right = sums
    row = {"epoch": epoch, "step": step, "loss": loss / samples}
    if right is not None:
        row["accuracy"] = right / samples
    return row
