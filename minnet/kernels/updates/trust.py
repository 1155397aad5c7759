"""LARS and LAMB, whose rate for a tensor is a ratio of norms.

``decay`` is a part of the update itself in ``lars``, ``lars_rate`` and ``lamb_moments``. It is not multiplied by the
learning rate there.
"""

import math

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import exact_helper, helper, parallel_kernel
from .means import apart, decayed, enlarged, forget, largest_slope, mean, moved_on, product, taken
from .partials import BLOCK, ratio, total_of

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
    for a in range(0, p.size, BLOCK):
        b = min(a + BLOCK, p.size)
        pp, gg, over = _block_norms(p[a:b], g[a:b], inside)
        first += pp
        second += gg
        refused += over
    sums[0], sums[1], sums[2] = first, second, refused


@exact_helper
def _lars_rate(size, slope, beside, lr, trust, eps):
    return lr * ratio(trust * size, slope + beside * size + eps) if slope > 0 else lr


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
    size, slope = math.sqrt(total_of(partial, parts, 0)), math.sqrt(total_of(partial, parts, 1))
    rate[0] = _lars_rate(size, slope, beside, lr, trust, eps)
    return total_of(partial, parts, 2) == 0


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
    for a in range(0, p.size, BLOCK):
        b = min(a + BLOCK, p.size)
        pp, uu, over = _block_moments(p[a:b], g[a:b], m[a:b], v[a:b], rest1, rest2, mean_fix, root_fix, eps, decay)
        first += pp
        second += uu
        refused += over
    sums[0], sums[1], sums[2] = first, second, refused


@exact_helper
def _lamb_rate(size, length, shrunk, lr):
    return lr * ratio(shrunk * size, length)


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
    size, length = math.sqrt(total_of(partial, parts, 0)), math.sqrt(total_of(partial, parts, 1))
    rate[0] = _lamb_rate(size, length, shrunk, lr)
    return total_of(partial, parts, 2) == 0


@helper
def _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    for i in range(p.size):
        u = mean_fix * m[i] / (root_fix * math.sqrt(v[i]) + eps) + inside * p[i]
        p[i] = decayed(p[i], decay, product(rate, u))


@parallel_kernel
def lamb(p, m, v, mean_fix, root_fix, eps, inside, rate, decay):
    """p = (1 - decay) * p - rate[0] * (mean_fix * m / (root_fix * sqrt(v) + eps) + inside * p)."""
    if p.size <= SERIAL:
        _lamb(p, m, v, mean_fix, root_fix, eps, inside, rate[0], decay)
    else:
        for part in prange(chunks(p.size)):
            a, b = bounds(part, p.size)
            _lamb(p[a:b], m[a:b], v[a:b], mean_fix, root_fix, eps, inside, rate[0], decay)
