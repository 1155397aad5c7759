"""Samples with their targets and weights, as the estimators hand them on."""

from typing import Any, NamedTuple, Self

import numpy as np

from ..training.inputs import sample_weights


class Samples(NamedTuple):
    """Features (n, features), targets (n, ...), and weights, float64 (n,), or None for equal weights."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, who: str, x: np.ndarray, y: np.ndarray, sample_weight: Any) -> Self:
        """Return samples whose weights are checked."""
        return cls(x, y, None if sample_weight is None else sample_weights(who, sample_weight, len(x)))

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(self.x)

    def part(self, chosen: np.ndarray) -> "Samples":
        """Return the samples with these indices."""
        return Samples(self.x[chosen], self.y[chosen], None if self.weights is None else self.weights[chosen])

    def counting(self, who: str) -> "Samples":
        """Return the samples whose weight is above 0; raise ValueError if there is none."""
        if self.weights is None or self.weights.all():
            return self
        if not self.weights.any():
            raise ValueError(f"{who}: expected a sample_weight above zero; got {self.size} weights, all of them zero")
        return self.part(np.flatnonzero(self.weights))

    def as_validation(self) -> Any:
        """Return (x, y) or (x, y, weights), as ``fit`` takes validation data."""
        return self if self.weights is not None else (self.x, self.y)
