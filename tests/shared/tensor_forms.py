"""What tests of rules for whole tensors share: gradients, runs on flat vectors, and problems to minimise."""

import math

import numpy as np
import pytest

import minnet as mn

EPS = float(np.finfo(np.float64).eps)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

SHAPES = {
    "one": (1, 1),
    "single": (1,),
    "vector": (13,),
    "row": (1, 9),
    "column": (6, 1),
    "wide": (5, 67),
    "tall": (67, 5),
    "square": (8, 8),
    "convolution": (3, 2, 4, 5),
    "zero": (3, 4),
}


def sequence(shapes, steps, zero="zero"):
    """Start and gradients by name, and rates; the tensor ``zero`` starts at 0."""
    rng = np.random.default_rng(5)
    start = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    if zero in start:
        start[zero][...] = 0
    size = 3.0 ** np.arange(-3, 3)
    grads = [
        {name: size[step % 6] * rng.standard_normal(shape) for name, shape in shapes.items()} for step in range(steps)
    ]
    return start, grads, 0.02 * 0.95 ** np.arange(steps)


def joined(tensors, dtype):
    return np.concatenate([value.reshape(-1) for value in tensors.values()]).astype(dtype)


def run(rule, shapes, dtype, steps, decay=0.0):
    """Parameters by name after the steps, and the optimizer."""
    start, grads, rates = sequence(shapes, steps)
    params, slopes = joined(start, dtype), np.empty(sum(math.prod(s) for s in shapes.values()), dtype)
    optimizer = mn.Optimizer.over(params, slopes, rule, shapes=shapes, weight_decay=decay)
    for g, lr in zip(grads, rates, strict=True):
        slopes[:] = joined(g, dtype)
        optimizer.step(float(lr))
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    pieces = np.split(params, ends)
    return {name: part.reshape(shapes[name]) for name, part in zip(shapes, pieces, strict=True)}, optimizer


TENSOR_RULES = [mn.LARS(), mn.LAMB(), mn.Adafactor(), mn.Muon()]
every_rule = pytest.mark.parametrize("rule", TENSOR_RULES, ids=lambda rule: type(rule).__name__)


def soft_plus(p, A, c):
    """A convex function that is far from quadratic, and its gradient."""
    z = A @ p - c
    return float(np.logaddexp(z, -z).sum() + 0.01 * (p @ p)), A.T @ np.tanh(z) + 0.02 * p


def convex_problem(n=30, rows=60):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((rows, n)) * np.logspace(-1.5, 0, n)
    return A, rng.standard_normal(rows), rng.standard_normal(n)


def lbfgs_path(rule, function, start, steps, dtype=np.float64, lr=1.0):
    """Points, gradients and the optimizer after each of so many steps."""
    params, grads = start.astype(dtype), np.empty(start.size, dtype)

    def evaluate():
        value, grads[:] = function(params)
        return value

    optimizer = mn.Optimizer.over(params, grads, rule)
    loss, path = evaluate(), []
    for _ in range(steps):
        path.append((params.copy(), loss, grads.copy()))
        optimizer.step(lr, loss=loss, evaluate=evaluate)
        loss = evaluate()
    path.append((params.copy(), loss, grads.copy()))
    return path, optimizer


def rosenbrock(p):
    a, b = p[::2], p[1::2]
    g = np.empty_like(p)
    g[::2], g[1::2] = -2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)
    return float(np.sum((1 - a) ** 2 + 100 * (b - a * a) ** 2)), g


def newton_schulz(G, steps=5, coefficients=(3.4445, -4.7750, 2.0315), eps=1e-7, floor=False):
    a, b, c = coefficients
    norm = np.linalg.norm(G)
    X = G / (max(norm, eps) if floor else norm + eps)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X
