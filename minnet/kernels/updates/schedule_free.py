"""Schedule-free update rules: in place, one pass over flat arrays of one size and dtype.

The parameters p are the point y where gradients are taken; z steps, and x averages it. y and z say together what x is,
so it is kept nowhere: ``pull`` and ``push`` are numbers of the step that bring y where the new x and z have it. Weight
decay is taken at y, inside the step d. What is returned, and what becomes of
gradients that are too large, is as in ``update``.
"""

import math

from numba import prange

from ..chunks import bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from .means import forget, largest_slope, mean, moved_on, taken


@helper
def _schedule_free_sgd(p, g, z, rate, pull, push, decay):
    top, refused = largest_slope(g), False
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        step = moved_on(slope, p[i], decay)
        base = z[i]
        p[i] = moved_on(moved_on(p[i], base - p[i], pull), step, -push)
        z[i] = moved_on(base, step, -rate)
    return refused


@kernel
def schedule_free_sgd(p, g, z, rate, pull, push, decay):
    """d = g + decay * p; p += pull * (z - p) - push * d; z -= rate * d."""
    return not _schedule_free_sgd(p, g, z, rate, pull, push, decay)


@parallel_kernel
def schedule_free_sgd_parallel(p, g, z, rate, pull, push, decay):
    """``schedule_free_sgd`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _schedule_free_sgd(p[a:b], g[a:b], z[a:b], rate, pull, push, decay)
    return refused == 0


@helper
def _schedule_free_adamw(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay):
    top, refused = largest_slope(g), False
    forget(v, rest2)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        second = mean(v[i], slope * slope, rest2)
        step = moved_on(slope / (root_fix * math.sqrt(second) + eps), p[i], decay)
        base = z[i]
        v[i] = second
        p[i] = moved_on(moved_on(p[i], base - p[i], pull), step, -push)
        z[i] = moved_on(base, step, -rate)
    return refused


@kernel
def schedule_free_adamw(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay):
    """v = beta2 v + rest2 g^2; d = g / (root_fix * sqrt(v) + eps) + decay * p; p and z as above."""
    return not _schedule_free_adamw(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay)


@parallel_kernel
def schedule_free_adamw_parallel(p, g, z, v, rest2, rate, pull, push, root_fix, eps, decay):
    """``schedule_free_adamw`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _schedule_free_adamw(p[a:b], g[a:b], z[a:b], v[a:b], rest2, rate, pull, push, root_fix, eps, decay)
    return refused == 0
