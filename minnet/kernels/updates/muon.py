"""Muon: the smoothed gradient of a matrix, and what its iteration of Newton and Schulz does between products."""

import math

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from .means import forget, largest_slope, mean, product, taken
from .partials import BLOCK, total_of


@helper
def _block_smooth(g, m, rest, of_mean, of_gradient, x):
    squares, refused, top = g.dtype.type(0), False, largest_slope(g)
    forget(m, rest)
    for i in range(g.size):
        slope, over = taken(g[i], top)
        refused |= over
        smoothed = mean(m[i], slope, rest)
        mixed = of_mean * smoothed + product(of_gradient, slope)
        m[i] = smoothed
        x[i] = mixed
        squares += mixed * mixed
    return squares, refused


@helper
def _smooth(g, m, rest, of_mean, of_gradient, x, sums):
    total, refused = 0.0, 0.0
    for a in range(0, g.size, BLOCK):
        b = min(a + BLOCK, g.size)
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
    factor[0] = 1.0 / (max(math.sqrt(total_of(partial, parts, 0)), least) + beside)
    return total_of(partial, parts, 1) == 0


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
            S[i, j] = b * A[i, j] + product(c, S[i, j])
        S[i, i] += a
