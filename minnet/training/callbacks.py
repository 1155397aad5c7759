"""What can be hung on a run: objects that are told of every step and every epoch."""

import inspect
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..data import Batches
from ..net.net import Net
from ..optim.optimizer import Optimizer
from ..schedules import Schedule
from .history import History


@dataclass(frozen=True)
class Record:
    """One training step: its number and epoch (both from 1), the objective before the update, and the rate."""

    step: int
    epoch: int
    loss: float
    lr: float


class Run(Protocol):
    """What a callback may read of a run, and do to it. ``Trainer`` says what each attribute means."""

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
    identity: str
    evaluate_training: int

    @property
    def lr(self) -> Schedule:
        """The rate, as a schedule."""

    @property
    def columns(self) -> list[str]:
        """Names in the rows of the history's epochs that do not come from callbacks."""

    def stop(self, reason: str) -> None:
        """End the run after the current step."""

    def leave(self, reason: str) -> None:
        """Stop after the current step, so that the run can go on."""

    def save(self, path: str | Path) -> None:
        """Write the state of the run into a file."""


class Callback:
    """Override what you need. A callback may read all of the trainer, and stop it with ``trainer.stop(reason)``.

    A resumed run must be given the callbacks that it had: their ``repr`` is compared, their ``state()`` put back. The
    ``repr`` shows the arguments of the constructor that are kept as attributes (``name`` or ``_name``), arrays by
    shape, dtype and CRC-32, functions by name; keep each that matters to a run, or define a ``repr`` of your own.

    One object may be used in several runs, one after the other. A class that remembers anything of a run must forget it
    in ``on_start`` where ``trainer.step`` is 0, so that each run gives what it would give with a new object. Where
    ``trainer.step`` is above 0 the run is resumed, and ``restore`` has been called: keep what it put back. A run that
    was left (Ctrl-C) and goes on does not call ``on_start`` again.

    Attributes:
        bystander: True for a class that changes nothing in a run (it prints, draws, saves); such callbacks may differ
            when a run is resumed.
        columns: names of what ``on_epoch`` adds to the epoch's row. A class that overrides ``on_epoch`` and does not
            say may add any, so that a misspelt column is found in mid-run only.
    """

    bystander: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        kept = vars(self)
        names = [name for name in inspect.signature(type(self)).parameters if name in kept or f"_{name}" in kept]
        shown = (f"{name}={_shown(kept.get(name, kept.get(f'_{name}')))}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"

    def on_start(self, trainer: Run) -> None:
        """Before the first step: raise for what would only come to light in mid-run, and forget other runs.

        Also called in a run that is resumed, where ``trainer.step`` is above 0 and the state has been put back, and in
        one that ends before its first step. Raise first: then nothing has changed.
        """

    def before_update(self, trainer: Run, record: Record) -> None:
        """In each step, between the backward pass and the update; of those that override it only.

        ``net.grads`` holds the gradient, not clipped yet, and ``net.layer_passes()`` what the layers saw and made of
        the batch. The record is the one that ``on_step`` gets.
        """

    def on_step(self, trainer: Run, record: Record) -> None:
        """After each step."""

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """After each epoch and its validation; ``row`` is the epoch's row of the history, which may be added to."""

    def between_steps(self, trainer: Run) -> None:
        """After each step, once every callback knows of it and of its epoch: ``trainer.save`` may be called here."""

    def on_end(self, trainer: Run) -> None:
        """Once, when the run ends, for whatever reason; again if one that was left goes on."""

    def state(self) -> dict[str, Any]:
        """All that it has come to know in the run, by name: numbers, text, None, arrays, and lists and dicts of them.

        Arguments are no state.
        """
        return {}

    def check(self, state: dict[str, Any], net: Net) -> None:
        """ValueError for a state that is not one of a run of this net; asked of a file's before ``restore``."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state()`` gave. ValueError for one that is not its own; nothing has changed then."""
        check_state(self, state, ())


def _shown(value: Any) -> str:
    """``repr``, but of an array, also in a tuple, what tells it from others."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape} crc32 {zlib.crc32(np.ascontiguousarray(value).data):08x}>"
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def monitored(who: str, row: dict[str, Any], monitor: str) -> float:
    """The monitored figure of an epoch's row; ValueError that names the columns if there is no such one."""
    _expect_column(who, list(row), monitor)
    value = row[monitor]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{who}: expected numbers in column {monitor!r}; got {value!r}") from None


def check_monitored(who: str, trainer: Run, monitor: str) -> None:
    """ValueError for a column that the rows of the run's epochs will not have, as far as its callbacks tell."""
    known = list(trainer.columns)
    for callback in trainer.callbacks:
        speaker = next(kind for kind in type(callback).__mro__ if "on_epoch" in vars(kind))
        said = next((kind for kind in type(callback).__mro__ if "columns" in vars(kind)), Callback)
        if not issubclass(said, speaker) or not isinstance(callback.columns, tuple | list):
            return
        known += callback.columns
    _expect_column(who, known, monitor)


def _expect_column(who: str, columns: list[str], monitor: str) -> None:
    if monitor not in columns:
        unvalidated = monitor.startswith("val_") and not any(column.startswith("val_") for column in columns)
        hint = " (the run has no validation data: give validation=...)" if unvalidated else ""
        raise ValueError(f"{who}: expected one of the columns {columns} to monitor; got {monitor!r}{hint}")


def check_state(callback: Callback, state: dict[str, Any], names: Collection[str]) -> None:
    """ValueError for a state with names that are none of the callback's."""
    if set(state) - set(names):
        raise ValueError(f"{type(callback).__name__}: expected a state of {sorted(names)}; got {sorted(state)}")


def check_arrays(
    callback: Callback,
    arrays: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: Any,
) -> None:
    """ValueError unless there is an array of this shape and dtype under each of the names.

    Kernels do not look: an array of another shape than the net's would have them write beside it.
    """
    for name, shape in shapes.items():
        got = arrays.get(name)
        if not isinstance(got, np.ndarray) or got.shape != shape or got.dtype != dtype:
            came = f"{got.dtype} {got.shape}" if isinstance(got, np.ndarray) else repr(got)
            raise ValueError(f"{callback!r}: expected {name} of {np.dtype(dtype)} {shape}; got {came}")
