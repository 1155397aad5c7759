"""What one run of a benchmark leaves: its held-out loss and accuracy at fixed steps."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """The measurements of one run, at every n-th step.

    Attributes:
        evaluations: gradient evaluations at each measurement, (n,). A line search takes several per step.
        losses: loss on the held-out data, (n,); infinity from where the run diverged.
        accuracies: share of correct held-out samples, (n,); NaN for a problem without classes.
        seconds: processor time of the run, with its measurements.
        status: ``"done"``, ``"diverged"`` or ``"failed"``.
        words: the error of a run that failed, else empty.
        slow: why Python took every step of the run, else empty.
    """

    evaluations: np.ndarray
    losses: np.ndarray
    accuracies: np.ndarray
    seconds: float
    status: str = "done"
    words: str = ""
    slow: str = ""

    @property
    def final(self) -> float:
        """The last loss; infinity unless it is finite."""
        last = float(self.losses[-1])
        return last if math.isfinite(last) else math.inf

    def at(self, evaluations: np.ndarray) -> np.ndarray:
        """Return the last loss that was measured by the time of each number of gradient evaluations.

        Runs of a line search are measured at other times than others.

        Args:
            evaluations: numbers of gradient evaluations, shape (n,).

        Returns:
            Losses (n,), infinity before the first measurement.
        """
        places = np.searchsorted(self.evaluations, evaluations, side="right") - 1
        return np.where(places < 0, math.inf, self.losses[places])

    @classmethod
    def failed(cls, points: int, words: str) -> "Curve":
        """Return the curve of a run that raised an error.

        Args:
            points: number of measurements that the run would have had.
            words: the error.
        """
        nothing = np.full(points, math.inf)
        return cls(nothing, nothing.copy(), np.full(points, math.nan), 0.0, "failed", words)
