"""Update rules with Adam's moments: running means of the gradient and of its square, or of its size.

In place, one pass over flat arrays of one size and dtype. ``decay`` is the share of p that decoupled weight decay
takes, lr * weight_decay. Memory comes as what is forgotten, ``rest1`` = 1 - beta1 and ``rest2`` = 1 - beta2.
Corrections for the start at 0 are numbers of the step, and come inside ``rate`` and ``root_fix``. What is returned,
and what becomes of gradients that are too large, is as in ``update``.
"""

import math

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, parallel_kernel
from .means import decayed, kept, largest_slope, mean, taken


@helper
def _adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        first = mean(m[i], slope, rest1, rest1)
        second = mean(v[i], slope * slope, rest2, rest2)
        m[i] = first
        v[i] = second
        p[i] = decayed(p[i], decay, rate * first / (root_fix * math.sqrt(second) + eps))
    return refused


@parallel_kernel
def adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay):
    """m = beta1 m + rest1 g; v = beta2 v + rest2 g^2; p = (1 - decay) p - rate * m / (root_fix * sqrt(v) + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _adam(p, g, m, v, rest1, rest2, rate, root_fix, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _adam(p[a:b], g[a:b], m[a:b], v[a:b], rest1, rest2, rate, root_fix, eps, decay)
    return refused == 0


@helper
def _amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        first = mean(m[i], slope, rest1, rest1)
        second = mean(v[i], slope * slope, rest2, rest2)
        largest = max(w[i], second)
        m[i] = first
        v[i] = second
        w[i] = largest
        p[i] = decayed(p[i], decay, rate * first / (root_fix * math.sqrt(largest) + eps))
    return refused


@parallel_kernel
def amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay):
    """m, v as in adam; w = max(w, v); p = (1 - decay) p - rate * m / (root_fix * sqrt(w) + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _amsgrad(p, g, m, v, w, rest1, rest2, rate, root_fix, eps, decay)
    else:
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
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        first = mean(m[i], slope, rest1, rest1)
        norm = max(kept(u[i], rest2), abs(slope) + eps_norm)
        m[i] = first
        u[i] = norm
        p[i] = decayed(p[i], decay, rate * first / (norm + eps))
    return refused


@parallel_kernel
def adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay):
    """m = beta1 m + rest1 g; u = max(beta2 u, |g| + eps_norm); p = (1 - decay) p - rate * m / (u + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _adamax(p, g, m, u, rest1, rest2, rate, eps_norm, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _adamax(p[a:b], g[a:b], m[a:b], u[a:b], rest1, rest2, rate, eps_norm, eps, decay)
    return refused == 0


@helper
def _nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        first = mean(m[i], slope, rest1, rest1)
        second = mean(v[i], slope * slope, rest2, rest2)
        m[i] = first
        v[i] = second
        p[i] = decayed(p[i], decay, (rate_m * first + rate_g * slope) / (root_fix * math.sqrt(second) + eps))
    return refused


@parallel_kernel
def nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay):
    """m, v as in adam; p = (1 - decay) p - (rate_m * m + rate_g * g) / (root_fix * sqrt(v) + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _nadam(p, g, m, v, rest1, rest2, rate_m, rate_g, root_fix, eps, decay)
    else:
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
    zero, one = p.dtype.type(0), p.dtype.type(1)
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        c = mean(m[i], slope, rest1, rest1)
        sign = one if c > zero else (-one if c < zero else c)
        m[i] = mean(m[i], slope, rest2, rest2)
        p[i] = decayed(p[i], decay, lr * sign)
    return refused


@parallel_kernel
def lion(p, g, m, rest1, rest2, lr, decay):
    """p = (1 - decay) p - lr * sign(beta1 m + rest1 g); m = beta2 m + rest2 g. Signs of 0 and NaN are 0 and NaN."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _lion(p, g, m, rest1, rest2, lr, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _lion(p[a:b], g[a:b], m[a:b], rest1, rest2, lr, decay)
    return refused == 0
