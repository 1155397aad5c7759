"""Callbacks that keep the best weights of a run, or end it when it stops improving."""

from typing import Any, ClassVar

import numpy as np

from ..base import checks
from ..net.net import Net
from .callbacks import Callback, Run, check_arrays, check_buffers, check_monitored, check_state, monitored
from .direction import Direction


class KeepBest(Callback):
    """Restores the weights of the best epoch when the run ends, for any reason. It does not end the run.

    An epoch whose figure is NaN is never the best. If all figures are NaN, the net keeps its weights.

    Args:
        monitor: a column of the epochs' rows.
        mode: ``"max"`` if larger figures are better, ``"min"`` if smaller ones are; None for the columns whose names
            say so: ``accuracy`` and ``loss``, ``val_accuracy``, ``val_loss``, ``val_data_loss``.

    Attributes:
        best, best_epoch: best figure so far and its epoch, counted from 1; None before the first.

    Raises:
        ValueError: ``mode`` is needed for this column; before the first step: the run has no such column.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(self, monitor: str = "val_loss", *, mode: str | None = None) -> None:
        self.monitor = monitor
        self._direction = Direction.of(type(self).__name__, monitor, mode)
        self.mode = self._direction.mode
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def on_start(self, trainer: Run) -> None:
        check_monitored(type(self).__name__, trainer, self.monitor)
        if trainer.step == 0:
            self._forget()

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Copy the weights if this epoch is the best so far."""
        value = monitored(type(self).__name__, row, self.monitor)
        if self._improves(value):
            self.best, self.best_epoch = value, row["epoch"]
            self._kept = trainer.net.params.copy(), trainer.net.buffers.copy()

    def _improves(self, value: float) -> bool:
        return self._direction.better(value, self.best)

    def state(self) -> dict[str, Any]:
        if self.best is None or self.best_epoch is None or self._kept is None:
            return {}
        params, buffers = self._kept
        return {"best": self.best, "best_epoch": self.best_epoch, "params": params.copy(), "buffers": buffers.copy()}

    def check(self, state: dict[str, Any], net: Net) -> None:
        if state:
            check_arrays(self, state, {"params": net.params.shape, "buffers": net.buffers.shape}, net.dtype)
            check_buffers(self, state["buffers"], net)

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("best", "best_epoch", "params", "buffers"))
        best, best_epoch, kept = None, None, None
        if state:
            best = float(state["best"])
            best_epoch = checks.count(type(self).__name__, "best_epoch", state["best_epoch"])
            kept = np.array(state["params"]), np.array(state["buffers"])
        self.best, self.best_epoch, self._kept = best, best_epoch, kept

    def on_end(self, trainer: Run) -> None:
        """Restore the weights and buffers of the best epoch."""
        if self._kept is not None:
            trainer.net.params, trainer.net.buffers = self._kept


class EarlyStopping(KeepBest):
    """Ends the run when a figure has not improved for ``patience`` epochs, and restores the best weights.

    Args:
        monitor, mode: a column of the epochs' rows, and which of its figures are better, as in ``KeepBest``.
        patience: number of epochs without improvement after which the run ends. NaN is never an improvement, so a run
            whose figures are all NaN ends after ``patience`` epochs.
        min_delta: an improvement must be larger than this.
        restore: whether the net gets the parameters and buffers of the best epoch when the run ends, for any reason.

    Attributes:
        best, best_epoch: best figure so far and its epoch, counted from 1; None before the first.

    Raises:
        ValueError, TypeError: as in ``KeepBest``, or ``patience`` is below 1, or ``min_delta`` below 0.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore: bool = True,
        *,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode=mode)
        self.patience = checks.count("EarlyStopping", "patience", patience)
        self.min_delta = checks.non_negative("EarlyStopping", "min_delta", min_delta)
        self._restore = restore

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Compare this epoch with the best so far, and end the run if that is ``patience`` epochs ago."""
        super().on_epoch(trainer, row)
        if row["epoch"] - (self.best_epoch or 0) >= self.patience:
            trainer.stop(f"no better {self.monitor} in {self.patience} epochs")

    def _improves(self, value: float) -> bool:
        return self._direction.better(value, self.best, self.min_delta)

    def on_end(self, trainer: Run) -> None:
        """Restore the weights and buffers of the best epoch, if ``restore`` is True."""
        if self._restore:
            super().on_end(trainer)
