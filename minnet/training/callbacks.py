"""Callbacks: objects that a run calls at every step and every epoch."""

import inspect
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..base.guide import Guided
from ..data import Batches
from ..net.net import Net
from ..optim.optimizer import Optimizer
from ..schedules import Schedule
from .direction import nearest
from .history import History


@dataclass(frozen=True)
class Record:
    """One training step.

    Attributes:
        step, epoch: number of the step and of its epoch, both counted from 1.
        loss: the objective before the update.
        lr: the learning rate.
    """

    step: int
    epoch: int
    loss: float
    lr: float


class Run(Protocol):
    """The attributes and methods of a run that a callback may use. ``Trainer`` documents the attributes."""

    net: Net
    optimizer: Optimizer
    batches: Batches
    history: History
    callbacks: "list[Callback]"
    step: int
    steps: int
    lr_factor: float
    leaving: str | None
    ended: bool
    over: bool
    identity: str
    evaluate_training: int

    @property
    def lr(self) -> Schedule:
        """The learning rate, as a schedule."""

    @property
    def writes(self) -> bool:
        """Whether this process writes files and prints: always, except on ranks other than 0."""

    @property
    def columns(self) -> list[str]:
        """Names in the rows of the history's epochs that do not come from callbacks."""

    def stop(self, reason: str) -> None:
        """End the run after the current step."""

    def leave(self, reason: str) -> None:
        """Interrupt the run after the current step, so that it can be continued."""

    def save(self, path: str | Path) -> None:
        """Write the state of the run to a file."""


class Callback(Guided):
    """Base class of callbacks; override the methods you need.

    A callback may read everything of the trainer, and end the run with ``trainer.stop(reason)``.

    In a run of several processes (``exchange``), each calls its own callbacks, with the same figures and weights. A
    callback that writes files or prints does so only if ``trainer.writes``. What ``before_update`` finds in the layers
    is the pass of the first shard of the process.

    A resumed run must be given the same callbacks: their ``repr`` is compared, and their ``state()`` is restored. The
    ``repr`` shows the arguments of the constructor that are kept as attributes (``name`` or ``_name``): arrays by
    shape, dtype and CRC-32, functions by name. Keep every argument that matters to a run, or define your own ``repr``.

    One object may be used in several runs, one after the other: a run raises RuntimeError before its first step if a
    run that has not ended uses the object. A class with a state must reset it in ``on_start`` if
    ``trainer.step`` is 0, so that each run gives the same result as with a new object. If ``trainer.step`` is above 0,
    the run is resumed and ``restore`` has been called, so the state must be kept. A run that was left (Ctrl-C) and
    continues does not call ``on_start`` again.

    Attributes:
        bystander: True for a class that changes nothing in a run (it prints, draws or saves). Such callbacks may differ
            when a run is resumed.
        columns: names that ``on_epoch`` adds to the row of an epoch. A class that overrides ``on_epoch`` and does not
            set ``columns`` may add any name; a misspelt column is then found only during the run.
    """

    bystander: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        kept = vars(self)
        names = [name for name in inspect.signature(type(self)).parameters if name in kept or f"_{name}" in kept]
        shown = (f"{name}={_shown(kept.get(name, kept.get(f'_{name}')))}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"

    def on_start(self, trainer: Run) -> None:
        """Called before the first step: raise errors that would otherwise come during the run, and reset the state.

        It is also called in a resumed run, where ``trainer.step`` is above 0 and the state has been restored, and in a
        run that ends before its first step. Raise errors before changing anything.

        Args:
            trainer: the run, see ``Trainer``.
        """

    def before_update(self, trainer: Run, record: Record) -> None:
        """Called between the backward pass and the update of each step that the callback looks at.

        ``net.grads`` holds the gradient before clipping, and ``net.layer_passes()`` gives inputs and outputs of the
        layers.

        Args:
            trainer: the run, see ``Trainer``.
            record: the step, as in ``on_step``.
        """

    def looks_at(self, trainer: Run, step: int) -> bool:
        """Return whether the callback has something to do in or after a step.

        Steps that no callback looks at may be taken at one go by compiled code. ``before_update``, ``on_step`` and
        ``between_steps`` are then not called for them, but ``on_epoch`` always is. Override this method in a class that
        acts at some steps only. It does not hold for subclasses that override one of the other three methods and not
        this one; they look at every step.

        Args:
            trainer: the run.
            step: a step of the present epoch that is still to come, counted from 1.
        """
        return True

    def on_step(self, trainer: Run, record: Record) -> None:
        """Called after each step that the callback looks at.

        Args:
            trainer: the run, see ``Trainer``.
            record: number, epoch, loss and learning rate of the step.
        """

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Called after each epoch and its validation; entries may be added to ``row``, its row in the history.

        Args:
            trainer: the run, see ``Trainer``.
            row: the row of the epoch, by column; ``History`` lists the columns.
        """

    def between_steps(self, trainer: Run) -> None:
        """Called after ``on_step`` and ``on_epoch`` of all callbacks; ``trainer.save`` works here.

        It is called after each step that some callback looks at, and after each epoch.

        Args:
            trainer: the run, see ``Trainer``.
        """

    def on_end(self, trainer: Run) -> None:
        """Called once when the run ends, for any reason, and again if a run that was left continues and ends.

        Args:
            trainer: the run, see ``Trainer``.
        """

    def on_break(self, trainer: Run) -> None:
        """Called when an exception breaks the run off, as one of another callback: close files.

        ``on_end`` is not called then. After an exception in ``between_steps`` the run may still go on; files must then
        be opened again.

        Args:
            trainer: the run, see ``Trainer``.
        """

    def inner(self) -> "Iterable[Callback]":
        """Return the callbacks that this one runs itself, such as the monitors of ``Dashboard``."""
        return ()

    def state(self) -> dict[str, Any]:
        """Return the state that the callback has gathered in the run, by name; arguments do not belong to it.

        Values are numbers, text, None, arrays, and lists and dicts of them.
        """
        return {}

    def check(self, state: dict[str, Any], net: Net) -> None:
        """Check that a state fits a run of this net; called before ``restore`` for a state of a file.

        Args:
            state: what ``state`` returned in another run.
            net: the net of this run.

        Raises:
            ValueError: the state does not fit, such as an array of another shape.
        """

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Args:
            state: what ``state`` returned.

        Raises:
            ValueError: the state belongs to another class. Nothing has changed.
        """
        check_state(self, state, ())


_AT_STEPS = ("before_update", "on_step", "between_steps")


def acts_at_steps(callback: Callback) -> bool:
    """Return whether a callback overrides a method that is called at steps."""
    return any(getattr(type(callback), name) is not getattr(Callback, name) for name in _AT_STEPS)


def watches(callback: Callback) -> bool:
    """Return whether a callback overrides ``before_update``, which is called within a step."""
    return type(callback).before_update is not Callback.before_update


def looks_at(callback: Callback, trainer: Run, step: int) -> bool:
    """Return whether a callback that acts at steps looks at this one; see ``Callback.looks_at``."""
    for kind in type(callback).__mro__:
        if "looks_at" in vars(kind):
            return callback.looks_at(trainer, step)
        if any(name in vars(kind) for name in _AT_STEPS) and not kind.__module__.startswith("minnet."):
            break
    return True


def _shown(value: Any) -> str:
    """Return ``repr``; arrays, also in a tuple, are shown by dtype, shape and checksum."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape} crc32 {zlib.crc32(np.ascontiguousarray(value).data):08x}>"
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def monitored(who: str, row: dict[str, Any], monitor: str) -> float:
    """Return the monitored figure of an epoch's row; raise ValueError if there is no such column."""
    _expect_column(who, list(row), monitor)
    value = row[monitor]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{who}: expected numbers in column {monitor!r}; got {value!r}") from None


def check_monitored(who: str, trainer: Run, monitor: str) -> None:
    """Raise ValueError for a column that no epoch will have, as far as the callbacks declare their columns."""
    known = list(trainer.columns)
    for callback in trainer.callbacks:
        speaker = next(kind for kind in type(callback).__mro__ if "on_epoch" in vars(kind))
        said = next((kind for kind in type(callback).__mro__ if "columns" in vars(kind)), Callback)
        if not issubclass(said, speaker) or not isinstance(callback.columns, tuple | list):
            return
        known += callback.columns
    _expect_column(who, known, monitor)


def check_alone(who: str, trainer: Run, kind: type[Callback], place: Callable[[Any], object], words: str) -> None:
    """Raise ValueError if two callbacks of a kind would write to one place, and spoil what the other wrote.

    Args:
        who: name of the callback that asks.
        trainer: the run.
        kind: class of the callbacks.
        place: returns where a callback of this kind writes; places are compared.
        words: what each is to have, such as "a folder".
    """
    places = [place(callback) for callback in trainer.callbacks if isinstance(callback, kind)]
    for i, one in enumerate(places):
        if one in places[:i]:
            raise ValueError(f"{who}: expected {words} for each {who} of a run; got two with {one}")


def _expect_column(who: str, columns: list[str], monitor: str) -> None:
    if monitor not in columns:
        unvalidated = monitor.startswith("val_") and not any(column.startswith("val_") for column in columns)
        hint = " (the run has no validation data: give validation=...)" if unvalidated else nearest(monitor, columns)
        raise ValueError(f"{who}: expected one of the columns {columns} to monitor; got {monitor!r}{hint}")


def check_state(callback: Callback, state: dict[str, Any], names: Collection[str]) -> None:
    """Raise ValueError for a state with names that the callback does not have."""
    if set(state) - set(names):
        raise ValueError(f"{type(callback).__name__}: expected a state of {sorted(names)}; got {sorted(state)}")


def check_buffers(callback: Callback, buffers: np.ndarray, net: Net) -> None:
    """Raise ValueError for buffers of this net, (B,) or (k, B), with a value that no training pass leaves in them."""
    found = net.too_low(buffers)
    if found is not None:
        raise ValueError(f"{callback!r}: expected {found}, less than any training pass measures")


def check_arrays(
    callback: Callback,
    arrays: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: Any,
) -> None:
    """Raise ValueError unless each name has an array of the given shape and dtype.

    Kernels do not check shapes, so an array of a wrong shape would make them write outside of it.
    """
    for name, shape in shapes.items():
        got = arrays.get(name)
        if not isinstance(got, np.ndarray) or got.shape != shape or got.dtype != dtype:
            came = f"{got.dtype} {got.shape}" if isinstance(got, np.ndarray) else repr(got)
            raise ValueError(f"{callback!r}: expected {name} of {np.dtype(dtype)} {shape}; got {came}")
