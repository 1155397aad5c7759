"""Kernels of update rules that look at a whole tensor against naive twins."""

import math

import numpy as np
import pytest
from twins import FLAT, LARGE, Table, check_twin, empty, make_update, norm

from minnet.kernels.updates import adafactor, lines, muon, partials, trust

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


MATRICES = [(1, 1, 1), (2, 33, 5), (1, 70, 1003)]  # one element; two matrices of two tasks; several threads


def flat_scratch(shape, columns):
    return empty((partials.flat_parts(shape[0]), columns))


def make_tensor_update(*kinds, columns=0):
    """As ``make_update``, with ``partial`` of so many columns behind."""

    def make(rng, shape):
        return make_update(*kinds)(rng, shape) + ([flat_scratch(shape, columns)] if columns else [])

    return make


def with_rate(make):
    """``make``, with an array of one element behind: a rate or a factor for the next kernel."""
    return lambda rng, shape: [*make(rng, shape), empty((1,))]


RATES = tuple(map(np.float64, (0.7, 0.3, 0.2, 0.1)))  # in double precision for any arrays


@twin_of(trust.lars_rate, with_rate(make_tensor_update(0.3, *RATES, columns=3)), [*FLAT, LARGE], sums=True)
def lars_rate(p, g, inside, beside, lr, trust, eps, partial, rate):
    rate[0] = lr * trust * norm(p) / (norm(g + inside * p) + beside * norm(p) + eps)
    return True


@twin_of(trust.lars, make_update("any", 0.2, np.full(1, 0.1), 0.3), [*FLAT, LARGE])
def lars(p, g, v, rest, rate, decay):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + rate[0] * (g[i] + decay * p[i])
        p[i] = p[i] - v[i]


LAMB = ("any", "positive", 0.1, 0.02, 1.2, 1.5, 0.02, 0.3)


def lamb_direction(p, m, v, mean_fix, root_fix, eps, decay):
    return [mean_fix * m[i] / (root_fix * math.sqrt(v[i]) + eps) + decay * p[i] for i in range(p.size)]


@twin_of(trust.lamb_moments, with_rate(make_tensor_update(*LAMB, *RATES[:2], columns=3)), [*FLAT, LARGE], sums=True)
def lamb_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay, shrunk, lr, partial, rate):
    for i in range(p.size):
        m[i] = (1 - rest1) * m[i] + rest1 * g[i]
        v[i] = (1 - rest2) * v[i] + rest2 * g[i] ** 2
    rate[0] = lr * shrunk * norm(p) / norm(lamb_direction(p, m, v, mean_fix, root_fix, eps, decay))
    return True


@twin_of(
    trust.lamb,
    lambda rng, shape: (
        [array for i, array in enumerate(make_update(*LAMB[:2])(rng, shape)) if i != 1]
        + [1.2, 1.5, 0.02, 0.3, np.full(1, 0.1), 0.02]
    ),
    [*FLAT, LARGE],
)
def lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    p[:] = (1 - decay) * p - rate[0] * np.array(lamb_direction(p, m, v, mean_fix, root_fix, eps, inside))


def make_factor_sums(rng, shape):
    k, n, m = shape
    p, g, rows, cols = rng.standard_normal(shape), rng.standard_normal(shape), rng.random((k, n)), rng.random((k, m))
    partial = empty((k * adafactor.row_parts(n), m + 1))
    return [p, g, 0.2, 0.05, 0.3, rows, cols, empty((k, n)), empty((k, m)), partial]


@twin_of(adafactor.factor_sums, make_factor_sums, MATRICES, sums=True)
def factor_sums(p, g, rest, eps, least, rows, cols, row_roots, col_roots, partial):
    k, n, m = g.shape
    for matrix in range(k):
        for i in range(n):
            rows[matrix, i] = (1 - rest) * rows[matrix, i] + rest * (math.fsum(g[matrix, i] ** 2) / m + eps)
        for j in range(m):
            cols[matrix, j] = (1 - rest) * cols[matrix, j] + rest * (math.fsum(g[matrix, :, j] ** 2) / n + eps)
        row_roots[matrix] = np.sqrt(max(math.fsum(rows[matrix]) / n, least) / rows[matrix])
        col_roots[matrix] = 1 / np.sqrt(cols[matrix])
    return True


def make_factored(*numbers):
    def make(rng, shape):
        k, n, m = shape
        arrays = [rng.standard_normal(shape), rng.uniform(1, 3, (k, n)), rng.uniform(1, 3, (k, m))]
        return [*arrays, 4.0, *(number(shape) if callable(number) else number for number in numbers)]

    return make


def inverse_root(row_roots, col_roots, top):
    return np.minimum(row_roots[:, :, None] * col_roots[:, None, :], top)


def clipped_rate(lr, by_size, least, clip, p_squares, u_squares):
    size, length = (math.sqrt(np.mean(squares)) for squares in (p_squares, u_squares))
    return lr * max(least, by_size * size) / max(1, length / clip)


def squares_of_p(shape):
    return np.full((shape[0] * adafactor.row_parts(shape[1]), shape[2] + 1), 0.4)


@twin_of(adafactor.factored_rate, with_rate(make_factored(*RATES, squares_of_p)), MATRICES, sums=True)
def factored_rate(g, row_roots, col_roots, top, lr, by_size, least, clip, partial, rate):
    u = g * inverse_root(row_roots, col_roots, top)
    rate[0] = clipped_rate(lr, by_size, least, clip, partial[:, -1].sum() / g.size, u**2)


@twin_of(adafactor.row_means, lambda rng, s: [rng.standard_normal(s[:2]), empty((s[0], 1))], MATRICES, sums=True)
def row_means(x, means):
    means[:, 0] = [math.fsum(row) / row.size for row in x]


@twin_of(
    adafactor.factored,
    lambda rng, shape: [rng.standard_normal(shape), *make_factored(np.full(1, 0.1), 0.02)(rng, shape)],
    MATRICES,
)
def factored(p, g, row_roots, col_roots, top, rate, decay):
    p[:] = (1 - decay) * p - rate[0] * g * inverse_root(row_roots, col_roots, top)


@twin_of(
    adafactor.whole_squares,
    with_rate(make_tensor_update("positive", 0.2, 0.05, 0.3, *RATES, columns=2)),
    [*FLAT, LARGE],
    sums=True,
)
def whole_squares(p, g, v, rest, eps, floor, lr, by_size, least, clip, partial, rate):
    for i in range(p.size):
        v[i] = (1 - rest) * v[i] + rest * (g[i] ** 2 + eps)
    rate[0] = clipped_rate(lr, by_size, least, clip, p**2, g**2 / np.maximum(v, floor))


@twin_of(adafactor.whole, make_update("positive", 0.3, np.full(1, 0.1), 0.02), [*FLAT, LARGE])
def whole(p, g, v, floor, rate, decay):
    for i in range(p.size):
        p[i] = (1 - decay) * p[i] - rate[0] * g[i] / math.sqrt(max(v[i], floor))


def make_smooth(rng, shape):
    arrays = [rng.standard_normal(shape), rng.standard_normal(shape)]
    return [*arrays, 0.2, 0.7, 0.3, *RATES[2:], empty(shape), flat_scratch(shape, 2), empty((1,))]


@twin_of(muon.smooth, make_smooth, [*FLAT, LARGE], sums=True)
def smooth(g, m, rest, of_mean, of_gradient, least, beside, x, partial, factor):
    for i in range(g.size):
        m[i] = (1 - rest) * m[i] + rest * g[i]
        x[i] = of_mean * m[i] + of_gradient * g[i]
    factor[0] = 1 / (max(norm(x), least) + beside)
    return True


@twin_of(muon.scale_by, lambda rng, shape: [rng.standard_normal(shape), np.full(1, 0.3)], FLAT)
def scale_by(x, factor):
    x *= factor[0]


@twin_of(
    muon.quadratic,
    lambda rng, shape: [rng.standard_normal(shape), 3.4, -4.8, 2.0, rng.standard_normal(shape)],
    [(1, 1), (7, 7)],
)
def quadratic(A, a, b, c, S):
    for i, j in np.ndindex(A.shape):
        S[i, j] = (a if i == j else 0.0) + b * A[i, j] + c * S[i, j]


@twin_of(lines.inner, make_tensor_update(columns=1), [*FLAT, LARGE], sums=True)
def inner(x, y, partial):
    return math.fsum(x * y)


@twin_of(lines.same, lambda rng, shape: [np.ones(shape), np.ones(shape)], FLAT)
def same(x, y):
    return True


@twin_of(
    lines.along,
    lambda rng, shape: [rng.standard_normal(shape), 0.3, rng.standard_normal(shape), empty(shape)],
    [*FLAT, LARGE],
)
def along(x, a, y, z):
    for i in range(x.size):
        z[i] = x[i] + a * y[i]
