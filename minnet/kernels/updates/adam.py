"""Update rules with Adam's moments: running means of the gradient and of its square, or of its size.

In place, one pass over flat arrays of one size and dtype. ``decay`` is the share of p that decoupled weight decay
takes, lr * weight_decay. Memory comes as what is forgotten, ``rest1`` = 1 - beta1 and ``rest2`` = 1 - beta2.
Corrections for the start at 0 are numbers of the step, and come inside ``rate`` and ``root_fix``. What is returned,
and what becomes of gradients that are too large, is as in ``update``.
"""

import math

from numba import prange

from ..chunks import bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from .means import decayed, forget, kept, largest_slope, mean, once, product, taken


@helper
def _adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    top, refused = largest_slope(g), False
    forget(m, rest1)
    forget(v, rest2)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        first = mean(m[i], slope, rest1)
        second = mean(v[i], slope * slope, rest2)
        m[i] = first
        v[i] = second
        p[i] = decayed(p[i], decay, rate * first / (root_fix * math.sqrt(second) + eps))
    return refused


@kernel
def adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    """m = beta1 m + rest1 g; v = beta2 v + rest2 g^2; p = (1 - decay) p - rate * m / (root_fix * sqrt(v) + eps)."""
    return not _adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay)


@parallel_kernel
def adam_parallel(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    """``adam`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _adam(p[a:b], g[a:b], m[a:b], v[a:b], rest1, rest2, rate, root_fix, eps, decay)
    return refused == 0


@helper
def _amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    top, refused = largest_slope(g), False
    forget(m, rest1)
    forget(v, rest2)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        first = mean(m[i], slope, rest1)
        second = mean(v[i], slope * slope, rest2)
        largest = max(w[i], second)
        m[i] = first
        v[i] = second
        w[i] = largest
        p[i] = decayed(p[i], decay, rate * first / (root_fix * math.sqrt(largest) + eps))
    return refused


@kernel
def amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    """m, v as in adam; w = max(w, v); p = (1 - decay) p - rate * m / (root_fix * sqrt(w) + eps)."""
    return not _amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay)


@parallel_kernel
def amsgrad_parallel(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    """``amsgrad`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _amsgrad(
            p[a:b],
            g[a:b],
            m[a:b],
            v[a:b],
            w[a:b],
            rest1,
            rest2,
            rate,
            root_fix,
            eps,
            decay,
        )
    return refused == 0


@helper
def _adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    top, refused = largest_slope(g), False
    forget(m, rest1)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        first = mean(m[i], slope, rest1)
        norm = max(kept(u[i], rest2), abs(slope) + eps_norm)
        m[i] = first
        u[i] = norm
        p[i] = decayed(p[i], decay, rate * first / (norm + eps))
    return refused


@kernel
def adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    """m = beta1 m + rest1 g; u = max(beta2 u, |g| + eps_norm); p = (1 - decay) p - rate * m / (u + eps)."""
    return not _adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay)


@parallel_kernel
def adamax_parallel(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    """``adamax`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _adamax(p[a:b], g[a:b], m[a:b], u[a:b], rest1, rest2, rate, eps_norm, eps, decay)
    return refused == 0


@helper
def _nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    top, refused = largest_slope(g), False
    forget(m, rest1)
    forget(v, rest2)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        first = mean(m[i], slope, rest1)
        second = mean(v[i], slope * slope, rest2)
        m[i] = first
        v[i] = second
        p[i] = decayed(p[i], decay, (rate_m * first + product(rate_g, slope)) / (root_fix * math.sqrt(second) + eps))
    return refused


@kernel
def nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    """m, v as in adam; p = (1 - decay) p - (rate_m * m + rate_g * g) / (root_fix * sqrt(v) + eps)."""
    return not _nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay)


@parallel_kernel
def nadam_parallel(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    """``nadam`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _nadam(
            p[a:b],
            g[a:b],
            m[a:b],
            v[a:b],
            rest1,
            rest2,
            rate_m,
            rate_g,
            root_fix,
            eps,
            decay,
        )
    return refused == 0


@helper
def _lion(p, g, m, rest1, rest2, lr, decay):
    top, refused, zero = largest_slope(g), False, p.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        c = once(m[i], slope, rest1)
        step = lr if c > zero else (-lr if c < zero else c)
        m[i] = mean(m[i], slope, rest2)
        p[i] = decayed(p[i], decay, step)
    if rest2 == 1:  # what ``forget`` is for, which would come too early for c
        for i in range(p.size):
            m[i] = taken(g[i], top)[0]
    return refused


@kernel
def lion(p, g, m, rest1, rest2, lr, decay):
    """p = (1 - decay) p - lr * sign(beta1 m + rest1 g); m = beta2 m + rest2 g. Signs of 0 and NaN are 0 and NaN."""
    return not _lion(p, g, m, rest1, rest2, lr, decay)


@parallel_kernel
def lion_parallel(p, g, m, rest1, rest2, lr, decay):
    """``lion`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _lion(p[a:b], g[a:b], m[a:b], rest1, rest2, lr, decay)
    return refused == 0
