"""Controllers of the rate: they listen to a figure, so they have a state and are no schedules.

They act through ``trainer.lr_factor``, by which every rate is multiplied, those of groups with an ``lr`` of their own
too.
"""

import math
from typing import TYPE_CHECKING, Any, ClassVar

from . import checks
from .callbacks import Callback, check_monitored, check_state, larger_is_better, monitored

if TYPE_CHECKING:
    from .train import Trainer


class ReduceOnPlateau(Callback):
    """Multiply the rate by ``factor`` when a figure has stopped improving.

    Better than the best b so far is, for a figure to minimise, one below b * (1 - threshold) with ``"rel"``, below
    b - threshold with ``"abs"``; for one to maximise, above b * (1 + threshold) or b + threshold. An epoch that is
    not better is a bad one; a better one sets their count to 0. NaN is never better.

    ``counting="pytorch"`` reduces after more than ``patience`` bad epochs, and the ``cooldown`` epochs after that
    count as no bad ones. ``counting="keras"`` reduces after ``patience`` bad epochs, and the last epoch of a cooldown
    counts already: Keras's patience p and cooldown c, both 1 or more, are PyTorch's p - 1 and c - 1.

    PyTorch's ReduceLROnPlateau: the defaults, but without its ``eps``, which leaves out reductions below 1e-8.
    Keras's ReduceLROnPlateau: ``counting="keras", threshold_mode="abs"``, its min_delta the threshold.

    Args:
        monitor: a column of the epochs' rows. Larger is better if its name contains "accuracy", else smaller.
        factor: on the rate, between 0 and 1.
        patience: bad epochs to bear.
        cooldown: epochs after a reduction in which bad ones do not count.
        threshold, threshold_mode: what counts as better.
        floor: no reduction takes the rate of its epoch's last step below this. What a group has as an ``lr`` of its own
            is reduced in the same proportion, and has no floor.
        counting: ``"pytorch"`` or ``"keras"``.

    Attributes:
        best: best figure so far; None before the first.
        bad: bad epochs in a row that count.
        cooling: epochs of cooldown that are left.
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
    ) -> None:
        who = type(self).__name__
        self.monitor = monitor
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
        if threshold_mode == "rel" and self.threshold >= 1 and not larger_is_better(monitor):
            raise ValueError(
                f"{who}: expected threshold below 1, a share of {monitor}, with threshold_mode='rel'; got {threshold!r}"
            )
        self.threshold_mode = threshold_mode
        self.floor = checks.non_negative(who, "floor", floor)
        self.best: float | None = None
        self.bad = self.cooling = 0

    def on_start(self, trainer: "Trainer") -> None:
        check_monitored(type(self).__name__, trainer, self.monitor)

    def on_epoch(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Count this epoch, and reduce the rate if it is time."""
        value = monitored(type(self).__name__, row, self.monitor)
        if row["epoch"] == 1:  # a run of its own, whatever this object saw before
            self.best, self.bad, self.cooling = None, 0, 0
        count = self._count_as_keras if self.counting == "keras" else self._count_as_pytorch
        at_floor = row["lr"] <= self.floor * (1 + 1e-12)  # where a reduction to the floor ends but for rounding
        if count(value, at_floor) and not at_floor:
            trainer.lr_factor *= max(self.factor, self.floor / row["lr"])

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
        sign = 1 if larger_is_better(self.monitor) else -1
        best = -sign * math.inf if self.best is None else self.best
        margin = sign * self.threshold
        bound = best * (1 + margin) if self.threshold_mode == "rel" else best + margin
        return value > bound if sign > 0 else value < bound

    def state(self) -> dict[str, Any]:
        return {"bad": self.bad, "cooling": self.cooling} | ({} if self.best is None else {"best": self.best})

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, ("best", "bad", "cooling"))
        best = None if state.get("best") is None else float(state["best"])
        bad, cooling = (checks.count(type(self).__name__, k, state.get(k, 0), least=0) for k in ("bad", "cooling"))
        self.best, self.bad, self.cooling = best, bad, cooling


class HalveOnStall(ReduceOnPlateau):
    """Halve the rate when a figure has not become better for ``patience`` epochs.

    The heuristic of the CS231n notes: train at a fixed rate, and reduce it by a constant such as 0.5 whenever the
    validation error stops improving. They name no number of epochs.
    """

    def __init__(self, monitor: str = "val_accuracy", patience: int = 3) -> None:
        checks.count("HalveOnStall", "patience", patience)
        super().__init__(monitor, 0.5, patience, threshold=0.0, threshold_mode="abs", counting="keras")
