"""Update rules that look at a whole tensor: its norms, rows and columns, products of it, or lines through it.

A first kernel takes the sums and writes what follows from them, a rate or a factor, into an array of one element, which
the next kernel reads. Sums are taken chunk by chunk into ``partial``, then over the chunks in their order in float64:
their bits depend on the size alone. Rates and what becomes a factor of them come in double precision, all other numbers
in the arrays' dtype. The first kernel returns whether the step may go on, as in ``update``. In ``lars``, ``lars_rate``
and ``lamb_moments``, ``decay`` is a part of the update itself, not multiplied by the rate.
"""

import math

import numpy as np
from numba import prange

from ..chunks import CHUNK, SERIAL, bounds, chunks
from ..compile import exact_helper, helper, kernel, parallel_kernel
from .means import all_fit, apart, decayed, enlarged, forget, largest_slope, mean, moved_on, taken

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


@exact_helper
def _ratio(above, below):
    """above / below; 1 where either is 0, so that a tensor of zeros can leave them."""
    return above / below if above > 0 and below > 0 else 1.0


# LARS --------------------------------------------------------------------------------------------------------


@helper
def _block_norms(p, g, inside):
    pp, gg, refused, top = p.dtype.type(0), p.dtype.type(0), False, largest_slope(g)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        joint = slope + inside * p[i]
        pp += p[i] * p[i]
        gg += joint * joint
    return pp, gg, refused


@helper
def _norms(p, g, inside, sums):
    """sums[0] = sum p^2; sums[1] = sum (g + inside * p)^2; sums[2] is above 0 if gradients are too large."""
    first, second, refused = 0.0, 0.0, 0.0
    for a in range(0, p.size, _BLOCK):
        b = min(a + _BLOCK, p.size)
        pp, gg, over = _block_norms(p[a:b], g[a:b], inside)
        first += pp
        second += gg
        refused += over
    sums[0], sums[1], sums[2] = first, second, refused


@exact_helper
def _lars_rate(size, slope, beside, lr, trust, eps):
    return lr * _ratio(trust * size, slope + beside * size + eps) if slope > 0 else lr


@parallel_kernel
def lars_rate(p, g, inside, beside, lr, trust, eps, partial, rate):
    """rate[0] = lr * trust * |p| / (|g + inside * p| + beside * |p| + eps), or lr where a norm is 0.

    Returns whether the step may go on. partial is (flat_parts(n), 3).
    """
    parts = chunks(p.size)
    if p.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, p.size)
            _norms(p[a:b], g[a:b], inside, partial[part])
    else:
        for part in prange(parts):
            a, b = bounds(part, p.size)
            _norms(p[a:b], g[a:b], inside, partial[part])
    size, slope = math.sqrt(_total(partial, parts, 0)), math.sqrt(_total(partial, parts, 1))
    rate[0] = _lars_rate(size, slope, beside, lr, trust, eps)
    return _total(partial, parts, 2) == 0


@helper
def _lars(p, g, v, rest, rate, decay):
    full = enlarged(rate, rest)
    forget(v, rest)
    for i in range(p.size):
        velocity = moved_on(v[i], apart(g[i] + decay * p[i], full, v[i]), rest)
        v[i] = velocity
        p[i] -= velocity


@parallel_kernel
def lars(p, g, v, rest, rate, decay):
    """v = (1 - rest) * v + rate[0] * (g + decay * p); p -= v."""
    if p.size <= SERIAL:
        _lars(p, g, v, rest, rate[0], decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _lars(p[a:b], g[a:b], v[a:b], rest, rate[0], decay)


# LAMB --------------------------------------------------------------------------------------------------------


@helper
def _block_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay):
    pp, uu, refused, top = p.dtype.type(0), p.dtype.type(0), False, largest_slope(g)
    forget(m, rest1)
    forget(v, rest2)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        first = mean(m[i], slope, rest1)
        second = mean(v[i], slope * slope, rest2)
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


@exact_helper
def _lamb_rate(size, length, shrunk, lr):
    return lr * _ratio(shrunk * size, length)


@parallel_kernel
def lamb_moments(p, g, m, v, rest1, rest2, mean_fix, root_fix, eps, decay, shrunk, lr, partial, rate):
    """m = beta1 m + rest1 g; v = beta2 v + rest2 g^2; rate[0] = lr * shrunk * |p| / |u|, or lr where a norm is 0.

    u = mean_fix * m / (root_fix * sqrt(v) + eps) + decay * p is what ``lamb`` moves by. Returns whether the step may go
    on. partial is (flat_parts(n), 3).
    """
    parts, fixes = chunks(p.size), (rest1, rest2, mean_fix, root_fix, eps, decay)
    if p.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, p.size)
            _lamb_moments(p[a:b], g[a:b], m[a:b], v[a:b], *fixes, partial[part])
    else:
        for part in prange(parts):
            a, b = bounds(part, p.size)
            _lamb_moments(p[a:b], g[a:b], m[a:b], v[a:b], *fixes, partial[part])
    size, length = math.sqrt(_total(partial, parts, 0)), math.sqrt(_total(partial, parts, 1))
    rate[0] = _lamb_rate(size, length, shrunk, lr)
    return _total(partial, parts, 2) == 0


@helper
def _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    for i in range(p.size):
        u = mean_fix * m[i] / (root_fix * math.sqrt(v[i]) + eps) + inside * p[i]
        p[i] = decayed(p[i], decay, rate * u)


@parallel_kernel
def lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    """p = (1 - decay) * p - rate[0] * (mean_fix * m / (root_fix * sqrt(v) + eps) + inside * p)."""
    if p.size <= SERIAL:
        _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate[0], decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _lamb(p[a:b], m[a:b], v[a:b], mean_fix, root_fix, eps, inside, rate[0], decay)


# Adafactor ---------------------------------------------------------------------------------------------------


@exact_helper
def _clipped_rate(lr, by_size, least, clip, size, length, count):
    """lr * max(least, by_size * rms(p)) / max(1, rms(u) / clip), given the sums of p^2 and u^2."""
    scale = max(least, by_size * math.sqrt(size / count))
    return scale * lr / max(1.0, math.sqrt(length / count) / clip)


@helper
def _task_rows(task, each, rows):
    """Matrix, first and last row (exclusive) of a task, of which each matrix has so many."""
    i = np.intp(task)  # prange counts in uint64
    first = i % each * _ROWS
    return i // each, first, min(rows, first + _ROWS)


@helper
def _factor_sums(p, g, eps, means, partial):
    """Some rows of a matrix: means[i] = mean of the row's g^2 + eps; sums of g^2 by column, then the sum of p^2."""
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
        means[i] = row / g.dtype.type(m) + eps
        partial[m] += pp


@helper
def _inverse_roots(values, scale, roots):
    """roots = sqrt(scale / values); 0 where a value is 0, since no gradient has been seen there."""
    root = math.sqrt(scale)  # scale / values may be too large for a number
    for i in range(values.size):
        roots[i] = root / math.sqrt(np.float64(values[i])) if values[i] > 0 else 0.0


@helper
def _squares_fit(g, partial, each):
    """Whether all squares of g are finite, given their sums; adds up the sums by column in each matrix's first row."""
    k, _, m = g.shape
    top, whole = np.float64(largest_slope(g)), 0.0
    for matrix in range(k):
        sums = partial[matrix * each]
        for task in range(matrix * each + 1, (matrix + 1) * each):
            for j in range(m):
                sums[j] += partial[task, j]
        for j in range(m):
            whole += sums[j]
    return whole <= top * top or (whole < math.inf and all_fit(g.reshape(-1)))


@parallel_kernel
def factor_sums(p, g, rest, eps, least, rows, cols, row_roots, col_roots, partial):
    """Moving means of g^2 along rows and columns of matrices p and g (k, n, m): rows (k, n), cols (k, m).

    rows = (1 - rest) * rows + rest * mean over columns of (g^2 + eps), cols likewise. row_roots (k, n) =
    sqrt(max(mean of rows, least) / rows) and col_roots (k, m) = 1 / sqrt(cols): 1 / sqrt(V) is the product of both,
    which are kept apart since V itself may be smaller than the dtype's smallest number. partial, (k * row_parts(n),
    m + 1), has sums of p^2 in its last column. Returns whether the step may go on; if not, rows and cols are unchanged.
    """
    k, n, m = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factor_sums(p[matrix, a:b], g[matrix, a:b], eps, row_roots[matrix, a:b], partial[task])
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factor_sums(p[matrix, a:b], g[matrix, a:b], eps, row_roots[matrix, a:b], partial[task])
    if not _squares_fit(g, partial, each):
        return False
    for matrix in range(k):
        total = 0.0
        for j in range(m):
            column = partial[matrix * each, j] / g.dtype.type(n) + eps
            cols[matrix, j] = mean(cols[matrix, j], column, rest)
        for i in range(n):
            rows[matrix, i] = mean(rows[matrix, i], row_roots[matrix, i], rest)
            total += rows[matrix, i]
        _inverse_roots(rows[matrix], max(total / n, least), row_roots[matrix])
        _inverse_roots(cols[matrix], 1.0, col_roots[matrix])
    return True


@exact_helper
def _times_square(sum_of_squares, factor):
    """In this order, for the square of the factor alone may be infinite where the sum is 0."""
    return (sum_of_squares * factor) * factor


@helper
def _factored_squares(g, row_roots, col_roots, top):
    total = 0.0
    for i in range(g.shape[0]):
        row, bound = g.dtype.type(0), top / row_roots[i]
        for j in range(g.shape[1]):
            u = g[i, j] * min(col_roots[j], bound)
            row += u * u
        total += _times_square(np.float64(row), np.float64(row_roots[i]))
    return total


@parallel_kernel
def factored_rate(g, row_roots, col_roots, top, lr, by_size, least, clip, partial, rate):
    """rate[0] = lr * max(least, by_size * rms(p)) / max(1, rms(u) / clip).

    u = g * min(row_roots * col_roots, top), for matrices g (k, n, m). partial is as ``factor_sums`` leaves it.
    """
    k, n, m = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    size, length = _total(partial, k * each, m), _total(partial, k * each, 0)
    rate[0] = _clipped_rate(lr, by_size, least, clip, size, length, g.size)


@helper
def _factored(p, g, row_roots, col_roots, top, rate, decay):
    for i in range(g.shape[0]):
        of_row, bound = rate * row_roots[i], top / row_roots[i]
        for j in range(g.shape[1]):
            p[i, j] = decayed(p[i, j], decay, of_row * (g[i, j] * min(col_roots[j], bound)))


@parallel_kernel
def factored(p, g, row_roots, col_roots, top, rate, decay):
    """p = (1 - decay) * p - rate[0] * g * min(row_roots * col_roots, top) for matrices p and g (k, n, m)."""
    k, n, _ = g.shape
    each = (n + _ROWS - 1) // _ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factored(p[matrix, a:b], g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top, rate[0], decay)
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            _factored(p[matrix, a:b], g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top, rate[0], decay)


@kernel
def row_means(x, means):
    """means (k, 1) of the rows of x (k, n)."""
    for row in range(len(x)):
        total = 0.0
        for i in range(x.shape[1]):
            total += x[row, i]
        means[row, 0] = total / x.shape[1]


@helper
def _block_squares(p, g, v, rest, eps, floor):
    pp, uu = p.dtype.type(0), p.dtype.type(0)
    for i in range(p.size):
        square = g[i] * g[i]
        squares = mean(v[i], square + eps, rest)
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
def whole_squares(p, g, v, rest, eps, floor, lr, by_size, least, clip, partial, rate):
    """v = (1 - rest) * v + rest * (g^2 + eps); rate[0] = lr * max(least, by_size * rms(p)) / max(1, rms(u) / clip).

    u = g / sqrt(max(v, floor)). The gradient is one that ``squares_fit``. partial is (flat_parts(n), 2).
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
    size, length = _total(partial, parts, 0), _total(partial, parts, 1)
    rate[0] = _clipped_rate(lr, by_size, least, clip, size, length, p.size)


@helper
def _whole(p, g, v, floor, rate, decay):
    for i in range(p.size):
        p[i] = decayed(p[i], decay, rate * (g[i] / math.sqrt(max(v[i], floor))))


@parallel_kernel
def whole(p, g, v, floor, rate, decay):
    """p = (1 - decay) * p - rate[0] * g / sqrt(max(v, floor))."""
    if p.size <= SERIAL:
        _whole(p, g, v, floor, rate[0], decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _whole(p[a:b], g[a:b], v[a:b], floor, rate[0], decay)


# Muon --------------------------------------------------------------------------------------------------------


@helper
def _block_smooth(g, m, rest, of_mean, of_gradient, x):
    squares, refused, top = g.dtype.type(0), False, largest_slope(g)
    forget(m, rest)
    for i in range(g.size):
        slope, over = taken(g[i], top)
        refused |= over
        smoothed = mean(m[i], slope, rest)
        mixed = of_mean * smoothed + of_gradient * slope
        m[i] = smoothed
        x[i] = mixed
        squares += mixed * mixed
    return squares, refused


@helper
def _smooth(g, m, rest, of_mean, of_gradient, x, sums):
    total, refused = 0.0, 0.0
    for a in range(0, g.size, _BLOCK):
        b = min(a + _BLOCK, g.size)
        squares, over = _block_smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b])
        total += squares
        refused += over
    sums[0], sums[1] = total, refused


@parallel_kernel
def smooth(g, m, rest, of_mean, of_gradient, least, beside, x, partial, factor):
    """m = (1 - rest) * m + rest * g; x = of_mean * m + of_gradient * g; factor[0] = 1 / (max(|x|, least) + beside).

    Returns whether the step may go on. partial is (flat_parts(n), 2).
    """
    parts = chunks(g.size)
    if g.size <= SERIAL:
        for part in range(parts):
            a, b = bounds(part, g.size)
            _smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b], partial[part])
    else:
        for part in prange(parts):
            a, b = bounds(part, g.size)
            _smooth(g[a:b], m[a:b], rest, of_mean, of_gradient, x[a:b], partial[part])
    factor[0] = 1.0 / (max(math.sqrt(_total(partial, parts, 0)), least) + beside)
    return _total(partial, parts, 1) == 0


@kernel
def scale_by(x, factor):
    """x *= factor[0], for flat x."""
    share = factor[0]
    for i in range(x.size):
        x[i] *= share


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
