"""What combinators, clipping and averages do to gradients and weights, in place."""

import math

import numpy as np
from numba import prange

from ..chunks import CHUNK, SERIAL, bounds, chunks
from ..compile import exact_helper, helper, kernel, parallel_kernel
from ..noise import at_step, draw
from ..vector.elementary import log, polynomial
from .means import forget, mean, product


@helper
def _combine(x, a, y, b):
    for i in range(x.size):
        x[i] = a * x[i] + product(b, y[i])


@parallel_kernel
def combine(x, a, y, b):
    """x = a * x + b * y, for flat x and y."""
    if x.size <= SERIAL:
        _combine(x, a, y, b)
    else:
        for chunk in prange(chunks(x.size)):
            start, stop = bounds(chunk, x.size)
            _combine(x[start:stop], a, y[start:stop], b)


@helper
def _mix(average, values, share):
    forget(average, share)
    for i in range(average.size):
        average[i] = mean(average[i], values[i], share)


@parallel_kernel
def mix(average, values, share):
    """average = (1 - share) * average + share * values, for flat arrays; see ``means``."""
    if average.size <= SERIAL:
        _mix(average, values, share)
    else:
        for chunk in prange(chunks(average.size)):
            start, stop = bounds(chunk, average.size)
            _mix(average[start:stop], values[start:stop], share)


@helper
def _look_ahead(p, slow, share):
    forget(slow, share)
    for i in range(p.size):
        moved = mean(slow[i], p[i], share)
        slow[i] = moved
        p[i] = moved


@parallel_kernel
def look_ahead(p, slow, share):
    """slow = (1 - share) * slow + share * p; p = slow, for flat arrays."""
    if p.size <= SERIAL:
        _look_ahead(p, slow, share)
    else:
        for chunk in prange(chunks(p.size)):
            start, stop = bounds(chunk, p.size)
            _look_ahead(p[start:stop], slow[start:stop], share)


@helper
def _scaled(x, factor, y):
    for i in range(x.size):
        y[i] = factor * x[i]


@parallel_kernel
def scaled(x, factor, y):
    """y = factor * x, for flat x and y."""
    if x.size <= SERIAL:
        _scaled(x, factor, y)
    else:
        for chunk in prange(chunks(x.size)):
            start, stop = bounds(chunk, x.size)
            _scaled(x[start:stop], factor, y[start:stop])


@helper
def _square(x, factor):
    for i in range(x.size):
        x[i] = factor * x[i] * x[i]


@parallel_kernel
def square(x, factor):
    """x = factor * x^2, for flat x."""
    if x.size <= SERIAL:
        _square(x, factor)
    else:
        for chunk in prange(chunks(x.size)):
            start, stop = bounds(chunk, x.size)
            _square(x[start:stop], factor)


# sin(x) / x in powers of x^2: Taylor's series, whose first term left out is below 2e-16 where |x| is at most pi / 2.
_SINE = polynomial((0.0,), tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(11)))
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_TO_SHARE = 2.0**-32


@helper
def _cosine_of_turns(u):
    """Return cos(2 pi u) for 0 <= u < 1, in double precision."""
    x = 2 * math.pi * (abs(u - 0.5) - 0.25)
    return x * _SINE(x * x)


@helper
def _normal(bits):
    """Return a normal deviate in double precision from 64 uniform bits (Box and Muller 1958); none is beyond 6.7."""
    radius = math.sqrt(-2 * log(np.float64((bits >> _HALF) + np.uint64(1)) * _TO_SHARE))
    return radius * _cosine_of_turns(np.float64(bits & _LOW) * _TO_SHARE)


@helper
def _add_noise(g, base, first, scale):
    for i in range(g.size):
        g[i] += g.dtype.type(scale * _normal(draw(base, first + i)))


@parallel_kernel
def add_noise(g, stream, step, first, scale):
    """g += scale * normal noise, which is a function of (stream, step, element); g[0] is element ``first``.

    stream is a uint64 and scale a float64. The noise is computed in double precision and then converted.
    """
    base = at_step(stream, step)
    if g.size <= CHUNK:  # less than SERIAL, for a deviate takes much longer than a product
        _add_noise(g, base, first, scale)
    else:
        for chunk in prange(chunks(g.size)):
            start, stop = bounds(chunk, g.size)
            _add_noise(g[start:stop], base, first + start, scale)


@helper
def _clip_values(x, bound):
    for i in range(x.size):
        value = x[i]
        x[i] = bound if value > bound else (-bound if value < -bound else value)


@parallel_kernel
def clip_values(x, bound):
    """x = min(max(x, -bound), bound), for flat x; NaN stays NaN."""
    if x.size <= SERIAL:
        _clip_values(x, bound)
    else:
        for chunk in prange(chunks(x.size)):
            start, stop = bounds(chunk, x.size)
            _clip_values(x[start:stop], bound)


# Elements whose squares are added up in the arrays' own precision; a block is a view, counted from 0 (see ``flat``).
_BLOCK = 4096


@exact_helper
def _shrunk(squares, small):
    return squares * small * small


@exact_helper
def _shrunk_squares(block, small):
    """Return the sum of the squares of small * block."""
    total = block.dtype.type(0)
    for i in range(block.size):
        value = block[i] * small
        total += value * value
    return total


@kernel
def add_norm(x, sums):
    """Include a flat array x in the Euclidean norm of several arrays, and return whether the norm is finite.

    sums (3,), in double precision and 0 before the first array, has the sum of squares, the sum of the squares of x
    times a small number, which is finite for every finite x, and the norm.
    """
    small = 2.0**-80 if x.itemsize == 4 else 2.0**-540
    for start in range(0, x.size, _BLOCK):
        block, squares = x[start : start + _BLOCK], x.dtype.type(0)
        for i in range(block.size):
            squares += block[i] * block[i]
        sums[0] += squares
        if squares < math.inf:  # isfinite subtracts, and terms of a sum that may be rearranged would cancel
            sums[1] += _shrunk(np.float64(squares), small)
        else:
            sums[1] += _shrunk_squares(block, x.dtype.type(small))
    sums[2] = math.sqrt(sums[0]) if sums[0] < math.inf else math.sqrt(sums[1]) / small
    return sums[2] < math.inf


@kernel
def limit(x, sums, bound):
    """x *= bound / norm if the norm in ``sums``, as ``add_norm`` computes it, is above bound; for flat x."""
    norm = sums[2]
    if norm > bound:
        factor = x.dtype.type(bound / norm)
        for i in range(x.size):
            x[i] *= factor


@kernel
def clip_units(W, G, share, least):
    """Scale the gradients G[:, u] of a unit down to the norm share * max(norm of W[:, u], least) if theirs is larger.

    Returns whether all norms were finite. A unit with another norm does not change.
    """
    finite = True
    for u in range(W.shape[1]):
        weights, gradients = 0.0, 0.0
        for i in range(W.shape[0]):
            w, g = np.float64(W[i, u]), np.float64(G[i, u])
            weights += w * w
            gradients += g * g
        bound, norm = share * max(math.sqrt(weights), least), math.sqrt(gradients)
        finite = finite and math.isfinite(norm) and math.isfinite(bound)
        if norm > bound and math.isfinite(norm):
            factor = G.dtype.type(bound / norm)
            for i in range(W.shape[0]):
                G[i, u] *= factor
    return finite
