"""Adafactor: squares of the gradient by row and by column of a matrix, or element by element.

A task is a fixed number of rows of one matrix, so the bits of a sum depend on the shape alone.
"""

import math

import numpy as np
from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import exact_helper, helper, kernel, parallel_kernel
from .means import all_fit, decayed, largest_slope, mean, product
from .partials import BLOCK, total_of

ROWS = 32  # of a matrix, that a thread takes at a time


def row_parts(rows: int) -> int:
    """Rows of ``partial`` for each matrix of so many rows."""
    return -(-rows // ROWS)


@exact_helper
def _clipped_rate(lr, by_size, least, clip, size, length, count):
    """lr * max(least, by_size * rms(p)) / max(1, rms(u) / clip), given the sums of p^2 and u^2."""
    scale = max(least, by_size * math.sqrt(size / count))
    return scale * lr / max(1.0, math.sqrt(length / count) / clip)


@helper
def _task_rows(task, each, rows):
    """Matrix, first and last row (exclusive) of a task, of which each matrix has so many."""
    i = np.intp(task)  # prange counts in uint64
    first = i % each * ROWS
    return i // each, first, min(rows, first + ROWS)


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
    each = (n + ROWS - 1) // ROWS
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
    each = (n + ROWS - 1) // ROWS
    if g.size <= SERIAL:
        for task in range(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    else:
        for task in prange(k * each):
            matrix, a, b = _task_rows(task, each, n)
            partial[task, 0] = _factored_squares(g[matrix, a:b], row_roots[matrix, a:b], col_roots[matrix], top)
    size, length = total_of(partial, k * each, m), total_of(partial, k * each, 0)
    rate[0] = _clipped_rate(lr, by_size, least, clip, size, length, g.size)


@helper
def _factored(p, g, row_roots, col_roots, top, rate, decay):
    for i in range(g.shape[0]):
        of_row, bound = rate * row_roots[i], top / row_roots[i]
        for j in range(g.shape[1]):
            p[i, j] = decayed(p[i, j], decay, product(of_row, g[i, j] * min(col_roots[j], bound)))


@parallel_kernel
def factored(p, g, row_roots, col_roots, top, rate, decay):
    """p = (1 - decay) * p - rate[0] * g * min(row_roots * col_roots, top) for matrices p and g (k, n, m)."""
    k, n, _ = g.shape
    each = (n + ROWS - 1) // ROWS
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
    for a in range(0, p.size, BLOCK):
        b = min(a + BLOCK, p.size)
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
    size, length = total_of(partial, parts, 0), total_of(partial, parts, 1)
    rate[0] = _clipped_rate(lr, by_size, least, clip, size, length, p.size)


@helper
def _whole(p, g, v, floor, rate, decay):
    for i in range(p.size):
        p[i] = decayed(p[i], decay, product(rate, g[i] / math.sqrt(max(v[i], floor))))


@parallel_kernel
def whole(p, g, v, floor, rate, decay):
    """p = (1 - decay) * p - rate[0] * g / sqrt(max(v, floor))."""
    if p.size <= SERIAL:
        _whole(p, g, v, floor, rate[0], decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _whole(p[a:b], g[a:b], v[a:b], floor, rate[0], decay)
