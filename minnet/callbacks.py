"""What can be hung on a run: objects that are told of every step and every epoch."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks

if TYPE_CHECKING:
    from .train import Record, Trainer


class Callback:
    """Override what you need. A callback may read all of the trainer, and stop it with ``trainer.stop(reason)``."""

    def on_step(self, trainer: "Trainer", record: "Record") -> None:
        """After each step."""

    def on_epoch(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """After each epoch and its validation; ``row`` is the epoch's row of the history, which may be added to."""

    def on_end(self, trainer: "Trainer") -> None:
        """Once, when the run ends, for whatever reason."""


class EarlyStopping(Callback):
    """Stop when a figure has not improved for ``patience`` epochs; put back the weights of the best epoch at the end.

    Args:
        monitor: a column of the epochs' rows. Larger is better if its name contains "accuracy", else smaller.
        patience: epochs without improvement after which the run stops.
        min_delta: what counts as improvement is more than this.
        restore: whether the net gets back parameters and buffers of the best epoch when the run ends, for
            whatever reason it ends.

    Attributes:
        best, best_epoch: best value so far and its epoch (from 1); None before the first.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore: bool = True
    ) -> None:
        self.monitor = monitor
        self.patience = checks.count("EarlyStopping", "patience", patience)
        self.min_delta = checks.non_negative("EarlyStopping", "min_delta", min_delta)
        self.restore = restore
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def on_epoch(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Compare this epoch with the best so far."""
        if self.monitor not in row:
            raise ValueError(f"EarlyStopping: expected one of the columns {list(row)} to monitor; got {self.monitor!r}")
        value = float(row[self.monitor])
        if row["epoch"] == 1:  # a run of its own, whatever this object saw before
            self.best = self.best_epoch = self._kept = None
        if self._improves(value):
            self.best, self.best_epoch = value, row["epoch"]
            self._kept = trainer.net.params.copy(), trainer.net.buffers.copy()
        elif self.best_epoch is not None and row["epoch"] - self.best_epoch >= self.patience:
            trainer.stop(f"no better {self.monitor} in {self.patience} epochs")

    def _improves(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        gain = value - self.best if "accuracy" in self.monitor else self.best - value
        return gain > self.min_delta

    def on_end(self, trainer: "Trainer") -> None:
        """Put back the best epoch's weights."""
        if self.restore and self._kept is not None:
            trainer.net.params, trainer.net.buffers = self._kept
