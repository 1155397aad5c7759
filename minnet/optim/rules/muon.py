"""Muon."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...base import checks
from ...kernels.updates import muon as kernels
from ...kernels.updates.elementwise import sgd
from ...kernels.updates.means import rest
from ...kernels.updates.partials import flat_parts
from ...kernels.vector.product import multiply
from ...layers.spec import Tensor
from .adam import Adam
from .base import Hyper, Rule, State
from .scratch import product_work, scratch
from .spikes import GuardedRule

_SCALES = {
    "original": lambda inputs, outputs: math.sqrt(max(1.0, outputs / inputs)),
    "match_rms_adamw": lambda inputs, outputs: 0.2 * math.sqrt(max(inputs, outputs)),
    "keras": lambda inputs, outputs: math.sqrt(max(1.0, inputs / outputs)),
}


@dataclass(frozen=True, kw_only=True)
class Muon(GuardedRule):
    """Muon: momentum made orthogonal by Newton-Schulz iterations, for matrices. Other tensors are left to ``fallback``.

        m = momentum * m + (1 - momentum) * g
        X = momentum * m + (1 - momentum) * g;  X /= |X| + eps    with the Frobenius norm
        five times: X = a X + (b A + c A A) X    with A = X X^T
        p = (1 - lr * decay) * p - lr * scale * X

    The iterations move all singular values of X near 1 (0.7 to 1.2) and keep its singular vectors.

    Matrices are tensors of two or more axes tagged ``decay``: Dense (inputs, outputs), and convolutions (kh, kw, C, F)
    as (kh * kw * C, F). It is better to leave the last layer and embeddings to Adam too: ``Group(where, rule=Adam())``.

    Args:
        momentum: share of m that is kept in each step, in [0, 1).
        nesterov: whether X is momentum * m + (1 - momentum) * g, as above. If False, X is m.
        steps: number of iterations.
        coefficients: a, b and c.
        scale: factor of a matrix (inputs, outputs). ``"original"`` is sqrt(max(1, outputs / inputs)); the fallback then
            needs another learning rate, by a group with ``lr`` or ``lr_factor``. ``"match_rms_adamw"`` is 0.2 *
            sqrt(max(inputs, outputs)), which suits learning rate and decay of AdamW (Liu et al. 2025), also for the
            fallback. ``"keras"`` is sqrt(max(1, inputs / outputs)).
        eps: number added to the norm, above 0.
        eps_as_floor: whether to divide by max(|X|, eps) instead.
        fallback: rule for other tensors; ``Adam()`` by default.

    State: ``momentum`` is m. The cost of a step is that of its products: steps * (4 m^2 n + 2 m^3) operations, where m
        is the shorter side and n the longer one. It also moves 36 bytes per parameter in float32, and 72 in float64: it
        reads g and m, writes m and X, scales X, reads p and X, and writes p.
    Source: Jordan et al. 2024, the blog post "Muon: an optimizer for hidden layers in neural networks", and its code.
        The form of momentum is that of the code. The m = momentum * m + g of the post differs by a factor, which the
        division by |X| removes unless the momentum changes.
    Conventions: PyTorch: ``eps_as_floor=True``. Its iterations use bfloat16, where minnet uses the precision of the
        parameters, its matrices have the shape (outputs, inputs), its ``scale`` is named adjust_lr_fn, and its decay is
        0.1 by default. Keras: ``eps=5e-9, scale="keras", steps=6``; it uses m = momentum * m + g with an eps of 1e-7,
        and a tenth of the learning rate for its Adam. scikit-learn and CS231n do not have it.
    """

    momentum: Hyper = 0.95
    nesterov: bool = True
    steps: int = 5
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    scale: str = "original"
    eps: Hyper = 1e-7
    eps_as_floor: bool = False
    fallback: Rule = field(default_factory=Adam)
    slots: ClassVar[tuple[str, ...]] = ("momentum",)
    shaped: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True

    def check(self) -> None:
        checks.fraction("Muon", "momentum", self.momentum)
        checks.count("Muon", "steps", self.steps)
        if not isinstance(self.coefficients, tuple) or len(self.coefficients) != 3:
            raise ValueError(f"Muon: expected coefficients as three numbers (a, b, c); got {self.coefficients!r}")
        for coefficient in self.coefficients:
            checks.number("Muon", "coefficients", coefficient)
        if self.scale not in _SCALES:
            raise ValueError(f"Muon: expected scale as one of {', '.join(_SCALES)}; got {self.scale!r}")
        checks.positive("Muon", "eps", self.eps)  # else a gradient of zeros would be 0 / 0
        if not isinstance(self.fallback, Rule) or self.fallback.searches:
            raise TypeError(f"Muon: expected fallback as a rule without a line search; got {self.fallback!r}")

    def choose(self, tensor: Tensor) -> Rule:
        return self if tensor.decay and len(tensor.shape) > 1 else self.fallback.choose(tensor)

    def apply(self, params: np.ndarray, grads: np.ndarray, state: State, *, lr: float, t: int, decay: float) -> None:
        cast, p, columns = params.dtype.type, params.reshape(-1), params.shape[-1]
        matrix = (p.size // columns, columns)
        square = (min(matrix), min(matrix))
        partial, *memory, factor = scratch(p.dtype, (flat_parts(p.size), 2), matrix, matrix, square, square, (1,))
        X, mu, eps = memory[0].reshape(-1), self.momentum, float(self.eps)
        mixture = map(cast, (mu, 1 - mu) if self.nesterov else (1.0, 0.0))
        places = (eps, 0.0) if self.eps_as_floor else (0.0, eps)
        g, m = grads.reshape(-1), state[0].reshape(-1)
        if not kernels.smooth(g, m, rest(cast, mu), *mixture, *places, X, partial, factor):
            self.refuse(grads)
        kernels.scale_by(X, factor)
        X = orthogonalize(self.steps, self.coefficients, *memory).reshape(-1)
        scale = _SCALES[self.scale](*matrix)
        sgd(p, X, cast(-lr * scale), cast(-decay / scale))


def orthogonalize(
    steps: int,
    coefficients: tuple[float, float, float],
    X: np.ndarray,
    Y: np.ndarray,
    A: np.ndarray,
    S: np.ndarray,
) -> np.ndarray:
    """Apply Newton-Schulz iterations X = (a I + b A + c A A) X with A = X X^T, where X has the shorter side first.

    Args:
        steps: number of iterations.
        coefficients: a, b and c.
        X, Y: the matrix and scratch memory of its shape. Both are overwritten.
        A, S: scratch memory, square, of the shorter side of X.

    Returns:
        The result, which is in X or Y.
    """
    rows, columns = X.shape
    n, cast = len(A), X.dtype.type
    nothing, no_floor, work = X[0, :0], cast(-np.inf), product_work(X.dtype)
    for _ in range(steps):
        if rows <= columns:
            multiply(X, columns, 1, X, 1, columns, nothing, no_floor, A, columns, work)
        else:
            multiply(X, 1, columns, X, columns, 1, nothing, no_floor, A, rows, work)
        multiply(A, n, 1, A, n, 1, nothing, no_floor, S, n, work)
        kernels.quadratic(A, *map(cast, coefficients), S)
        if rows <= columns:
            multiply(S, n, 1, X, columns, 1, nothing, no_floor, Y, n, work)
        else:
            multiply(X, columns, 1, S, n, 1, nothing, no_floor, Y, n, work)
        X, Y = Y, X
    return X
