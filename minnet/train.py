"""The training loop that one can read, and ``fit`` for everyday use."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from . import checks
from .callbacks import Callback
from .data import Batches, Data, check_data
from .history import History
from .net import Net
from .optimizer import Optimizer
from .rules import Rule
from .schedules import Schedule, as_schedule


@dataclass(frozen=True)
class Record:
    """One training step: its number and epoch (both from 1), the objective before the update, and the rate."""

    step: int
    epoch: int
    loss: float
    lr: float


class Trainer:
    """An iterator over training steps: ``for record in trainer: ...``.

    Args:
        net: the network, built with a loss.
        data: training data (x, y).
        rule: update rule.
        lr: a number or a schedule of the step.
        batch_size, seed: of the batches and their order.
        epochs, steps: length of the run; give one of the two.
        validation: data (x, y) to evaluate after every epoch, or None.
        weight_decay, clip_norm: see ``Optimizer``.
        callbacks: told of every step and epoch.

    A loss that is not finite raises FloatingPointError, which names the parameter or layer where it began, and
    leaves the net and the optimizer as they were at the start of that epoch.
    """

    def __init__(
        self,
        net: Net,
        data: Data,
        *,
        rule: Rule,
        lr: Schedule | float,
        batch_size: int,
        epochs: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        validation: Data | None = None,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        if net.loss_function is None:
            raise ValueError("Trainer: expected a net built with loss=...; this one has none")
        if (epochs is None) == (steps is None):
            raise ValueError(f"Trainer: expected either epochs or steps; got epochs={epochs}, steps={steps}")
        self.net = net
        self.lr = as_schedule(lr)
        self.validation = None if validation is None else check_data("Trainer validation", validation)
        for x, y in (check_data("Trainer", data), *([self.validation] if self.validation else [])):
            if x.shape[1:] != net.input_shape:
                raise ValueError(f"Trainer: expected samples of shape {net.input_shape}; got {x.shape[1:]}")
            net.loss_function.check_targets(y, net.output_shape, net.dtype)
        self.batches = Batches(data, batch_size, seed=seed, dtype=net.dtype)
        self.optimizer = Optimizer(net, rule, weight_decay=weight_decay, clip_norm=clip_norm)
        per_epoch = len(self.batches)
        if epochs is not None:
            self.steps = checks.count("Trainer", "epochs", epochs) * per_epoch
        else:
            self.steps = checks.count("Trainer", "steps", steps)
        self.callbacks = list(callbacks)
        self.history = History()
        self.step = 0
        self._epoch_loss, self._epoch_samples = 0.0, 0
        self._epoch_right: int | None = 0
        self._keep()

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        if self.history.stopped is not None:
            raise StopIteration
        if self.step == self.steps:
            self.end("finished")
            raise StopIteration
        epoch = self.batches.epoch_index + 1
        x, y = self.batches.next()
        lr = self.lr(self.step)
        loss = self.net.loss_and_grads(x, y)
        if not math.isfinite(loss):
            self._fail(loss, epoch)
        self.optimizer.step(lr)
        self.step += 1
        record = Record(self.step, epoch, loss, lr)
        self._note(record, y)
        return record

    def stop(self, reason: str) -> None:
        """End the run after the current step; ``history.stopped`` becomes ``reason``."""
        if self.history.stopped is None:
            self.history.stopped = reason

    def end(self, reason: str) -> None:
        """Close the run: set ``history.stopped``, if nothing else stopped it, and tell the callbacks, once."""
        self.stop(reason)
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback.on_end(self)

    def _note(self, record: Record, y: Any) -> None:
        """Add the step to the history, and the epoch if this was its last step; tell the callbacks."""
        self.history.steps.rows.append(
            {"step": record.step, "epoch": record.epoch, "loss": record.loss, "lr": record.lr}
        )
        self._epoch_loss += record.loss * len(y)
        self._epoch_samples += len(y)
        right = self.net.correct(y)
        self._epoch_right = None if right is None or self._epoch_right is None else self._epoch_right + right
        for callback in self.callbacks:
            callback.on_step(self, record)
        if self.batches.position == 0 or self.step == self.steps:
            self._end_epoch(record)
        if self.history.stopped is not None:
            self.end(self.history.stopped)

    def _end_epoch(self, record: Record) -> None:
        row = {"epoch": record.epoch, "step": record.step, "loss": self._epoch_loss / self._epoch_samples}
        if self._epoch_right is not None:
            row["accuracy"] = self._epoch_right / self._epoch_samples
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.net.evaluate(*self.validation).items()}
        row["lr"] = record.lr
        self.history.epochs.rows.append(row)
        for callback in self.callbacks:
            callback.on_epoch(self, row)
        self._epoch_loss, self._epoch_right, self._epoch_samples = 0.0, 0, 0
        self._keep()

    def _keep(self) -> None:
        """Remember the state at an epoch's start, to go back to if a loss is not finite."""
        net, optimizer = self.net, self.optimizer
        self._good = (net.params.copy(), net.buffers.copy(), net.step), (optimizer.state.copy(), optimizer.steps)

    def _fail(self, loss: float, epoch: int) -> None:
        place = self.net.first_non_finite() or "the loss itself"
        net, optimizer = self.net, self.optimizer
        (net.params, net.buffers, net.step), (optimizer.state, optimizer.steps) = self._good
        message = f"loss {loss} at step {self.step + 1} (epoch {epoch}), first seen in {place}"
        self.end(message)
        raise FloatingPointError(
            f"Trainer: expected a finite loss; got {message}. The net is as it was after step {optimizer.steps}. "
            "Try a lower learning rate or clip_norm."
        )


def fit(
    net: Net,
    data: Data,
    *,
    rule: Rule,
    lr: Schedule | float,
    batch_size: int = 100,
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    validation: Data | None = None,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
) -> History:
    """Train ``net`` and return the history of the run; arguments are those of ``Trainer``.

    ``progress``: True shows a progress bar, False none, None one on a terminal only. Ctrl-C ends the run and
    returns the history so far, with ``history.stopped == "interrupted"``.
    """
    from tqdm import tqdm

    trainer = Trainer(
        net,
        data,
        rule=rule,
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        seed=seed,
        validation=validation,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        callbacks=callbacks,
    )
    bar = tqdm(total=trainer.steps, unit="step", disable=None if progress is None else not progress)
    try:
        with bar:
            for record in trainer:
                bar.update()
                if not bar.disable and record.step % 20 == 0:
                    bar.set_postfix(epoch=record.epoch, loss=f"{record.loss:.4g}", lr=f"{record.lr:.3g}", refresh=False)
    except KeyboardInterrupt:
        trainer.end("interrupted")
    return trainer.history
