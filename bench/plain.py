"""Plain NumPy code, right and with a mistake, for the power of ``check_gradient`` and ``check_backward``.

Each case is a function of (seed, wrong, options of the check) that gives a ``GradientCheck``.
"""

from typing import Any

import numpy as np

import minnet as mn


def affine(seed: int, wrong: bool, **how: Any) -> mn.GradientCheck:
    """x W + b as a pair; wrong: db averaged."""
    rng = np.random.default_rng((seed, 4))

    def backward(dout: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        x, w = cache
        return dout @ w.T, x.T @ dout, dout.mean(axis=0) if wrong else dout.sum(axis=0)

    arrays = [rng.standard_normal(shape) for shape in ((4, 5), (5, 3), (3,))]
    return mn.check_backward(lambda x, w, b: (x @ w + b, (x, w)), backward, *arrays, seed=seed, **how)


def relu_in_place(seed: int, wrong: bool, **how: Any) -> mn.GradientCheck:
    """A ReLU that writes over its argument; wrong: the mask forgotten."""
    x = np.random.default_rng((seed, 4)).standard_normal((4, 6))

    def backward(dout: np.ndarray, out: np.ndarray) -> np.ndarray:
        return dout if wrong else dout * (out > 0)

    return mn.check_backward(lambda x: (np.maximum(x, 0, out=x), x), backward, x, seed=seed, **how)


def batch_norm(seed: int, wrong: bool, **how: Any) -> mn.GradientCheck:
    """Without scale and shift; wrong: the variance's term missing."""
    x = np.random.default_rng((seed, 4)).standard_normal((6, 4))

    def forward(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        std = np.sqrt(x.var(axis=0) + 1e-5)
        y = (x - x.mean(axis=0)) / std
        return y, (y, std)

    def backward(dout: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        y, std = cache
        term = 0.0 if wrong else y * (dout * y).mean(axis=0)
        return (dout - dout.mean(axis=0) - term) / std

    return mn.check_backward(forward, backward, x, seed=seed, **how)


def svm(seed: int, wrong: bool, **how: Any) -> mn.GradientCheck:
    """A loss that gives (loss, gradient), with kinks; wrong: the penalty's gradient lost."""
    rng = np.random.default_rng((seed, 4))
    x, y, rows = rng.standard_normal((6, 5)), rng.integers(0, 3, 6), np.arange(6)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ w
        margins = np.maximum(0, scores - scores[rows, y][:, None] + 1)
        margins[rows, y] = 0
        counts = (margins > 0).astype(float)
        counts[rows, y] = -counts.sum(axis=1)
        return float(margins.mean() + 0.1 * (w**2).sum()), x.T @ counts / margins.size + (0 if wrong else 0.2) * w

    return mn.check_gradient(loss, rng.standard_normal((5, 3)), seed=seed, **how)


def float32_inside(seed: int, wrong: bool, **how: Any) -> mn.GradientCheck:
    """Float64 in and out, float32 between; wrong: a factor 1.1."""
    rng = np.random.default_rng((seed, 4))
    x, w = rng.standard_normal((6, 5)), rng.standard_normal((5, 3))
    gradient = 2 * x.T @ (x @ w) * (1.1 if wrong else 1.0)

    def squares(w: np.ndarray) -> float:
        return float(((x.astype(np.float32) @ w.astype(np.float32)) ** 2).sum())

    return mn.check_gradient(squares, w, gradient, seed=seed, **how)


CASES = {
    "NumPy: affine, db averaged": affine,
    "NumPy: ReLU in place, mask forgotten": relu_in_place,
    "NumPy: batch norm, term of the variance missing": batch_norm,
    "NumPy: SVM, gradient of the penalty lost": svm,
    "NumPy: float32 inside, factor 1.1": float32_inside,
}
