"""Adafactor."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.updates import adafactor as kernels
from ...kernels.updates.means import squares_fit
from ...kernels.updates.partials import flat_parts
from .base import Hyper, State
from .scratch import scratch
from .spikes import GuardedRule

_TINY = {np.dtype(dtype): float(np.finfo(dtype).tiny) for dtype in (np.float32, np.float64)}


@dataclass(frozen=True, kw_only=True)
class Adafactor(GuardedRule):
    """Adafactor: steps scaled by squares that are kept by row and by column, without a mean of the gradient.

        R, C = means of g^2 + eps over each row and each column, as running means with beta_t = 1 - t^-decay_power
        V = R C / mean(R)
        u = g / sqrt(V);  u /= max(1, rms(u) / clip)
        p -= max(eps_scale, rms(p)) * min(lr, 1 / sqrt(t)) * u

    For a tensor of one axis, V is kept itself, element by element. Decay, which the paper does not have, multiplies p
    by 1 - lr * decay before the update.

    The last two axes of a tensor are the matrix. Each index of the axes before them has a matrix of its own: the kernel
    of a convolution, (kh, kw, C, F), is kh * kw matrices. For a matrix of one row or one column, V is kept itself too.
    Means are used in place of the sums of the paper, which changes only the scale of R and C.

    Args:
        decay_power: exponent of the running means, above 0.
        clip: bound of the root mean square of u, above 0.
        eps: number added to g^2, above 0.
        eps_scale: least value of the factor rms(p).
        relative_step: whether the learning rate is min(lr, 1 / sqrt(t)), as above. ``lr`` is then a bound, 0.01 in the
            paper. If False, the learning rate is ``lr``.
        scale_by_size: whether to use the factor max(eps_scale, rms(p)).
        eps_as_floor: whether mean(R) is at least eps and V at least eps^2, with nothing added to g^2.

    State: ``squares`` is R and C, or V. It has the size of the tensor; a matrix uses its first rows + columns elements.
        A step moves 24 bytes per parameter of a matrix in float32, and 48 in float64: it reads p and g for the sums, g
        for rms(u), p and g for the update, and writes p. For a vector, it moves 32 and 64.
    Source: Shazeer and Stern 2018, algorithms 4 and 5.
    Conventions: PyTorch: ``eps=numpy.finfo(dtype).eps, eps_as_floor=True``. The kernels of its convolutions have the
        shape (F, C, kh, kw), and it also uses the last two axes, which are other matrices. Keras: the defaults, with
        learning rate 0.001; ``relative_step=False`` has no effect in Keras. optax uses the two longest axes, if they
        have at least 128 elements. scikit-learn and CS231n do not have it.
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
        """Take a step with one square per element."""
        cast, p, g = params.dtype.type, params.reshape(-1), grads.reshape(-1)
        if not squares_fit(g):
            self.refuse(g)
        inside, _, floor = self._places_of_eps(params.dtype)
        partial, step = scratch(p.dtype, (flat_parts(p.size), 2), (1,))
        eps = cast(inside), cast(floor)
        kernels.whole_squares(p, g, squares, cast(t**-self.decay_power), *eps, *self._bounds(rate), partial, step)
        kernels.whole(p, g, squares, cast(floor), step, cast(decay))

    def _factored(
        self, params: np.ndarray, grads: np.ndarray, squares: np.ndarray, rate: float, t: int, decay: float
    ) -> None:
        """Take a step with squares by row and by column."""
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
        """Return what is added to g^2, and the least values of mean(R) and of V: normal numbers of the dtype, or 0."""
        tiny = _TINY[dtype]
        if self.eps_as_floor:
            return 0.0, max(self.eps, tiny), max(self.eps**2, tiny)
        return max(self.eps, tiny), 0.0, 0.0

    def _bounds(self, rate: float) -> tuple[float, float, float, float]:
        """Return the learning rate, weight (0 or 1) and least value of the factor rms(p), and the bound of rms(u)."""
        by_size, least = (1.0, float(self.eps_scale)) if self.scale_by_size else (0.0, 1.0)
        return float(rate), by_size, least, float(self.clip)
