"""Adafactor."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import tensor as kernels
from ...kernels.updates.means import squares_fit
from .base import Hyper, State
from .scratch import scratch
from .spikes import GuardedRule

_TINY = {np.dtype(dtype): float(np.finfo(dtype).tiny) for dtype in (np.float32, np.float64)}


@dataclass(frozen=True, kw_only=True)
class Adafactor(GuardedRule):
    """Adam without a mean, its squares kept as a row and a column (Shazeer and Stern 2018, algorithms 4 and 5).

    Moving means of g^2 + eps, with beta_t = 1 - t^-decay_power: R over each row and C over each column of a matrix,
    V = R C / mean(R); V itself, element by element, for a tensor of one axis. u = g / sqrt(V), u /= max(1, rms(u) /
    clip), p -= max(eps_scale, rms(p)) * min(lr, 1 / sqrt(t)) * u. ``lr`` is the bound of the relative step, the
    paper's 0.01. ``relative_step=False`` puts lr itself in place of the minimum; ``scale_by_size=False`` drops the
    factor max(eps_scale, rms(p)). Decay, which the paper does not have, shrinks p by 1 - lr * decay in front.

    The last two axes are the matrix, and each index of axes before them has one of its own: a convolution's (kh, kw,
    C, F) is kh * kw matrices. A matrix of one row or column is its own factor: its squares are kept one by one.
    The means stand in for the paper's sums, which changes nothing but the scale of R and C.

    PyTorch: ``eps=numpy.finfo(dtype).eps, eps_as_floor=True``, which adds nothing to g^2 and raises mean(R) to eps and
    V to eps^2 (its convolutions lie as (F, C, kh, kw), of which it takes the last two axes as well, so it factors
    other matrices there). Keras: the defaults, with lr 0.001; its ``relative_step=False`` changes nothing in it. optax
    factors the two longest axes, from 128 on. Neither scikit-learn nor CS231n has it.

    State: ``squares``, R and C or V, of the tensor's size, of which a matrix uses the first rows + columns
    elements; the rest stays untouched. Bytes moved per parameter of a matrix: 24 in float32 (p and g for the sums,
    g for rms(u), p and g read and p written), 48 in float64; of a vector 32 and 64.
    """

    decay_power: Hyper = 0.8
    clip: Hyper = 1.0
    eps: Hyper = 1e-30
    eps_scale: Hyper = 1e-3
    relative_step: bool = True
    scale_by_size: bool = True
    eps_as_floor: bool = False
    slots: ClassVar[tuple[str, ...]] = ("squares",)
    shaped: ClassVar[bool] = True

    def check(self) -> None:
        checks.positive("Adafactor", "decay_power", self.decay_power)
        checks.positive("Adafactor", "clip", self.clip)
        checks.positive("Adafactor", "eps", self.eps)  # else an element without a gradient yet would be 0 / 0
        checks.non_negative("Adafactor", "eps_scale", self.eps_scale)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        rate = min(lr, 1 / math.sqrt(t)) if self.relative_step else lr
        vector = params.ndim < 2 or (1 in params.shape[-2:] and not self.eps_as_floor)
        (self._whole if vector else self._factored)(params, grads, state[0].reshape(-1), rate, t, lr * decay)

    def _whole(
        self, params: np.ndarray, grads: np.ndarray, squares: np.ndarray, rate: float, t: int, decay: float
    ) -> None:
        """A step with a square for each element."""
        cast, p, g = params.dtype.type, params.reshape(-1), grads.reshape(-1)
        if not squares_fit(g):
            self.refuse(g)
        inside, _, floor = self._places_of_eps(params.dtype)
        partial, step = scratch(p.dtype, (kernels.flat_parts(p.size), 2), (1,))
        eps = cast(inside), cast(floor)
        kernels.whole_squares(p, g, squares, cast(t**-self.decay_power), *eps, *self._bounds(rate), partial, step)
        kernels.whole(p, g, squares, cast(floor), step, cast(decay))

    def _factored(
        self, params: np.ndarray, grads: np.ndarray, squares: np.ndarray, rate: float, t: int, decay: float
    ) -> None:
        """A step with squares by row and by column."""
        cast, (rows, columns) = params.dtype.type, params.shape[-2:]
        p, g = params.reshape(-1, rows, columns), grads.reshape(-1, rows, columns)
        k, (inside, least, floor) = len(p), self._places_of_eps(params.dtype)
        used = k * (rows + columns if min(rows, columns) > 1 else max(rows, columns))
        partial, row_roots, col_roots, single, step = scratch(
            p.dtype, (k * kernels.row_parts(rows), columns + 1), (k, rows), (k, columns), (k, 1), (1,)
        )
        # A single row or column is a factor itself, and the other one is its mean.
        R = squares[: k * rows].reshape(k, rows) if rows > 1 else single
        C = squares[used - k * columns : used].reshape(k, columns) if columns > 1 or rows == 1 else single
        if 1 in (rows, columns):
            kernels.row_means(C if rows == 1 else R, single)
        share = cast(t**-self.decay_power)
        if not kernels.factor_sums(p, g, share, cast(inside), cast(least), R, C, row_roots, col_roots, partial):
            self.refuse(g)
        top = cast(1 / math.sqrt(floor) if self.eps_as_floor else math.inf)
        kernels.factored_rate(g, row_roots, col_roots, top, *self._bounds(rate), partial, step)
        kernels.factored(p, g, row_roots, col_roots, top, step, cast(decay))

    def _places_of_eps(self, dtype: np.dtype) -> tuple[float, float, float]:
        """What is added to g^2, and the least values of mean(R) and of V: normal numbers of the dtype, or 0."""
        tiny = _TINY[dtype]
        if self.eps_as_floor:
            return 0.0, max(self.eps, tiny), max(self.eps**2, tiny)
        return max(self.eps, tiny), 0.0, 0.0

    def _bounds(self, rate: float) -> tuple[float, float, float, float]:
        """The rate, what rms(p) counts in it, the least value of that factor, and the bound of rms(u)."""
        by_size, least = (1.0, float(self.eps_scale)) if self.scale_by_size else (0.0, 1.0)
        return float(rate), by_size, least, float(self.clip)
