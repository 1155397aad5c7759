"""The training loop that one can read, and ``fit`` for everyday use."""

import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from .. import checks, streams
from ..data import Augment, Batches, Data, Standardizer, check_data
from ..data.arrays import check_scales
from ..net.losses import Loss
from ..net.net import Net
from ..optim.groups import Group
from ..optim.optimizer import Optimizer
from ..optim.rules import Hyper, Rule
from ..schedules import Schedule
from ..schedules.given import as_schedule
from ..schedules.length import telling_steps, warn_of_length
from ..schedules.schedule import resolved
from ..storage import archive
from . import resume
from .callbacks import Callback, Record
from .checkpoint import offer_older
from .history import History
from .progress import Progress, shown
from .signals import leave_on_signals
from .state import State

# (x, y, sample_weight)
WeightedData = tuple[np.ndarray, np.ndarray, np.ndarray]
# What a rate may be given as: a number, a schedule, or a function of the step.
Rate = Schedule | Callable[[int], float] | float


def _for_net(who: str, data: Data, net: Net) -> Data:
    """(x, y), checked, with y as the net's loss takes it, so that no step has to convert it."""
    x, y = check_data(who, data, net.dtype)
    if x.shape[1:] != net.input_shape:
        hint = checks.turned(x.shape[1:], net.input_shape)
        raise ValueError(f"{who}: expected samples of shape {net.input_shape}; got {x.shape[1:]}{hint}")
    if net.loss_function is None:
        raise ValueError(f"{who}: expected a net built with loss=...; this one has none")
    return x, net.loss_function.check_targets(y, net.output_shape, net.dtype)


def _weights(who: str, weights: Any, samples: int) -> np.ndarray:
    """The weights of samples, (n,), as float64."""
    array = checks.array(who, "sample_weight", weights)
    if array.dtype.kind not in "fiub" or array.shape != (samples,):
        raise ValueError(
            f"{who}: expected sample_weight as {samples} numbers, one a sample; got {array.dtype}, shape {array.shape}"
        )
    array = np.array(array, np.float64)
    if not np.isfinite(array).all() or array.min() < 0 or not array.any():
        raise ValueError(
            f"{who}: expected sample_weight finite, of at least 0 and not all 0; got {array.min():.4g} to "
            f"{array.max():.4g}"
        )
    return array


def _weights_of_batches(weights: Any, samples: int, smallest: int) -> np.ndarray:
    """The weights of training samples; ValueError if there could be a batch of which no sample counts."""
    array = _weights("Trainer", weights, samples)
    nothing = int(np.count_nonzero(array == 0))
    if nothing >= smallest:
        raise ValueError(
            f"Trainer: expected fewer samples with sample_weight 0 than the smallest batch has, {smallest}, as a batch "
            f"may have none else; got {nothing}. Leave them out: x[w > 0], y[w > 0], w[w > 0]"
        )
    return array


def _split_off_weights(validation: Data | WeightedData | None) -> tuple[Data | None, Any]:
    """((x, y), sample_weight or None) of validation data that may have weights."""
    if isinstance(validation, (tuple, list)) and len(validation) == 3:
        x, y, weights = validation
        return (x, y), weights
    return validation, None  # check_data says what is wrong with all else


def _part(who: str, evaluate_training: Any, samples: int) -> int:
    """How many training samples are to be evaluated."""
    if isinstance(evaluate_training, bool | np.bool_):
        return samples if evaluate_training else 0
    part = checks.count(who, "evaluate_training", evaluate_training, least=0)
    if part > samples:
        raise ValueError(
            f"{who}: expected evaluate_training of at most {samples} samples, the training data; got {part}"
        )
    return part


def _standardized(validation: Data, training: np.dtype, standardize: Standardizer) -> Data:
    """Raw validation data as the net is to see it. Data of another kind than the training data may not be raw."""
    x, y = validation
    if (x.dtype == np.uint8) != (training == np.uint8):
        raise ValueError(
            f"Trainer validation: expected raw data like the training data ({training}), as standardize is for both; "
            f"got {x.dtype}"
        )
    return standardize(x), y


def _rate_at(schedule: Schedule, step: int) -> float:
    """The rate of a step from 0; ValueError for one out of its range."""
    try:
        return checks.non_negative("Trainer", "lr", schedule(step))
    except ValueError as error:
        raise ValueError(f"{error} at step {step} of {schedule!r}") from None


class DivergenceError(FloatingPointError):
    """A loss, gradient or parameter became NaN or infinite; ``history`` is that of the run so far."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is built from ``args`` when it is copied or sent to another process, and these lack the history.
        return type(self), (str(self), self.history), self.__dict__


class Trainer:
    """An iterator over training steps: ``for record in trainer: ...``.

    Args:
        net: the network, built with a loss.
        data: training data (x, y).
        rule: update rule.
        lr: a number, a schedule, or a function of the step, which is counted from 0. Nothing is known of a function's
            course, so its range is checked at the first and the last step, and then at each step before it is taken.
        batch_size, seed, drop_last: of the batches and their order, see ``Batches``.
        augment: changes to the training images, see ``Batches``; validation is left alone.
        standardize: fitted on the raw training data, applied to training batches and to validation, which must both
            be given raw. Data that the net meets outside of the run has to be standardised by hand:
            ``net.evaluate(standardize(x), y)``.
        epochs, steps: length of the run; give one of the two.
        validation: data (x, y) or (x, y, sample_weight) to evaluate after every epoch, or None.
        sample_weight: how much each training sample counts, (n,), of at least 0; None for all alike. As everywhere in
            minnet, a batch's loss is sum(w_i * l_i) / sum(w_i): a sample of weight 2 counts as two samples, and a batch
            of small weights moves the net as far as one of large weights does. ``loss`` and ``accuracy`` of the epochs
            are weighted alike, as those of ``evaluate_training`` are; monitors and averages do not use the weights.
        evaluate_training: True to evaluate the training data after every epoch, as validation data are, or so many of
            them, the same throughout the run: columns ``train_loss``, ``train_data_loss`` and ``train_accuracy``, which
            ``Dashboard``, verdicts and figures then compare with validation. They are not augmented. All the data cost
            about a third of an epoch's time; uint8 data with ``standardize`` also a copy of those that are evaluated,
            as floats.
        weight_decay, clip_norm, groups: see ``Optimizer``. Hyper-parameters that are schedules have a column each in
            ``history.steps``.
        callbacks: told of every step and epoch.

    Attributes:
        lr: the rate as a schedule. It may be set to whatever the argument may be, also in mid-run and after ``resume``:
            ``trainer.lr = 0.01`` takes effect at the next step. A schedule is asked for the run's step, counted from 0;
            ``schedule.offset(trainer.step)`` begins now.
        lr_factor: every rate is multiplied by it, those of groups with an ``lr`` of their own too; starts at 1, and
            belongs to controllers such as ``ReduceOnPlateau``. The history shows the products.
        leaving: why the run is to end after the step at hand, to be gone on with some day; None if it is not.
        identity: a name that no other run has, at random; a resumed run has that of the one it goes on with.
        columns: names in the rows of the history's epochs that do not come from callbacks, in their order: ``epoch``,
            ``step``, ``loss``, ``accuracy`` where the loss classifies; with ``evaluate_training`` ``train_loss``,
            ``train_data_loss`` and ``train_accuracy``; with validation ``val_loss``, ``val_data_loss`` and
            ``val_accuracy``; ``lr``. ``loss`` and ``accuracy`` are running means in training mode, see ``History``.

    A run that was left (``leave``, or Ctrl-C in ``run``) goes on when it is iterated over or ``run()`` again, with the
    same bits, whatever became of the net's weights in between. One that a second Ctrl-C broke off amid a step does not.

    A schedule, of the rate or of anything else, that goes on after the run has ended gets a warning, as do one that has
    come down after no more steps than the run has epochs, and one without an end of which nothing has happened by
    then: lengths of schedules are steps unless ``.in_epochs(...)`` says otherwise. One that leaves its range at a step
    where something happens, or at the first or last step, is a ValueError.

    A loss, or a parameter at the end of an epoch, that is not finite raises DivergenceError, a FloatingPointError that
    names the parameter or layer where it began and holds the history. Net and optimizer are left as they were at the
    start of that epoch, or of the one before if the first loss of that epoch was the one at fault.
    """

    def __init__(
        self,
        net: Net,
        data: Data,
        *surplus: Any,
        rule: Rule,
        lr: Rate,
        batch_size: int,
        epochs: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        augment: Augment | None = None,
        standardize: Standardizer | None = None,
        validation: Data | WeightedData | None = None,
        sample_weight: Any = None,
        evaluate_training: bool | int = False,
        weight_decay: Hyper = 0.0,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
        callbacks: Iterable[Callback] = (),
    ) -> None:
        checks.pair("Trainer", surplus)
        if not isinstance(net, Net):
            raise TypeError(f"Trainer: expected a Net; got {net!r}")
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"Trainer: expected callbacks as a list; got {callbacks!r}")
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"Trainer: expected callbacks that are Callback objects; got {callback!r}")
        if (epochs is None) == (steps is None):
            raise ValueError(f"Trainer: expected either epochs or steps; got epochs={epochs}, steps={steps}")
        self.net = net
        rate = as_schedule("Trainer", "lr", lr)
        x, y = _for_net("Trainer", data, net)
        if standardize is None:
            checks.warn_of_numbers_as_bytes("Trainer", x)
        self.batches = Batches(
            (x, y),
            batch_size,
            seed=seed,
            drop_last=drop_last,
            augment=augment,
            standardize=standardize,
            dtype=net.dtype,
        )
        held_out, validation_weight = _split_off_weights(validation)
        self.validation = None if held_out is None else _for_net("Trainer validation", held_out, net)
        self.validation_weight = None
        if self.validation is not None:
            if validation_weight is not None:
                self.validation_weight = _weights("Trainer validation", validation_weight, len(self.validation[0]))
            if standardize is not None:
                self.validation = _standardized(self.validation, x.dtype, standardize)
            else:
                check_scales("Trainer", x, self.validation[0])
        self.sample_weight = None
        if sample_weight is not None:
            self.sample_weight = _weights_of_batches(sample_weight, len(x), self.batches.shortest)
            self._batch_weights = np.empty(self.batches.batch_size)
        self.evaluate_training = _part("Trainer", evaluate_training, len(x))
        self._evaluated = self._samples_to_evaluate()
        per_epoch = len(self.batches)
        # Lengths in epochs of a run become steps here; Optimizer says what is wrong with all else.
        given = {"rule": rule, "weight_decay": weight_decay, "clip_norm": clip_norm}
        given["groups"] = list(groups) if isinstance(groups, Iterable) else groups
        frozen = net.frozen
        self.optimizer = Optimizer(net, **{name: resolved(value, per_epoch) for name, value in given.items()})
        least = net.least_batch
        net.frozen = frozen  # the net stays as it is until nothing can be refused any more
        if self.optimizer.searches and (self.batches.batch_size < len(x) or augment is not None):
            raise ValueError(
                f"Trainer: expected all {len(x)} samples in a batch and no augmentation for {rule}, which compares "
                f"losses of one and the same function; got batch_size={batch_size}, augment={augment}"
            )
        if epochs is not None:
            self.steps = checks.count("Trainer", "epochs", epochs) * per_epoch
        else:
            self.steps = checks.count("Trainer", "steps", steps)
        self._check_shortest(*least)
        if self.validation is not None or self._evaluated is not None:
            net.reserve()  # so that evaluating makes no memory in mid-run
        self.step = 0
        self._lr = self._checked_rate(rate)
        self.optimizer.look_ahead(self.steps)
        for name, schedule in {"lr": self.lr, **self.optimizer.schedules}.items():
            warn_of_length(name, schedule, self.steps, per_epoch)
        self.lr_factor = 1.0
        self.identity = secrets.token_hex(16)
        self.history = History()
        self.leaving: str | None = None
        # Sum of losses, samples, right answers; of weighted samples the sums of what they weigh.
        self.epoch_so_far: tuple[float, float, float | None] = 0.0, 0, 0
        # States at the start of an epoch, in two places that take turns: the one to go back to, and the latest,
        # which takes over once its first loss is known to be finite.
        self.good, self.latest = State(net, self.optimizer), State(net, self.optimizer)
        self.unproven = False
        self.ended = False
        self._left: State | None = None  # of a run that was left: as it was before callbacks were told of its end
        self._begun = False  # whether callbacks have been told of the start
        self._amid = False  # whether a step has begun that has not ended
        # Most callbacks have nothing to do there, and a step of a small net takes some 10 us.
        self._watchers = [c for c in self.callbacks if type(c).before_update is not Callback.before_update]
        net.frozen = self.optimizer.frozen

    def _check_shortest(self, least: int, layer: str | None) -> None:
        """ValueError if the run meets a batch of fewer than ``least`` samples, which ``layer`` needs in training."""
        batches = self.batches
        shortest = batches.shortest if self.steps >= len(batches) else batches.batch_size
        if shortest < least:
            raise ValueError(
                f"Trainer: expected batches of at least {least} samples, which layer {layer} needs for its statistics; "
                f"got one of {shortest}, with {batches.size} samples in batches of {batches.batch_size}. "
                "drop_last=True leaves out a last batch that is shorter; or give another batch_size"
            )

    @property
    def lr(self) -> Schedule:
        return self._lr

    @lr.setter
    def lr(self, value: Rate) -> None:
        self._lr = self._checked_rate(as_schedule("Trainer", "lr", value))
        warn_of_length("lr", self._lr, self.steps, len(self.batches))

    def _checked_rate(self, schedule: Schedule) -> Schedule:
        """The schedule with its lengths in steps; ValueError if it leaves its range in a step that is to come."""
        schedule = resolved(schedule, len(self.batches))
        for step in telling_steps(schedule, self.steps):
            if step >= self.step:
                _rate_at(schedule, step)
        return schedule

    def __iter__(self) -> Iterator[Record]:
        if self._left is not None:
            self._left.put_back(self.net, self.optimizer)
            self._left = self.leaving = self.history.stopped = None
            self.ended = False
        return self

    def __next__(self) -> Record:
        if self._begun and not self.ended and not self._amid and (self.leaving or self.history.stopped) is not None:
            self._rest()  # asked for since the callbacks were last asked: the one that saves has to hear of it
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
        if self.net.frozen is not self.optimizer.frozen:  # another run or optimizer has had the net in between
            self.net.frozen = self.optimizer.frozen
        self._begin()
        if self._amid:
            raise RuntimeError(
                f"Trainer: expected whole steps; that after step {self.step} was broken off by an exception. "
                "Trainer.resume goes on from the last file that was saved"
            )
        # A rate or another hyper-parameter out of its range shows here, before anything moves.
        lr, factor = _rate_at(self.lr, self.step), self.lr_factor
        hyperparameters = self.optimizer.hyperparameters(lr_factor=factor)
        epoch = self.batches.epoch_index + 1
        self.net.begin_training()  # predictions of other threads come before this step or after it
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

    def _update(self, epoch: int, lr: float, factor: float) -> tuple[Record, float, float | None]:
        """Pass and update of the next batch: (record, samples, right answers); both weighed by the samples' weights."""
        weights = self._coming_weights()
        x, y = self.batches.next()
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges says so itself
            loss = self.net.loss_and_grads(x, y, sample_weight=weights)
        if not math.isfinite(loss):
            place = self.net.first_non_finite() or "the loss itself"
            self._fail("a finite loss", f"loss {loss} at step {self.step + 1} (epoch {epoch}), first seen in {place}")
        if self.unproven:  # but now known to give a finite loss
            self.good, self.latest, self.unproven = self.latest, self.good, False
        record = Record(self.step + 1, epoch, loss, lr * factor)
        for callback in self._watchers:
            callback.before_update(self, record)
        try:
            if self.optimizer.searches:
                self.optimizer.step(lr, lr_factor=factor, loss=loss, evaluate=lambda: self._again(x, y, weights))
            else:
                self.optimizer.step(lr, lr_factor=factor)
        except FloatingPointError as error:
            self._fail("a finite gradient", f"at step {self.step + 1} (epoch {epoch}): {error}")
        right = self.net.correct(y, sample_weight=weights)
        return record, self.net.counted(y, sample_weight=weights), right

    def _begin(self) -> None:
        """Tell the callbacks of the start, once."""
        if not self._begun:
            for callback in self.callbacks:
                callback.on_start(self)
            self._begun = True

    def _again(self, x: Any, y: Any, weights: np.ndarray | None) -> float:
        """Loss and gradient of the present step's batch for other parameters, with the same noise."""
        self.net.step -= 1
        return self.net.loss_and_grads(x, y, sample_weight=weights)

    def _coming_weights(self) -> np.ndarray | None:
        """The weights of the samples in the next batch; valid until the next call."""
        if self.sample_weight is None:
            return None
        coming = self.batches.coming
        weights = self._batch_weights[: len(coming)]
        return np.take(self.sample_weight, coming, out=weights, mode="clip")

    def _samples_to_evaluate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
        """(x, y, sample_weight or None) of the training samples that are evaluated after each epoch."""
        part, samples = self.evaluate_training, self.batches.size
        if part == 0:
            return None
        if part == samples:
            return *self.batches.everything(), self.sample_weight
        chosen = streams.generator(self.batches.seed, "training samples to evaluate").permutation(samples)[:part]
        return *self.batches.samples(chosen), None if self.sample_weight is None else self.sample_weight[chosen]

    def stop(self, reason: str) -> None:
        """End the run after the current step; ``history.stopped`` becomes ``reason``."""
        if self.history.stopped is None:
            self.history.stopped = reason

    def leave(self, reason: str) -> None:
        """Stop after the current step, but so that the run, or what is saved of it then, can go on."""
        self.leaving = reason

    def _stop_for_now(self, reason: str) -> None:
        if self.history.stopped is None and not self._amid:
            self._left = State(self.net, self.optimizer)
        self.stop(reason)

    def end(self, reason: str) -> None:
        """Close the run, once: set ``history.stopped``, if nothing else stopped it, and tell the callbacks.

        A rule that trains at one point and hands out another (``Rule.evaluated``) leaves the net at the latter.
        """
        self.stop(reason)
        if self.ended:
            return
        self._begin()  # or callbacks would take what they know of another run for this one's
        self.ended = True
        self.optimizer.settle()
        errors = []
        for callback in self.callbacks:
            try:
                callback.on_end(self)
            except Exception as error:  # the others have weights to put back
                errors.append(error)
        if errors:
            raise errors[0]

    def _note(self, record: Record, hyperparameters: dict[str, float], newly: float, newly_right: float | None) -> None:
        """Add the step to the history, and the epoch if this was its last step; tell the callbacks."""
        self.history.steps.rows.append(
            {"step": record.step, "epoch": record.epoch, "loss": record.loss, "lr": record.lr, **hyperparameters}
        )
        loss, samples, right = self.epoch_so_far
        right = None if right is None or newly_right is None else right + newly_right
        self.epoch_so_far = loss + record.loss * newly, samples + newly, right
        for callback in self.callbacks:
            callback.on_step(self, record)
        if self.batches.position == 0 or self.step == self.steps:
            self._end_epoch(record)

    def _rest(self) -> None:
        """Between two steps: callbacks may save the run; it ends if it is to."""
        # What comes while they are asked may be too late for the one that saves: they are asked again.
        leaving, stopped = self.leaving, self.history.stopped
        for callback in self.callbacks:
            callback.between_steps(self)
        if leaving is not None:
            self._stop_for_now(leaving)
            self.end(leaving)
        elif stopped is not None:
            self.end(stopped)

    def _end_epoch(self, record: Record) -> None:
        params = self.net.params
        if not math.isfinite(params.min(initial=0)) or not math.isfinite(params.max(initial=0)):
            place = self.net.first_non_finite()
            self._fail("finite parameters", f"NaN or infinity after step {self.step}, first seen in {place}")
        loss, samples, right = self.epoch_so_far
        row = {"epoch": record.epoch, "step": record.step, "loss": loss / samples}
        if right is not None:
            row["accuracy"] = right / samples
        with self.optimizer.evaluating():
            if self._evaluated is not None:
                row |= self._measured("train_", *self._evaluated)
            if self.validation is not None:
                row |= self._measured("val_", *self.validation, self.validation_weight)
            row["lr"] = record.lr
            self.history.epochs.rows.append(row)
            for callback in self.callbacks:
                callback.on_epoch(self, row)
        self.epoch_so_far = 0.0, 0, 0
        self.latest.take(self.net, self.optimizer)
        self.unproven = True

    def _measured(self, part: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
        """What the net gives for some data, under names that say of which."""
        return {part + name: value for name, value in self.net.evaluate(x, y, sample_weight=weights).items()}

    def _fail(self, expected: str, got: str) -> NoReturn:
        self.good.put_back(self.net, self.optimizer)
        with self.optimizer.evaluating():
            handed_out = self.net.params.copy()
        self.end(got)
        place = f"The net is as it was after step {self.good.steps}."
        if not np.array_equal(self.net.params, handed_out):
            place = "The net has the weights that a callback put back."
        message = f"Trainer: expected {expected}; got {got}. {place} Try a lower learning rate or clip_norm."
        raise DivergenceError(message, self.history)

    @property
    def columns(self) -> list[str]:
        classifies = getattr(type(self.net.loss_function), "hits", Loss.hits) is not Loss.hits
        names = ["epoch", "step", "loss", *(["accuracy"] if classifies else [])]
        for part, data in (("train_", self._evaluated), ("val_", self.validation)):
            if data is not None:
                names += [part + name for name in ("loss", "data_loss", *(["accuracy"] if classifies else []))]
        return [*names, "lr"]

    # Saving and going on -------------------------------------------------------------------------------------

    @cached_property
    def fingerprints(self) -> dict[str, Any]:
        """Of the data and the validation data, which are not in a checkpoint; measured once, as they do not change."""
        validation = None if self.validation is None else resume.fingerprint(*self.validation, self.validation_weight)
        return {"data": resume.fingerprint(*self.batches.data, self.sample_weight), "validation": validation}

    def save(self, path: str | Path) -> None:
        """Write all that moves in the run into one safetensors file, whole or not at all; ``resume`` goes on from it.

        Weights and buffers are in it under their names; a run that was left is saved as one that has not ended. Call it
        between two steps: in a loop of your own, or in a callback's ``between_steps``. RuntimeError in the middle of a
        step, or after one that an exception broke off, or while the net has other weights than the run's, as within
        ``EMA.applied``; OSError if the file cannot be written; what was at ``path`` is then whole.
        """
        if self._amid:
            raise RuntimeError(
                "Trainer.save: expected a call between steps, in a callback in between_steps; got one amid a step"
            )
        if self.net.on_loan or self.optimizer.is_evaluating:
            raise RuntimeError(
                "Trainer.save: expected the net to have the run's own weights; got a call within applied(...) or "
                "evaluating(), where it has others"
            )
        with self._as_it_was_left():
            archive.write(path, *resume.state_of(self))

    @contextmanager
    def _as_it_was_left(self) -> Iterator[None]:
        """Within it a run that was left is what it was before callbacks were told of its end."""
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

    @classmethod
    def resume(
        cls,
        path: str | Path,
        net: Net,
        data: Data,
        *,
        rule: Rule,
        lr: Rate | None = None,
        validation: Data | WeightedData | None = None,
        sample_weight: Any = None,
        weight_decay: Hyper = None,
        clip_norm: Hyper = None,
        groups: Iterable[Group] = (),
        callbacks: Iterable[Callback] = (),
        trust_data: bool = False,
    ) -> Self:
        """The trainer that was saved to ``path``; it goes on with the same bits as if it had never been interrupted.

        ``path`` may be a folder of ``Checkpoint``: its newest whole file is taken, with a warning for each newer one
        that is not. ``net`` must be built as then, its weights do not matter. Lengths, seeds, augmentation,
        standardisation and all hyper-parameters that are numbers are in the file. What is code (rule, schedules,
        groups, callbacks) or data is given again and compared with what the file says of it; functions by name only,
        but those of groups also by the tensors that they choose. To go on at another rate, resume with that of the file
        and set ``trainer.lr`` before ``run()``.

        Data are compared by shape, dtype and checksum. ``trust_data=True`` lets floating-point numbers differ, as where
        another machine or library has rounded them otherwise; shapes, dtypes and integers, such as labels and bytes of
        images, have to agree all the same. The run then goes on with other bits than it would have.

        To train longer, go on from the last file of ``Checkpoint`` and set ``trainer.steps`` before ``run()``. The bits
        are those of a run of that length from the start with the same schedules, if the shorter one ended with an
        epoch: an end amid one closes it, with a row of its own and a word to the callbacks.

        CheckpointError, a ValueError, for a file that is damaged or of another run, naming all that differs; nothing
        has changed then. FileNotFoundError if there is no file.
        """
        saved, frozen = resume.Saved.of(path), getattr(net, "frozen", ())
        with offer_older(saved.path):
            resume.compare(saved.path, "net", saved.get("net"), resume.describe_net(net))
            trainer = cls(
                net,
                data,
                rule=rule,
                lr=saved.hyper("lr", lr),
                batch_size=saved.get("arguments", "batch_size", kind=int, least=1),
                steps=saved.get("arguments", "steps", kind=int, least=1),
                seed=saved.get("arguments", "seed", kind=int),
                drop_last=saved.get("arguments", "drop_last", kind=bool),
                augment=saved.augment(),
                standardize=saved.standardize(net),
                validation=validation,
                sample_weight=sample_weight,
                evaluate_training=saved.evaluate_training(),
                weight_decay=saved.hyper("weight_decay", weight_decay),
                clip_norm=saved.hyper("clip_norm", clip_norm),
                groups=groups,
                callbacks=callbacks,
            )
            net.frozen = frozen  # the net stays as it is until nothing can be refused any more
            resume.compare_run(saved, trainer, trust_data)
            resume.put_back(trainer, saved)
        net.frozen = trainer.optimizer.frozen
        return trainer

    def run(self, progress: Progress = None) -> History:
        """Take all steps that are left and return the history; ``progress`` and signals are as in ``fit``.

        After an interruption, call it again to go on. Other threads may predict with the net meanwhile. RuntimeError if
        one of them trains it.
        """
        with leave_on_signals(self), self.net.trained_here():
            try:
                with shown(self, progress) as show:
                    for record in self:
                        show(record)
            except KeyboardInterrupt:
                self._stop_for_now("interrupted")
                self.end("interrupted")
        return self.history


def fit(
    net: Net,
    data: Data,
    *surplus: Any,
    rule: Rule,
    lr: Rate,
    batch_size: int = 100,
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    drop_last: bool = False,
    augment: Augment | None = None,
    standardize: Standardizer | None = None,
    validation: Data | WeightedData | None = None,
    sample_weight: Any = None,
    evaluate_training: bool | int = False,
    weight_decay: Hyper = 0.0,
    clip_norm: Hyper = None,
    groups: Iterable[Group] = (),
    callbacks: Iterable[Callback] = (),
    progress: Progress = None,
) -> History:
    """Train ``net`` and return the history of the run; arguments are those of ``Trainer``.

    ``progress`` chooses what is written to standard error, where it does not mix with what a program prints: ``"bar"``
    or True for a progress bar; ``"lines"`` for a line an epoch with loss, accuracy, validation, rate and time; False
    for nothing; None for a bar on a terminal and lines elsewhere, as in a notebook, in a log file or under pytest,
    which shows them for tests that fail.

    ``History`` lists the columns of the history. Its ``loss`` and ``accuracy`` are running means in training mode: they
    are not what ``net.evaluate`` gives for the training data; ``evaluate_training=True`` adds columns that are.

    Ctrl-C ends the run after its current step and returns the history so far, with ``history.stopped ==
    "interrupted"``; so does SIGTERM (``"terminated"``), after which the signal takes its usual course. ``Checkpoint``
    among the callbacks saves the run before it ends. A second Ctrl-C ends the run at once.
    """
    checks.pair("fit", surplus)
    return Trainer(
        net,
        data,
        rule=rule,
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        seed=seed,
        drop_last=drop_last,
        augment=augment,
        standardize=standardize,
        validation=validation,
        sample_weight=sample_weight,
        evaluate_training=evaluate_training,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        groups=groups,
        callbacks=callbacks,
    ).run(progress)
