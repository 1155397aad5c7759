"""Controllers of the learning rate. They react to a measured figure, so they have a state and are not schedules.

They act through ``trainer.lr_factor``, a factor of every learning rate, also of groups with an ``lr`` of their own.
"""

import math
from typing import Any, ClassVar

from ..base import checks
from .callbacks import Callback, Run, check_monitored, check_state, monitored
from .direction import Direction


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by ``factor`` when a figure has stopped improving.

    Let b be the best figure so far. A figure to minimise is better if it is below b - threshold * |b| (``"rel"``) or
    below b - threshold (``"abs"``); a figure to maximise if it is above b + threshold * |b| or b + threshold. An epoch
    that is not better is a bad epoch. A better epoch resets the count of bad epochs to 0. NaN is never better.

    ``counting="pytorch"`` reduces after more than ``patience`` bad epochs, and bad epochs do not count in the
    ``cooldown`` epochs after that. ``counting="keras"`` reduces after ``patience`` bad epochs, and the last epoch of a
    cooldown counts: Keras's patience p and cooldown c, both at least 1, are PyTorch's p - 1 and c - 1.

    PyTorch's ReduceLROnPlateau: the defaults, but without its ``eps``, which skips reductions below 1e-8. For negative
    figures, PyTorch's relative threshold, b * (1 - threshold) or b * (1 + threshold), is on the wrong side of b, so
    some worse figures count as better; here they do not.
    Keras's ReduceLROnPlateau: ``counting="keras", threshold_mode="abs"``, with its min_delta as the threshold.

    In a loop of your own, without a Trainer, call ``update`` after each epoch and multiply the rate by ``lr_factor``::

        plateau = ReduceOnPlateau("val_loss", patience=3)
        for epoch in range(20):
            ...  # steps: optimizer.step(0.1, lr_factor=plateau.lr_factor)
            plateau.update(net.loss(*validation))

    Args:
        monitor: a column of the epochs' rows.
        factor: factor of the learning rate, between 0 and 1.
        patience: number of bad epochs before a reduction.
        cooldown: number of epochs after a reduction in which bad epochs do not count.
        threshold, threshold_mode: what counts as better.
        floor: smallest learning rate, of the last step of an epoch, after a reduction. The ``lr`` of a group is reduced
            in the same proportion and has no floor.
        counting: ``"pytorch"`` or ``"keras"``.
        mode: ``"max"`` if larger figures are better, ``"min"`` if smaller ones are; None for a column whose name
            says so, see ``KeepBest``.

    Attributes:
        best: best figure so far; None before the first epoch.
        bad: number of consecutive bad epochs that count.
        cooling: remaining epochs of the cooldown.
        lr_factor: product of all reductions so far; starts at 1.

    Raises:
        ValueError: a number is out of its range, a word is not one of the above, or ``mode`` is needed for this column;
            before the first step: the run has no such column.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        cooldown: int = 0,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        floor: float = 0.0,
        counting: str = "pytorch",
        *,
        mode: str | None = None,
    ) -> None:
        who = type(self).__name__
        self.monitor = monitor
        self._direction = Direction.of(who, monitor, mode)
        self.mode = self._direction.mode
        if not 0 < checks.number(who, "factor", factor) < 1:
            raise ValueError(f"{who}: expected 0 < factor < 1; got {factor!r}")
        self.factor = float(factor)
        if counting not in ("pytorch", "keras"):
            raise ValueError(f"{who}: expected counting to be 'pytorch' or 'keras'; got {counting!r}")
        self.counting = counting
        self.patience = checks.count(who, "patience", patience, least=0)
        self.cooldown = checks.count(who, "cooldown", cooldown, least=0)
        self.threshold = checks.non_negative(who, "threshold", threshold)
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{who}: expected threshold_mode to be 'rel' or 'abs'; got {threshold_mode!r}")
        if threshold_mode == "rel" and self.threshold >= 1 and self.mode == "min":
            raise ValueError(
                f"{who}: expected threshold below 1, a share of {monitor}, with threshold_mode='rel'; got {threshold!r}"
            )
        self.threshold_mode = threshold_mode
        self.floor = checks.non_negative(who, "floor", floor)
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.bad = self.cooling = 0
        self.lr_factor = 1.0

    def on_start(self, trainer: Run) -> None:
        check_monitored(type(self).__name__, trainer, self.monitor)
        if trainer.step == 0:
            self._forget()

    def on_epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Count this epoch, and reduce the learning rates of the run if necessary."""
        trainer.lr_factor *= self._reduce(monitored(type(self).__name__, row, self.monitor), row["lr"])

    def update(self, metric: float, lr: float | None = None) -> float:
        """Count an epoch in a loop of your own; in a run of a Trainer this is not needed.

        Args:
            metric: the figure of the epoch. NaN counts as a bad epoch.
            lr: learning rate of the epoch's last step, including ``lr_factor``; needed only with ``floor``.

        Returns:
            ``lr_factor``, the factor of the learning rates of all further steps.

        Raises:
            TypeError: ``metric`` is not a number.
            ValueError: there is a ``floor`` and no ``lr``.
        """
        who = f"{type(self).__name__}.update"
        value = monitored(who, {"metric": metric}, "metric")
        if lr is None and self.floor:
            raise ValueError(f"{who}: expected lr, the rate of the last step, for floor={self.floor}; got none")
        self._reduce(value, math.inf if lr is None else checks.non_negative(who, "lr", lr))
        return self.lr_factor

    def _reduce(self, value: float, lr: float) -> float:
        """Return the factor of the learning rates after an epoch with this figure and last rate ``lr``."""
        count = self._count_as_keras if self.counting == "keras" else self._count_as_pytorch
        at_floor = lr <= self.floor * (1 + 1e-12)  # the rate is at the floor, up to rounding
        if not count(value, at_floor) or at_floor:
            return 1.0
        reduction = max(self.factor, self.floor / lr)
        self.lr_factor *= reduction
        return reduction

    def _count_as_pytorch(self, value: float, at_floor: bool) -> bool:
        """Whether to reduce after an epoch with this figure."""
        self.bad += 1
        if self._better(value):
            self.best, self.bad = value, 0
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad <= self.patience:
            return False
        self.bad, self.cooling = 0, self.cooldown
        return True

    def _count_as_keras(self, value: float, at_floor: bool) -> bool:
        """Whether to reduce after an epoch with this figure."""
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self._better(value):
            self.best, self.bad = value, 0
            return False
        if self.cooling > 0:
            return False
        self.bad += 1
        if self.bad < self.patience or at_floor:
            return False
        self.bad, self.cooling = 0, self.cooldown
        return True

    def _better(self, value: float) -> bool:
        best = self._direction.worst if self.best is None else self.best
        return self._direction.better(value, best if math.isinf(best) else self._bound(best))

    def _bound(self, best: float) -> float:
        """Return the bound beyond which a figure is better than ``best``."""
        margin = self._direction.sign * self.threshold
        if self.threshold_mode == "abs":
            return best + margin
        return best * (1 + margin * math.copysign(1.0, best))  # best + margin * |best|, rounded as PyTorch does

    def state(self) -> dict[str, Any]:
        best = {} if self.best is None else {"best": self.best}
        return {"bad": self.bad, "cooling": self.cooling, "lr_factor": self.lr_factor, **best}

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("best", "bad", "cooling", "lr_factor"))
        who = type(self).__name__
        best = None if state.get("best") is None else float(state["best"])
        bad, cooling = (checks.count(who, k, state.get(k, 0), least=0) for k in ("bad", "cooling"))
        lr_factor = checks.positive(who, "lr_factor", state.get("lr_factor", 1.0))
        self.best, self.bad, self.cooling, self.lr_factor = best, bad, cooling, lr_factor


class HalveOnStall(ReduceOnPlateau):
    """Halves the learning rate when a figure has not improved for ``patience`` epochs.

    This is the heuristic of the CS231n notes: train at a fixed learning rate, and reduce it by a constant such as 0.5
    whenever the validation error stops improving. The notes give no number of epochs.

    Args:
        monitor, mode: a column of the epochs' rows, and which of its figures are better, as in ``ReduceOnPlateau``.
        patience: number of bad epochs after which the learning rate is halved.
    """

    def __init__(self, monitor: str = "val_accuracy", patience: int = 3, *, mode: str | None = None) -> None:
        checks.count("HalveOnStall", "patience", patience)
        super().__init__(monitor, 0.5, patience, threshold=0.0, threshold_mode="abs", counting="keras", mode=mode)
