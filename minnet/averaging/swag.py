"""SWAG: a Gaussian distribution of the weights."""

import math
from typing import Any

import numpy as np

from ..base import checks, streams
from ..kernels.updates.gradients import square
from ..kernels.updates.lines import along
from ..net.net import Net
from ..training.callbacks import check_state
from ..training.moments import When
from .base import mix
from .means import SWA


class SWAG(SWA):
    """SWA with a Gaussian distribution around its mean. Maddox et al. 2019, algorithm 1.

    The covariance is the mean of two parts: a diagonal matrix with the variances of the points, and the sum of the
    outer products of ``rank`` columns, divided by rank - 1. The columns are the deviations of the last points from the
    mean at their time. The variances are updated from deviations (Welford 1962); a difference of squares would lose all
    digits in float32.

    Memory: rank + 3 vectors.

    Args:
        at, start: as in ``SWA``.
        rank: number of deviations that are kept, K in the paper, at least 2; 0 for the diagonal only.
    """

    def __init__(self, at: When = "epoch", start: int = 0, rank: int = 20) -> None:
        super().__init__(at, start)
        if checks.count("SWAG", "rank", rank, least=0) == 1:
            raise ValueError("SWAG: expected rank 0 or at least 2; got 1")
        self.rank = rank
        # Variance (P,), scratch (P,) and the last deviations (rank, P); P is 0 before the first point.
        self._spread = np.zeros(0), np.zeros(0), np.zeros((rank, 0))

    def _begin(self, net: Net) -> None:
        super()._begin(net)
        size, dtype = net.params.size, net.dtype
        self._spread = np.zeros(size, dtype), np.zeros(size, dtype), np.zeros((self.rank, size), dtype)

    def _take(self, net: Net) -> None:
        variance, deviation, columns = self._spread
        share, cast = self.share(), variance.dtype.type
        if self.count > 1:
            # With share w and deviation d from the previous mean: variance = (1 - w) * variance + w (1 - w) d^2.
            along(net.params, cast(-1), self.params, deviation)
            square(deviation, cast(1 - share))
            mix(variance, deviation, share)
        super()._take(net)
        if self.rank:
            along(net.params, cast(-1), self.params, columns[(self.count - 1) % self.rank])

    @property
    def variance(self) -> np.ndarray:
        """Variances of the points, (P,)."""
        self._point()
        return self._spread[0]

    def sample(self, seed: int, scale: float = 1.0) -> np.ndarray:
        """Draw parameters from the Gaussian distribution. Equation 1 of the paper.

        Batch norm needs its own statistics for each draw: ``refreshed_buffers(net, train, params=drawn)``. The pair
        (drawn, buffers) can be a member of an ``Ensemble``.

        Args:
            seed: seed of the draw.
            scale: factor of the covariance.

        Returns:
            Parameters (P,) in a new array.
        """
        rng = streams.generator(checks.count("SWAG", "seed", seed, least=0), "sample of SWAG")
        checks.non_negative("SWAG", "scale", scale)
        drawn = np.sqrt(self.variance) * rng.standard_normal(self.params.size)
        columns = self._spread[2][: self.count]
        if self.rank:
            drawn *= math.sqrt(0.5)
            if len(columns) > 1:
                drawn += rng.standard_normal(len(columns)) @ columns / math.sqrt(2 * (len(columns) - 1))
        return (self.params + math.sqrt(scale) * drawn).astype(self.params.dtype)

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | {"variance": self._spread[0], "columns": self._spread[2]}

    def _shapes(self, net: Net) -> dict[str, tuple[int, ...]]:
        shape = net.params.shape
        return super()._shapes(net) | {"variance": shape, "columns": (self.rank, *shape)}

    def check(self, state: dict[str, Any], net: Net) -> None:
        super().check(state, net)
        if state and (least := state["variance"].min(initial=0)) < 0:
            raise ValueError(f"{self!r}: expected variances of at least 0; got {least:g}")

    def restore(self, state: dict[str, Any]) -> None:
        check_state(self, state, self._state_names())
        if state and np.shape(state["columns"])[:1] != (self.rank,):
            raise ValueError(f"{self!r}: expected a state of rank {self.rank}; got {np.shape(state['columns'])}")
        spread = self._spread
        if state:
            variance = np.array(state["variance"])
            spread = variance, np.zeros_like(variance), np.array(state["columns"])
        super().restore(state)
        self._spread = spread

    def __repr__(self) -> str:
        return f"SWAG({self._moments.at!r}{self._started()}, rank={self.rank})"

    def _state_names(self) -> tuple[str, ...]:
        return *super()._state_names(), "variance", "columns"
