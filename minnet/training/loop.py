"""The training loop: a step, what happens after it, and how a run ends.

``Trainer`` builds on ``Loop``: it checks its arguments and sets the attributes that ``Loop`` declares.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..base.guide import Guided
from ..distributed import MPI
from ..distributed.ranks import Ranks
from ..distributed.sharded import Sharded
from ..net.losses import Loss
from ..net.net import Net
from ..schedules import Schedule
from ..schedules.given import as_schedule
from ..schedules.length import telling_steps, warn_of_length
from ..schedules.schedule import resolved
from ..storage import archive
from . import ownership, resume
from .agreement import agree_on_run
from .callbacks import Callback, Record, watches
from .description import fingerprint
from .divergence import DivergenceError
from .history import History
from .inputs import Rate, rate_at
from .recorded import Forecast, RecordedSteps
from .replaying import NOTHING_YET, Replaying, row_of_epoch
from .state import State


class Loop(Replaying, Guided):
    """An iterator over the steps of a run."""

    validation_weight: np.ndarray | None
    sample_weight: np.ndarray | None
    evaluate_training: int
    passes: Net | Sharded  # what makes the training passes of a batch
    exchange: MPI | None
    ranks: Ranks  # the processes that take the steps together
    identity: str
    leaving: str | None
    ended: bool
    _lr: Schedule
    _evaluated: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None
    _left: State | None
    _begun: bool

    def _start(self) -> None:
        """Set the state of a run before its first step."""
        self.lr_factor = 1.0
        self.history = History()
        self.leaving = None
        self.epoch_so_far = NOTHING_YET
        # Two copies of the state at the start of an epoch. A divergence restores ``good``. ``latest`` is newer and
        # replaces it once the first loss after it is known to be finite.
        self.good, self.latest = State(self.net, self.optimizer), State(self.net, self.optimizer)
        self.unproven = False
        self.ended = False
        self.over = True  # whether another run may use the callbacks
        self._kept = None
        self._epoch_by_epoch = True
        self._left = None  # state of a run that was left, from before ``on_end`` of the callbacks
        self._begun = False  # whether ``on_start`` of the callbacks was called
        self._amid = False  # whether a step has begun and not ended
        self._first_pass = self.net.step  # number of the first training pass of the present step
        self.recorded = RecordedSteps(self.net, self.batches, self.optimizer)
        if isinstance(self.passes, Sharded):
            self.recorded.reason = f"{self.passes.exchange} adds the gradients of shards within each step"
        self._forecast = Forecast()

    @property
    def lr(self) -> Schedule:
        return self._lr

    @lr.setter
    def lr(self, value: Rate) -> None:
        self._lr = self._checked_rate(as_schedule("Trainer", "lr", value))
        warn_of_length("lr", self._lr, self.steps, len(self.batches))

    def _checked_rate(self, schedule: Schedule) -> Schedule:
        """Return the schedule with lengths in steps; ValueError if it leaves its range in a step still to come."""
        schedule = resolved(schedule, len(self.batches))
        for step in telling_steps(schedule, self.steps):
            if step >= self.step:
                rate_at(schedule, step)
        return schedule

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress: always, except on ranks other than 0."""
        return self.ranks.rank == 0

    @property
    def columns(self) -> list[str]:
        classifies = getattr(type(self.net.loss_function), "hits", Loss.hits) is not Loss.hits
        names = ["epoch", "step", "loss", *(["accuracy"] if classifies else [])]
        for part, data in (("train_", self._evaluated), ("val_", self.validation)):
            if data is not None:
                names += [part + name for name in ("loss", "data_loss", *(["accuracy"] if classifies else []))]
        return [*names, "lr"]

    # A step ----------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        if self._left is not None:
            ownership.take(self, continues=True)
            self._left.put_back(self.net, self.optimizer)
            self._left = self.leaving = self.history.stopped = None
            self.ended = False
        return self

    def __next__(self) -> Record:
        return self._advance(1)

    def _advance(self, most: int) -> Record:
        """Take the next step, and more of them, up to ``most``, if they are recorded and nobody looks at them.

        Returns:
            The record of the last step that was taken.
        """
        try:
            self._expect_a_step()
            if self.batches.position == 0:
                self.net.reset_state()  # the streams of an epoch begin with its first batch
            return self._replay(most) or self._take_step()
        except StopIteration:
            raise
        except BaseException:
            self._break_off()
            raise

    def _take_step(self) -> Record:
        """Take a step in Python."""
        # A rate or hyper-parameter that is out of its range raises its error here, before anything changes.
        lr, factor = rate_at(self._lr, self.step), self.lr_factor
        hyperparameters = self.optimizer.hyperparameters(lr_factor=factor)
        epoch = self.batches.epoch_index + 1
        self.net.begin_training()  # other threads predict before or after this step
        try:
            self._amid = True
            record, samples, right = self._update(epoch, lr, factor)
        finally:
            self.net.end_training()
        self.step += 1
        self._note(record, hyperparameters, samples, right)
        self._amid = False
        self._rest()
        return record

    def _expect_a_step(self) -> None:
        """Prepare for the next step: StopIteration if the run is over, RuntimeError if it cannot go on."""
        requested = self._requests() != (None, None)
        if requested and self._begun and not self.ended and not self._amid:
            self._rest()  # requested after between_steps was called, so a callback that saves has not heard of it
        if self.history.stopped is not None:
            if self.history.stopped == "finished" and self.step < self.steps:
                raise RuntimeError(
                    f"Trainer: expected steps to be raised before the run has ended; it ended after {self.step} of now "
                    f"{self.steps}. Trainer.resume goes on from the last file of a Checkpoint, which was not told of it"
                )
            self.end(self.history.stopped)
            raise StopIteration
        if self.step == self.steps:
            self.end("finished")
            raise StopIteration
        if self.net.frozen is not self.optimizer.frozen:  # another run or optimizer has used the net in between
            self.net.frozen = self.optimizer.frozen
        self._begin()
        if self._amid:
            raise RuntimeError(
                f"Trainer: expected whole steps; that after step {self.step} was broken off by an exception. "
                "Trainer.resume goes on from the last file that was saved"
            )

    def _update(self, epoch: int, lr: float, factor: float) -> tuple[Record, float, float | None]:
        """Run the passes and the update of the next batch.

        Returns:
            (record, samples, right): the number of samples and of correct answers, or their weighted sums.
        """
        x, y = self.batches.next()
        weights, self._first_pass = self.batches.weights(len(y)), self.net.step
        with np.errstate(over="ignore", invalid="ignore"):  # _fail reports a run that diverges
            loss = self.passes.loss_and_grads(x, y, sample_weight=weights)
        if not math.isfinite(loss):
            place = self.passes.first_non_finite() or "the loss itself"
            self._fail("a finite loss", f"loss {loss} at step {self.step + 1} (epoch {epoch}), first seen in {place}")
        if self.unproven:  # the first loss after ``latest`` is finite
            self.good, self.latest, self.unproven = self.latest, self.good, False
        record = Record(self.step + 1, epoch, loss, lr * factor)
        for callback in filter(watches, self.callbacks):
            callback.before_update(self, record)
        try:
            if self.optimizer.searches:
                self.optimizer.step(lr, lr_factor=factor, loss=loss, evaluate=lambda: self._again(x, y, weights))
            else:
                self.optimizer.step(lr, lr_factor=factor)
        except FloatingPointError as error:
            self._fail("a finite gradient", f"at step {self.step + 1} (epoch {epoch}): {error}")
        right = self.passes.correct(y, sample_weight=weights)
        return record, self.passes.counted(y, sample_weight=weights), right

    def _again(self, x: Any, y: Any, weights: np.ndarray | None) -> float:
        """Loss and gradient of the same batch with the same noise, at other parameters."""
        self.net.step = self._first_pass
        return self.passes.loss_and_grads(x, y, sample_weight=weights)

    # After a step ----------------------------------------------------------------------------------------

    def _note(self, record: Record, hyperparameters: dict[str, float], newly: float, newly_right: float | None) -> None:
        """Add the step to the history, and tell callbacks of it."""
        row = {"step": record.step, "epoch": record.epoch, "loss": record.loss, "lr": record.lr, **hyperparameters}
        if self.optimizer.clip_norm is not None:
            row["grad_norm"] = self.optimizer.grad_norm
        self.history.steps.rows.append(row)
        loss, samples, right = self.epoch_so_far
        right = None if right is None or newly_right is None else right + newly_right
        self.epoch_so_far = loss + record.loss * newly, samples + newly, right
        self._tell(record, self.callbacks)

    def _tell(self, record: Record, callbacks: Iterable[Callback]) -> None:
        """Call ``on_step`` of callbacks; finish the epoch if this was its last step."""
        for callback in callbacks:
            callback.on_step(self, record)
        if self.batches.position == 0 or self.step == self.steps:
            self._end_epoch(record)

    def _end_epoch(self, record: Record) -> None:
        """Add the epoch to the history, with its evaluations, and call ``on_epoch``."""
        params = self.net.params
        if not math.isfinite(params.min(initial=0)) or not math.isfinite(params.max(initial=0)):
            place = self.net.first_non_finite()
            self._fail("finite parameters", f"NaN or infinity after step {self.step}, first seen in {place}")
        row = row_of_epoch(record.epoch, record.step, self.epoch_so_far)
        with self.optimizer.evaluating():
            if self._evaluated is not None:
                row |= self._measured("train_", *self._evaluated)
            if self.validation is not None:
                row |= self._measured("val_", *self.validation, self.validation_weight)
            row["lr"] = record.lr
            self.history.epochs.rows.append(row)
            for callback in self.callbacks:
                callback.on_epoch(self, row)
        self.epoch_so_far = NOTHING_YET
        self.latest.take(self.net, self.optimizer)
        self.unproven = True

    def _measured(self, part: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
        """Evaluate the net on data; ``part`` is the prefix of the names."""
        return {part + name: value for name, value in self.net.evaluate(x, y, sample_weight=weights).items()}

    def _rest(self) -> None:
        """Call ``between_steps``, where callbacks may save the run, and end the run if that was requested."""
        # A request that comes during the loop may come too late for a callback that saves. It waits for the next
        # call, so that all callbacks see it.
        leaving, stopped = self._requests()
        for callback in self.callbacks:
            callback.between_steps(self)
        if leaving is not None:
            self._stop_for_now(leaving)
            self.end(leaving)
        elif stopped is not None:
            self.end(stopped)

    def _requests(self) -> tuple[str | None, str | None]:
        """Return why the run is to be interrupted and why it is to end, as one of the ranks was told; None if not.

        A signal may come to one rank alone, or to several between different steps. All ranks act on what was said
        here, which is the same on all.
        """
        leaving, stopped = self.ranks.first(self.leaving, self.history.stopped)
        if leaving is not None:
            self.leaving = leaving
        if stopped is not None:
            self.history.stopped = stopped
        return leaving, stopped

    # Start and end ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Call ``on_start`` of the callbacks, once; RuntimeError if they belong to another run."""
        if self._begun:
            return
        agree_on_run(self)
        ownership.take(self, continues=self.step > 0)
        try:
            for callback in self.callbacks:
                callback.on_start(self)
        except BaseException:
            self._break_off()
            self.over = True
            raise
        self._begun = True

    def _break_off(self) -> None:
        """Let callbacks close their files, because an exception leaves the run. Within a step, it ends the run."""
        if self.over:  # the run had ended, and other runs may use its callbacks
            return
        self.over = self._amid
        for callback in self.callbacks:
            with suppress(Exception):  # the exception that leaves the run is the one to report
                callback.on_break(self)

    def stop(self, reason: str) -> None:
        """End the run after the current step.

        Args:
            reason: what ``history.stopped`` becomes, unless the run has been asked to stop already.
        """
        if self.history.stopped is None:
            self.history.stopped = reason

    def leave(self, reason: str) -> None:
        """Interrupt the run after the current step, so that the run, or a checkpoint saved then, can be continued.

        Args:
            reason: what ``history.stopped`` becomes, until the run continues.
        """
        self.leaving = reason

    def _stop_for_now(self, reason: str) -> None:
        if self.history.stopped is None and not self._amid:
            self._left = State(self.net, self.optimizer)
        self.stop(reason)

    def end(self, reason: str) -> None:
        """Close the run, once, and call ``on_end`` of the callbacks.

        A rule that trains at one point and predicts at another (``Rule.evaluated``) leaves the net at the latter.

        Args:
            reason: what ``history.stopped`` becomes, unless it is set already.

        Raises:
            RuntimeError: another run uses one of the callbacks.
            Exception: what an ``on_end`` raised first; it has been called of all callbacks.
        """
        self.stop(reason)
        if self.ended:
            return
        self._begin()  # otherwise callbacks would still hold what they recorded in another run
        ownership.take(self, continues=True)  # an exception may have let another run have them
        self.ended = self.over = True
        self.optimizer.settle()
        errors = []
        for callback in self.callbacks:
            try:
                callback.on_end(self)
            except Exception as error:  # the other callbacks may have to restore weights
                errors.append(error)
        if errors:
            raise errors[0]
        self.ranks.share(None)  # so that no rank goes on before rank 0 has written its files

    def _fail(self, expected: str, got: str) -> NoReturn:
        """Restore the last good state, end the run and raise DivergenceError."""
        self.good.put_back(self.net, self.optimizer)
        with self.optimizer.evaluating():
            handed_out = self.net.params.copy()
        self.end(got)
        place = f"The net is as it was after step {self.good.steps}."
        if not np.array_equal(self.net.params, handed_out):
            place = "The net has the weights that a callback put back."
        message = f"Trainer: expected {expected}; got {got}. {place} Try a lower learning rate or clip_norm."
        raise DivergenceError(message, self.history)

    # Saving ----------------------------------------------------------------------------------------------

    @cached_property
    def fingerprints(self) -> dict[str, Any]:
        """Shapes, dtypes and checksums of the training and validation data; computed once, as data do not change."""
        validation = None if self.validation is None else fingerprint(*self.validation, self.validation_weight)
        return {"data": fingerprint(*self.batches.data, self.sample_weight), "validation": validation}

    def save(self, path: str | Path) -> None:
        """Write the whole state of the run to one safetensors file, which ``Trainer.resume`` reads.

        The file contains weights and buffers under their names. It is written whole or not at all. A run that was left
        (``leave``) is saved as a run that has not ended. Call this method between two steps: in a loop of your own, or
        in ``between_steps`` of a callback. With an ``exchange``, rank 0 alone writes.

        Args:
            path: path of the file, in a folder that exists.

        Raises:
            RuntimeError: the call came within a step, after a step that an exception interrupted, or while the net has
                other weights than those of the run, as within ``EMA.applied``.
            OSError: the file cannot be written. A file that was at ``path`` before is unchanged.
        """
        self._check_between_steps("save")
        if not self.writes:
            return
        with self._as_it_was_left():
            archive.write(path, *resume.state_of(self))

    def state(self) -> bytes:
        """Return the content of the file that ``save`` writes, for ``branch``, or to send it to another process.

        Raises:
            RuntimeError: as ``save``.
            OSError: the state is too large for a file.
        """
        self._check_between_steps("state")
        with self._as_it_was_left():
            return archive.packed(*resume.state_of(self))

    def _check_between_steps(self, name: str) -> None:
        """RuntimeError unless the state of the run is complete and in the net."""
        if self._amid:
            raise RuntimeError(
                f"Trainer.{name}: expected a call between steps, in a callback in between_steps; got one amid a step"
            )
        if self.net.on_loan or self.optimizer.is_evaluating:
            raise RuntimeError(
                f"Trainer.{name}: expected the net to have the run's own weights; got a call within applied(...) or "
                "evaluating(), where it has others"
            )

    @contextmanager
    def _as_it_was_left(self) -> Iterator[None]:
        """Within this context, a run that was left has the state from before ``on_end`` of the callbacks."""
        if self._left is None:
            yield
            return
        now, stopped = State(self.net, self.optimizer), self.history.stopped
        self._left.put_back(self.net, self.optimizer)
        self.history.stopped, self.ended = None, False
        try:
            yield
        finally:
            now.put_back(self.net, self.optimizer)
            self.history.stopped, self.ended = stopped, True
