"""Whether larger or smaller figures are better, decided in one place for all comparisons."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.guide import similar

MODES = ("min", "max")
# Names of minnet's own losses and metrics. The prefix "val_" marks those of validation data, "train_" those of training
# data as ``evaluate`` measures them.
_COLUMNS = {"accuracy": "max", "loss": "min", "data_loss": "min"}  # of the epochs of a run
_KNOWN = {**_COLUMNS, "log_loss": "min", "ece": "min"}


def nearest(name: str, columns: Iterable[str]) -> str:
    """Return a hint, for an error, which of the columns is meant by a name such as "val_acc"; "" if none is similar."""
    words = re.sub(r"acc(?!uracy)", "accuracy", name.replace("validation", "val"))
    found = similar(words, columns, cutoff=0.6)
    return f" (is {found!r} meant?)" if found else ""


@dataclass(frozen=True)
class Direction:
    """Which of two figures is better. NaN is never better than another figure, and any figure is better than NaN.

    Args:
        mode: ``"min"`` if smaller figures are better, ``"max"`` if larger ones are.
    """

    mode: str

    @classmethod
    def of(cls, who: str, name: str, mode: str | None = None) -> "Direction":
        """Return the direction of a figure, given by ``mode`` or else by its name.

        Args:
            who: name for error messages.
            name: name of the figure, such as a column of the epochs' rows.
            mode: ``"min"``, ``"max"``, or None for a name that minnet itself gives to a figure.

        Raises:
            ValueError: ``mode`` is something else, or is None for any other name.
        """
        if not isinstance(name, str):
            raise TypeError(f"{who}: expected the name of a figure as text; got {name!r}")
        if mode is None:
            part = next((part for part in ("val_", "train_") if name.startswith(part)), "")
            mode = _KNOWN.get(name.removeprefix(part))
            if mode is None:
                columns = [part + known for part in ("", "val_", "train_") for known in _COLUMNS]
                raise ValueError(
                    f"{who}: expected one of minnet's figures, {', '.join(columns)}, or mode='min' or mode='max' for "
                    f"another, whose name does not tell which values are better; got {name!r} without a mode"
                    f"{nearest(name, columns)}"
                )
        if mode not in MODES:
            raise ValueError(f"{who}: expected mode to be 'min' or 'max'; got {mode!r}")
        return cls(mode)

    @property
    def sign(self) -> int:
        """1 if larger figures are better, -1 if smaller ones are."""
        return 1 if self.mode == "max" else -1

    @property
    def worst(self) -> float:
        """The worst figure: infinity with a sign."""
        return -self.sign * math.inf

    def better(self, value: float, best: float | None, margin: float = 0.0) -> bool:
        """Return whether ``value`` is better than ``best`` by more than ``margin``.

        Any number is better than None or NaN.
        """
        if math.isnan(value):
            return False
        if best is None or math.isnan(best):
            return True
        return self.sign * (value - best) > margin

    def costs(self, values: Any) -> np.ndarray:
        """Return figures as float64 costs, of which the least is best; NaN becomes infinity."""
        figures = np.asarray(values, np.float64)
        return np.where(np.isnan(figures), np.inf, -self.sign * figures)
