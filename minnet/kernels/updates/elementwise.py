"""Update rules: each one pass over flat arrays of one size and dtype, in place.

``decay`` is the share of p that decoupled weight decay takes in this step, lr * weight_decay (0 for none). It stands
in every kernel because a pass of its own would read and write the parameters once more. Gradient descent and momentum
take it inside of their step, ``p += rate * (v - pull * p)``, which is one operation less. Memory comes as what is
forgotten, ``rest`` = 1 - rho or 1 - mu (see ``means``). Where a published form adds eps under the root and another adds
it to the root, the kernel has both and the rule passes 0 for one of them.

Every kernel returns whether the step may go on: True if no element of the gradient has a square that would overflow or
is not finite. Kernels whose state has squares or long memory leave such elements out, as if they were 0: sums of
squares would stay infinite for ever, and a mean would remember a spike for thousands of steps. Gradient descent and
momentum only notice them, by the sum of the squares, because to leave them out would take a fifth more time.

Rules with Adam's two moments are in ``update_adam``, those that average their iterates in ``update_schedule_free``.
"""

import math

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, parallel_kernel
from .means import decayed, kept, largest_slope, mean, moved, once, refused_by, taken


@helper
def _sgd(p, g, rate, pull):
    squares = g.dtype.type(0)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        p[i] = moved(p[i], rate, slope, pull)
    return refused_by(squares, g)


@parallel_kernel
def sgd(p, g, rate, pull):
    """p += rate * (g - pull * p)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _sgd(p, g, rate, pull)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _sgd(p[a:b], g[a:b], rate, pull)
    return refused == 0


@helper
def _momentum(p, g, v, rest, gain, rate, pull):
    squares = g.dtype.type(0)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        velocity = mean(v[i], slope, rest, gain)
        v[i] = velocity
        p[i] = moved(p[i], rate, velocity, pull)
    return refused_by(squares, g)


@parallel_kernel
def momentum(p, g, v, rest, gain, rate, pull):
    """v = mu * v + gain * g; p = (1 - pull) * p + rate * v."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _momentum(p, g, v, rest, gain, rate, pull)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _momentum(p[a:b], g[a:b], v[a:b], rest, gain, rate, pull)
    return refused == 0


@helper
def _nesterov(p, g, v, rest, gain, rate, pull):
    squares = g.dtype.type(0)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        velocity = mean(v[i], slope, rest, gain)
        v[i] = velocity
        p[i] = moved(p[i], rate, once(velocity, slope, rest, gain), pull)
    return refused_by(squares, g)


@parallel_kernel
def nesterov(p, g, v, rest, gain, rate, pull):
    """v = mu * v + gain * g; p = (1 - pull) * p + rate * (mu * v + gain * g)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _nesterov(p, g, v, rest, gain, rate, pull)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _nesterov(p[a:b], g[a:b], v[a:b], rest, gain, rate, pull)
    return refused == 0


@helper
def _nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    squares = g.dtype.type(0)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        velocity = mean(v[i], slope, rest, -lr)
        position = decayed(x[i], decay, -velocity)
        v[i] = velocity
        x[i] = position
        p[i] = position + kept(velocity, rest)
    return refused_by(squares, g)


@parallel_kernel
def nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    """v = mu * v - lr * g; x = (1 - decay) * x + v; p = x + mu * v, the point where the next gradient is taken."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _nesterov_look_ahead(p, g, v, x, rest, lr, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _nesterov_look_ahead(p[a:b], g[a:b], v[a:b], x[a:b], rest, lr, decay)
    return refused == 0


@helper
def _adagrad(p, g, s, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        squares = s[i] + slope * slope
        s[i] = squares
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(squares + eps_root) + eps))
    return refused


@parallel_kernel
def adagrad(p, g, s, lr, eps_root, eps, decay):
    """s += g^2; p = (1 - decay) * p - lr * g / (sqrt(s + eps_root) + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _adagrad(p, g, s, lr, eps_root, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _adagrad(p[a:b], g[a:b], s[a:b], lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        squares = mean(s[i], slope * slope, rest, rest)
        s[i] = squares
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(squares + eps_root) + eps))
    return refused


@parallel_kernel
def rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    """s = rho * s + rest * g^2; p = (1 - decay) * p - lr * g / (sqrt(s + eps_root) + eps)."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _rmsprop(p, g, s, rest, lr, eps_root, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _rmsprop(p[a:b], g[a:b], s[a:b], rest, lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        squares = mean(s[i], slope * slope, rest, rest)
        velocity = mean(v[i], slope / (math.sqrt(squares + eps_root) + eps), mu_rest, gain)
        s[i] = squares
        v[i] = velocity
        p[i] = decayed(p[i], decay, -rate * velocity)
    return refused


@parallel_kernel
def rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """s = rho * s + rest * g^2; v = mu * v + gain * g / (sqrt(s + eps_root) + eps); p = (1 - decay) * p + rate * v."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _rmsprop_momentum(
                p[a:b], g[a:b], s[a:b], v[a:b], rest, mu_rest, gain, rate, eps_root, eps, decay
            )
    return refused == 0


@helper
def _rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        away = slope - m[i]
        variance = mean(s[i], kept(away, rest) * away, rest, rest)
        m[i] = mean(m[i], slope, rest, rest)
        s[i] = variance
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(variance + eps_root) + eps))
    return refused


@parallel_kernel
def rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    """Centred by m: s = rho * (s + rest * (g - m)^2); m = rho * m + rest * g; p as in rmsprop."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _rmsprop_centred(p[a:b], g[a:b], s[a:b], m[a:b], rest, lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        away = slope - m[i]
        variance = mean(s[i], kept(away, rest) * away, rest, rest)
        velocity = mean(v[i], slope / (math.sqrt(variance + eps_root) + eps), mu_rest, gain)
        m[i] = mean(m[i], slope, rest, rest)
        s[i] = variance
        v[i] = velocity
        p[i] = decayed(p[i], decay, -rate * velocity)
    return refused


@parallel_kernel
def rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """s, m as in rmsprop_centred; v and p as in rmsprop_momentum."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _rmsprop_centred_momentum(
                p[a:b], g[a:b], s[a:b], m[a:b], v[a:b], rest, mu_rest, gain, rate, eps_root, eps, decay
            )
    return refused == 0


@helper
def _adadelta(p, g, s, d, rest, lr, eps, decay):
    top, refused = largest_slope(g), g.dtype.type(0)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused += over
        squares = mean(s[i], slope * slope, rest, rest)
        update = math.sqrt((d[i] + eps) / (squares + eps)) * slope
        s[i] = squares
        d[i] = mean(d[i], update * update, rest, rest)
        p[i] = decayed(p[i], decay, lr * update)
    return refused


@parallel_kernel
def adadelta(p, g, s, d, rest, lr, eps, decay):
    """s = rho * s + rest * g^2; u = g * sqrt((d + eps) / (s + eps)); d = rho * d + rest * u^2; p -= lr * u."""
    refused = 0.0
    if p.size <= SERIAL:
        refused += _adadelta(p, g, s, d, rest, lr, eps, decay)
    else:
        for chunk in prange(chunks(p.size)):
            a, b = bounds(chunk, p.size)
            refused += _adadelta(p[a:b], g[a:b], s[a:b], d[a:b], rest, lr, eps, decay)
    return refused == 0
