"""Muon."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ... import checks
from ...kernels.updates import tensor as kernels
from ...kernels.updates.elementwise import sgd
from ...kernels.updates.means import rest
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
    """Momentum made orthogonal by Newton-Schulz steps, for matrices; all else goes to ``fallback``. Jordan et al. 2024.

    m = momentum * m + (1 - momentum) * g; X = momentum * m + (1 - momentum) * g (``nesterov=False``: m); X /= |X| +
    eps (Frobenius); five times X = a X + (b A + c A A) X with A = X X^T; p = (1 - lr * decay) * p - lr * scale * X.
    That brings all singular values of X near 1 (0.7 to 1.2), and keeps its singular vectors. Source: the blog post
    "Muon: an optimizer for hidden layers in neural networks" and its code, whose form of momentum this is; the post's m
    = momentum * m + g differs by a factor that |X| takes out, as long as momentum stays the same.

    Matrices are tensors of two or more axes tagged ``decay``: Dense (inputs, outputs), convolutions (kh, kw, C, F) as
    (kh * kw * C, F). The last layer and embeddings are better left to Adam as well: ``Group(where, rule=Adam())``.
    ``scale`` of a matrix (inputs, outputs): "original" sqrt(max(1, outputs / inputs)); "match_rms_adamw" 0.2 *
    sqrt(max(inputs, outputs)), with which rates and decay of AdamW can be kept (Liu et al. 2025), the fallback's too.
    With "original" the fallback wants a rate of its own, by a group with ``lr`` or ``lr_factor``.

    PyTorch: ``eps_as_floor=True``, which divides by max(|X|, eps); its iteration runs in bfloat16, this one in the
    precision of the parameters, and its matrices lie as (outputs, inputs). Its ``scale`` is called adjust_lr_fn, its
    decay is 0.1 unless told. Keras: ``eps=5e-9, scale="keras", steps=6``, sqrt(max(1, inputs / outputs)), m = momentum
    * m + g beside an eps of 1e-7, and a tenth of the rate for its Adam. Neither scikit-learn nor CS231n has it.

    State: ``momentum`` is m. A step's cost is that of its products: steps * (4 m^2 n + 2 m^3) operations for the
    shorter side m and the longer n. Bytes moved per parameter beside them: 36 in float32 (g and m read, m and X
    written; X scaled; p and X read, p written), 72 in float64.
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
        partial, *memory, factor = scratch(
            p.dtype, (kernels.flat_parts(p.size), 2), matrix, matrix, square, square, (1,)
        )
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
    """X after so many Newton-Schulz steps X = (a I + b A + c A A) X, A = X X^T of the shorter side; it ends in X or Y.

    Y has the shape of X, A and S are square of its shorter side. All four are overwritten.
    """
    rows, columns = X.shape
    n, cast = len(A), X.dtype.type
    nothing, no_floor, (work, offsets) = X[0, :0], cast(-np.inf), product_work(X.dtype)
    for _ in range(steps):
        if rows <= columns:
            multiply(X, columns, 1, X, 1, columns, nothing, no_floor, A, columns, work, offsets)
        else:
            multiply(X, 1, columns, X, columns, 1, nothing, no_floor, A, rows, work, offsets)
        multiply(A, n, 1, A, n, 1, nothing, no_floor, S, n, work, offsets)
        kernels.quadratic(A, *map(cast, coefficients), S)
        if rows <= columns:
            multiply(S, n, 1, X, columns, 1, nothing, no_floor, Y, n, work, offsets)
        else:
            multiply(X, columns, 1, S, n, 1, nothing, no_floor, Y, n, work, offsets)
        X, Y = Y, X
    return X
