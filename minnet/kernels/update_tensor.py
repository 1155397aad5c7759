"""Update rules that look at a whole tensor: its norms, rows and columns, products of it, or lines through it.

Sums are taken chunk by chunk into ``partial``, then over the chunks in their order in float64: their bits depend on
the size alone. Numbers of a step, and what becomes of gradients whose squares would overflow, are as in ``update``. In
``lars``, ``norms`` and ``lamb_moments``, ``decay`` is a part of the update itself, not multiplied by the rate.
"""

import math

import numpy as np
from numba import prange

from .chunks import CHUNK, SERIAL, bounds, chunks
from .compile import helper, kernel, parallel_kernel
from .means import decayed, largest_slope, mean, taken

# Elements whose sum is taken in the arrays' own precision. Loops run over slices of so many: an index that does not
# start at 0 might be negative, and what Python makes of those keeps a loop from becoming vector code.
_BLOCK = 4096
_ROWS = 32  # rows of a matrix that a thread takes at a time


def flat_parts(size: int) -> int:
    """Rows of ``partial`` for a flat array of so many elements."""
    return -(-size // CHUNK)


def row_parts(rows: int) -> int:
    """Rows of ``partial`` for each matrix of so many rows."""
    return -(-rows // _ROWS)


@helper
def _total(partial, parts, column):
    total = 0.0
    for part in range(parts):
        total += partial[part, column]
    return total


# LARS --------------------------------------------------------------------------------------------------------


@helper
def _block_norms(p, g, decay):
    pp, gg = p.dtype.type(0), p.dtype.type(0)
    for i in range(p.size):
        joint = g[i] + decay * p[i]
        pp += p[i] * p[i]
        gg += joint * joint
    return pp, gg


@helper
def _norms(p, g, decay, sums):
    """sums[0] = sum p^2; sums[1] = sum (g + decay * p)^2."""
    first, second = 0.0, 0.0
    for a in range(0, p.size, _BLOCK):
        b = min(a + _BLOCK, p.size)
        pp, gg = _block_norms(p[a:b], g[a:b], decay)
        first += pp
        second += gg
    sums[0], sums[1] = first, second


@parallel_kernel
def norms(p, g, decay, partial):
    """(|p|, |g + decay * p|), Euclidean; partial is (flat_parts(n), 2)."""
    parts = chunks(p.size)
    if p.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, p.size)
            _norms(p[a:b], g[a:b], decay, partial[part])
    else:
        for part in prange(parts):
            a, b = bounds(part, p.size)
            _norms(p[a:b], g[a:b], decay, partial[part])
    return math.sqrt(_total(partial, parts, 0)), math.sqrt(_total(partial, parts, 1))


@helper
def _lars(p, g, v, rest, rate, decay):
    for i in range(p.size):
        velocity = mean(v[i], g[i] + decay * p[i], rest, rate)
        v[i] = velocity
        p[i] -= velocity


@parallel_kernel
def lars(p, g, v, rest, rate, decay):
    """v = (1 - rest) * v + rate * (g + decay * p); p -= v."""
    if p.size <= SERIAL:
        _lars(p, g, v, rest, rate, decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _lars(p[a:b], g[a:b], v[a:b], rest, rate, decay)


# LAMB --------------------------------------------------------------------------------------------------------


@helper
def _block_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay):
    pp, uu, refused, top = p.dtype.type(0), p.dtype.type(0), p.dtype.type(0), largest_slope(g)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        first = mean(m[i], slope, rest1, rest1)
        second = mean(v[i], slope * slope, rest2, rest2)
        m[i] = first
        v[i] = second
        u = mean_fix * first / (root_fix * math.sqrt(second) + eps) + decay * p[i]
        pp += p[i] * p[i]
        uu += u * u
    return pp, uu, refused


@helper
def _lamb_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay, sums):
    first, second, refused = 0.0, 0.0, 0.0
    for a in range(0, p.size, _BLOCK):
        b = min(a + _BLOCK, p.size)
        pp, uu, over = _block_moments(p[a:b], g[a:b], m[a:b], v[a:b], rest1, rest2, mean_fix, root_fix, eps, decay)
        first += pp
        second += uu
        refused += over
    sums[0], sums[1], sums[2] = first, second, refused


@parallel_kernel
def lamb_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay, partial):
    """m = beta1 m + rest1 g; v = beta2 v + rest2 g^2; returns (|p|, |u|, refused), partial is (flat_parts(n), 3).

    u = mean_fix * m / (root_fix * sqrt(v) + eps) + decay * p is what ``lamb`` moves by.
    """
    parts = chunks(p.size)
    if p.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, p.size)
            _lamb_moments(
                p[a:b],
                g[a:b],
                m[a:b],
                v[a:b],
                rest1,
                rest2,
                mean_fix,
                root_fix,
                eps,
                decay,
                partial[part],
            )
    else:
        for part in prange(parts):
            a, b = bounds(part, p.size)
            _lamb_moments(
                p[a:b],
                g[a:b],
                m[a:b],
                v[a:b],
                rest1,
                rest2,
                mean_fix,
                root_fix,
                eps,
                decay,
                partial[part],
            )
    return math.sqrt(_total(partial, parts, 0)), math.sqrt(_total(partial, parts, 1)), _total(partial, parts, 2)


@helper
def _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    for i in range(p.size):
        u = mean_fix * m[i] / (root_fix * math.sqrt(v[i]) + eps) + inside * p[i]
        p[i] = decayed(p[i], decay, rate * u)


@parallel_kernel
def lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    """p = (1 - decay) * p - rate * (mean_fix * m / (root_fix * sqrt(v) + eps) + inside * p)."""
    if p.size <= SERIAL:
        _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _lamb(p[a:b], m[a:b], v[a:b], mean_fix, root_fix, eps, inside, rate, decay)


# Adafactor ---------------------------------------------------------------------------------------------------


@helper
def _task_rows(task, each, rows):
    """Matrix, first and last row (exclusive) of a task, of which each matrix has so many."""
    i = np.intp(task)  # prange counts in uint64
    first = i % each * _ROWS
    return i // each, first, min(rows, first + _ROWS)


@helper
def _factor_sums(p, g, rest, eps, rows, partial):
    """Some rows of a matrix: rows[i] = (1 - rest) * rows[i] + rest * mean of its g^2; sums by column, then of p^2."""
    n, m = g.shape
    for j in range(m + 1):
        partial[j] = g.dtype.type(0)
    for i in range(n):
        row, pp = g.dtype.type(0), g.dtype.type(0)
        for j in range(m):
            square = g[i, j] * g[i, j]
            row += square
            partial[j] += square
            pp += p[i, j] * p[i, j]
        rows[i] = mean(rows[i], row / g.dtype.type(m) + eps, rest, rest)
        partial[m] += pp


@helper
def _inverse_roots(values, scale, roots):
    """roots = sqrt(scale / values); 0 where a value is 0, since no gradient has been seen there."""
    for i in range(values.size):
        roots[i] = math.sqrt(scale / values[i]) if values[i] > 0 else 0.0


@parallel_kernel
def factor_sums(p, g, rest, eps, least, rows, cols, row_roots, col_roots, partial):
    """Moving means of g^2 along rows and columns of matrices p and g (k, n, m): rows (k, n), cols (k, m).

    rows = (1 - rest) * rows + rest * mean over columns of (g^2 + eps), cols likewise. row_roots (k, n) =
    sqrt(max(mean of rows, least) / rows) and col_roots (k, m) = 1 / sqrt(cols): 1 / sqrt(V) is the product of both,
    which are kept apart since V itself may be smaller than the dtype's smallest number. Returns the sum of p^2, and
    that of all rows, which is not finite if a square or the gradient was not. partial is (k * row_parts(n), m + 1).
    """
    k, n, m = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factor_sums(p[matrix, a:b], g[matrix, a:b], rest, eps, rows[matrix, a:b], partial[task])
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factor_sums(p[matrix, a:b], g[matrix, a:b], rest, eps, rows[matrix, a:b], partial[task])
    whole = 0.0
    for matrix in range(k):
        sums = partial[matrix * each]
        for task in range(matrix * each + 1, (matrix + 1) * each):
            for j in range(m):
                sums[j] += partial[task, j]
        total = 0.0
        for j in range(m):
            cols[matrix, j] = mean(cols[matrix, j], sums[j] / g.dtype.type(n) + eps, rest, rest)
            whole += cols[matrix, j]
        for i in range(n):
            total += rows[matrix, i]
        whole += total
        _inverse_roots(rows[matrix], max(total / n, least), row_roots[matrix])
        _inverse_roots(cols[matrix], 1.0, col_roots[matrix])
    return _total(partial, k * each, m), whole


@helper
def _factored_squares(g, row_roots, col_roots, top):
    total = 0.0
    for i in range(g.shape[0]):
        row, bound = g.dtype.type(0), top / row_roots[i]
        for j in range(g.shape[1]):
            u = g[i, j] * min(col_roots[j], bound)
            row += u * u
        total += row * np.float64(row_roots[i]) ** 2
    return total


@parallel_kernel
def factored_squares(g, row_roots, col_roots, top, partial):
    """Sum of u^2 for u = g * min(row_roots * col_roots, top); g (k, n, m). partial is (k * row_parts(n), m + 1)."""
    k, n, _ = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    return _total(partial, k * each, 0)


@helper
def _factored(p, g, row_roots, col_roots, top, rate, decay):
    for i in range(g.shape[0]):
        of_row, bound = rate * row_roots[i], top / row_roots[i]
        for j in range(g.shape[1]):
            p[i, j] = decayed(p[i, j], decay, of_row * (g[i, j] * min(col_roots[j], bound)))


@parallel_kernel
def factored(p, g, row_roots, col_roots, top, rate, decay):
    """p = (1 - decay) * p - rate * g * min(row_roots * col_roots, top) for matrices p and g (k, n, m)."""
    k, n, _ = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factored(p[matrix, a:b], g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top, rate, decay)
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factored(p[matrix, a:b], g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top, rate, decay)


@helper
def _block_squares(p, g, v, rest, eps, floor):
    pp, uu = p.dtype.type(0), p.dtype.type(0)
    for i in range(p.size):
        square = g[i] * g[i]
        squares = mean(v[i], square + eps, rest, rest)
        v[i] = squares
        pp += p[i] * p[i]
        uu += square / max(squares, floor)
    return pp, uu


@helper
def _whole_squares(p, g, v, rest, eps, floor, sums):
    first, second = 0.0, 0.0
    for a in range(0, p.size, _BLOCK):
        b = min(a + _BLOCK, p.size)
        pp, uu = _block_squares(p[a:b], g[a:b], v[a:b], rest, eps, floor)
        first += pp
        second += uu
    sums[0], sums[1] = first, second


@parallel_kernel
def whole_squares(p, g, v, rest, eps, floor, partial):
    """v = (1 - rest) * v + rest * (g^2 + eps); returns the sums of p^2 and of g^2 / max(v, floor).

    partial is (flat_parts(n), 2).
    """
    parts = chunks(p.size)
    if p.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, p.size)
            _whole_squares(p[a:b], g[a:b], v[a:b], rest, eps, floor, partial[part])
    else:
        for part in prange(parts):
            a, b = bounds(part, p.size)
            _whole_squares(p[a:b], g[a:b], v[a:b], rest, eps, floor, partial[part])
    return _total(partial, parts, 0), _total(partial, parts, 1)


@helper
def _whole(p, g, v, floor, rate, decay):
    for i in range(p.size):
        p[i] = decayed(p[i], decay, rate * (g[i] / math.sqrt(max(v[i], floor))))


@parallel_kernel
def whole(p, g, v, floor, rate, decay):
    """p = (1 - decay) * p - rate * g / sqrt(max(v, floor))."""
    if p.size <= SERIAL:
        _whole(p, g, v, floor, rate, decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _whole(p[a:b], g[a:b], v[a:b], floor, rate, decay)


# Muon --------------------------------------------------------------------------------------------------------


@helper
def _block_smooth(g, m, rest, of_mean, of_gradient, x):
    squares = g.dtype.type(0)
    for i in range(g.size):
        smoothed = mean(m[i], g[i], rest, rest)
        mixed = of_mean * smoothed + of_gradient * g[i]
        m[i] = smoothed
        x[i] = mixed
        squares += mixed * mixed
    return squares


@helper
def _smooth(g, m, rest, of_mean, of_gradient, x):
    total = 0.0
    for a in range(0, g.size, _BLOCK):
        b = min(a + _BLOCK, g.size)
        total += _block_smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b])
    return total


@parallel_kernel
def smooth(g, m, rest, of_mean, of_gradient, x, partial):
    """m = (1 - rest) * m + rest * g; x = of_mean * m + of_gradient * g; returns |x|. partial is (flat_parts(n), 1)."""
    parts = chunks(g.size)
    if g.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, g.size)
            partial[part, 0] = _smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b])
    else:
        for part in prange(parts):
            a, b = bounds(part, g.size)
            partial[part, 0] = _smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b])
    return math.sqrt(_total(partial, parts, 0))


@kernel
def quadratic(A, a, b, c, S):
    """S = a * I + b * A + c * S for square matrices; S comes as A @ A."""
    n = len(A)
    for i in range(n):
        for j in range(n):
            S[i, j] = b * A[i, j] + c * S[i, j]
        S[i, i] += a


# L-BFGS ------------------------------------------------------------------------------------------------------


@helper
def _block_dot(x, y):
    products = x.dtype.type(0)
    for i in range(x.size):
        products += x[i] * y[i]
    return products


@helper
def _dot(x, y):
    total = 0.0
    for a in range(0, x.size, _BLOCK):
        b = min(a + _BLOCK, x.size)
        total += _block_dot(x[a:b], y[a:b])
    return total


@parallel_kernel
def inner(x, y, partial):
    """Sum of x * y; partial is (flat_parts(n), 1)."""
    parts = chunks(x.size)
    if x.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, x.size)
            partial[part, 0] = _dot(x[a:b], y[a:b])
    else:
        for part in prange(parts):
            a, b = bounds(part, x.size)
            partial[part, 0] = _dot(x[a:b], y[a:b])
    return _total(partial, parts, 0)


@kernel
def same(x, y):
    """Whether x and y are equal, element by element."""
    different = 0
    for i in range(x.size):
        different += x[i] != y[i]
    return different == 0


@helper
def _along(x, a, y, z):
    for i in range(z.size):
        z[i] = x[i] + a * y[i]


@parallel_kernel
def along(x, a, y, z):
    """z = x + a * y; z may be x."""
    if z.size <= SERIAL:
        _along(x, a, y, z)
    else:
        for part in prange(chunks(z.size)):
            first, last = bounds(part, z.size)
            _along(x[first:last], a, y[first:last], z[first:last])
