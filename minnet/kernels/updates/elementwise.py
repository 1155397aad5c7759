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

Each kernel has a twin for large arrays, on all threads; both compute the same bits (``chunks.for_size``).

Rules with Adam's two moments are in ``update_adam``, those that average their iterates in ``update_schedule_free``.
"""

import math

from numba import prange

from ..chunks import bounds, chunks
from ..compile import helper, kernel, parallel_kernel
from .means import (
    apart,
    decayed,
    enlarged,
    forget,
    kept,
    largest_slope,
    mean,
    moved,
    moved_on,
    product,
    refused_by,
    taken,
)


@helper
def _sgd(p, g, rate, pull):
    squares = g.dtype.type(0)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        p[i] = moved(p[i], rate, slope, pull)
    return refused_by(squares, g)


@kernel
def sgd(p, g, rate, pull):
    """p += rate * (g - pull * p)."""
    return not _sgd(p, g, rate, pull)


@parallel_kernel
def sgd_parallel(p, g, rate, pull):
    """``sgd`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _sgd(p[a:b], g[a:b], rate, pull)
    return refused == 0


@helper
def _momentum(p, g, v, rest, gain, rate, pull):
    squares, full = g.dtype.type(0), enlarged(gain, rest)
    forget(v, rest)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        velocity = moved_on(v[i], apart(slope, full, v[i]), rest)
        v[i] = velocity
        p[i] = moved(p[i], rate, velocity, pull)
    return refused_by(squares, g)


@kernel
def momentum(p, g, v, rest, gain, rate, pull):
    """v = mu * v + gain * g; p = (1 - pull) * p + rate * v."""
    return not _momentum(p, g, v, rest, gain, rate, pull)


@parallel_kernel
def momentum_parallel(p, g, v, rest, gain, rate, pull):
    """``momentum`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _momentum(p[a:b], g[a:b], v[a:b], rest, gain, rate, pull)
    return refused == 0


@helper
def _nesterov(p, g, v, rest, gain, rate, pull):
    squares, full, again = g.dtype.type(0), enlarged(gain, rest), kept(rest, rest)
    forget(v, rest)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        away = apart(slope, full, v[i])
        velocity = moved_on(v[i], away, rest)
        v[i] = velocity
        p[i] = moved(p[i], rate, moved_on(velocity, away, again), pull)
    return refused_by(squares, g)


@kernel
def nesterov(p, g, v, rest, gain, rate, pull):
    """v = mu * v + gain * g; p = (1 - pull) * p + rate * (mu * v + gain * g)."""
    return not _nesterov(p, g, v, rest, gain, rate, pull)


@parallel_kernel
def nesterov_parallel(p, g, v, rest, gain, rate, pull):
    """``nesterov`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _nesterov(p[a:b], g[a:b], v[a:b], rest, gain, rate, pull)
    return refused == 0


@helper
def _nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    squares, full = g.dtype.type(0), enlarged(-lr, rest)
    forget(v, rest)
    for i in range(p.size):
        slope = g[i]
        squares += slope * slope
        velocity = moved_on(v[i], apart(slope, full, v[i]), rest)
        position = decayed(x[i], decay, -velocity)
        v[i] = velocity
        x[i] = position
        p[i] = position + kept(velocity, rest)
    return refused_by(squares, g)


@kernel
def nesterov_look_ahead(p, g, v, x, rest, lr, decay):
    """v = mu * v - lr * g; x = (1 - decay) * x + v; p = x + mu * v, the point where the next gradient is taken."""
    return not _nesterov_look_ahead(p, g, v, x, rest, lr, decay)


@parallel_kernel
def nesterov_look_ahead_parallel(p, g, v, x, rest, lr, decay):
    """``nesterov_look_ahead`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _nesterov_look_ahead(p[a:b], g[a:b], v[a:b], x[a:b], rest, lr, decay)
    return refused == 0


@helper
def _adagrad(p, g, s, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), False
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        squares = s[i] + slope * slope
        s[i] = squares
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(squares + eps_root) + eps))
    return refused


@kernel
def adagrad(p, g, s, lr, eps_root, eps, decay):
    """s += g^2; p = (1 - decay) * p - lr * g / (sqrt(s + eps_root) + eps)."""
    return not _adagrad(p, g, s, lr, eps_root, eps, decay)


@parallel_kernel
def adagrad_parallel(p, g, s, lr, eps_root, eps, decay):
    """``adagrad`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _adagrad(p[a:b], g[a:b], s[a:b], lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), False
    forget(s, rest)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        squares = mean(s[i], slope * slope, rest)
        s[i] = squares
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(squares + eps_root) + eps))
    return refused


@kernel
def rmsprop(p, g, s, rest, lr, eps_root, eps, decay):
    """s = rho * s + rest * g^2; p = (1 - decay) * p - lr * g / (sqrt(s + eps_root) + eps)."""
    return not _rmsprop(p, g, s, rest, lr, eps_root, eps, decay)


@parallel_kernel
def rmsprop_parallel(p, g, s, rest, lr, eps_root, eps, decay):
    """``rmsprop`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _rmsprop(p[a:b], g[a:b], s[a:b], rest, lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    top, refused, full = largest_slope(g), False, enlarged(gain, mu_rest)
    forget(s, rest)
    forget(v, mu_rest)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        squares = mean(s[i], slope * slope, rest)
        push = slope / (math.sqrt(squares + eps_root) + eps)
        velocity = moved_on(v[i], apart(push, full, v[i]), mu_rest)
        s[i] = squares
        v[i] = velocity
        p[i] = decayed(p[i], decay, -product(rate, velocity))
    return refused


@kernel
def rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """s = rho * s + rest * g^2; v = mu * v + gain * g / (sqrt(s + eps_root) + eps); p = (1 - decay) * p + rate * v."""
    return not _rmsprop_momentum(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay)


@parallel_kernel
def rmsprop_momentum_parallel(p, g, s, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """``rmsprop_momentum`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _rmsprop_momentum(p[a:b], g[a:b], s[a:b], v[a:b], rest, mu_rest, gain, rate, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    top, refused = largest_slope(g), False
    forget(m, rest)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        away = slope - m[i]
        variance = mean(s[i], kept(away, rest) * away, rest)
        m[i] = moved_on(m[i], away, rest)
        s[i] = variance
        p[i] = decayed(p[i], decay, lr * slope / (math.sqrt(variance + eps_root) + eps))
    return refused


@kernel
def rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay):
    """Centred by m: s = rho * (s + rest * (g - m)^2); m = rho * m + rest * g; p as in rmsprop."""
    return not _rmsprop_centred(p, g, s, m, rest, lr, eps_root, eps, decay)


@parallel_kernel
def rmsprop_centred_parallel(p, g, s, m, rest, lr, eps_root, eps, decay):
    """``rmsprop_centred`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _rmsprop_centred(p[a:b], g[a:b], s[a:b], m[a:b], rest, lr, eps_root, eps, decay)
    return refused == 0


@helper
def _rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    top, refused, full = largest_slope(g), False, enlarged(gain, mu_rest)
    forget(m, rest)
    forget(v, mu_rest)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        away = slope - m[i]
        variance = mean(s[i], kept(away, rest) * away, rest)
        push = slope / (math.sqrt(variance + eps_root) + eps)
        velocity = moved_on(v[i], apart(push, full, v[i]), mu_rest)
        m[i] = moved_on(m[i], away, rest)
        s[i] = variance
        v[i] = velocity
        p[i] = decayed(p[i], decay, -product(rate, velocity))
    return refused


@kernel
def rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """s, m as in rmsprop_centred; v and p as in rmsprop_momentum."""
    return not _rmsprop_centred_momentum(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay)


@parallel_kernel
def rmsprop_centred_momentum_parallel(p, g, s, m, v, rest, mu_rest, gain, rate, eps_root, eps, decay):
    """``rmsprop_centred_momentum`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _rmsprop_centred_momentum(
            p[a:b], g[a:b], s[a:b], m[a:b], v[a:b], rest, mu_rest, gain, rate, eps_root, eps, decay
        )
    return refused == 0


@helper
def _adadelta(p, g, s, d, rest, lr, eps, decay):
    top, refused = largest_slope(g), False
    forget(s, rest)
    forget(d, rest)
    for i in range(p.size):
        slope, over = taken(g[i], top)
        refused |= over
        squares = mean(s[i], slope * slope, rest)
        update = math.sqrt((d[i] + eps) / (squares + eps)) * slope
        s[i] = squares
        d[i] = mean(d[i], update * update, rest)
        p[i] = decayed(p[i], decay, product(lr, update))
    return refused


@kernel
def adadelta(p, g, s, d, rest, lr, eps, decay):
    """s = rho * s + rest * g^2; u = g * sqrt((d + eps) / (s + eps)); d = rho * d + rest * u^2; p -= lr * u."""
    return not _adadelta(p, g, s, d, rest, lr, eps, decay)


@parallel_kernel
def adadelta_parallel(p, g, s, d, rest, lr, eps, decay):
    """``adadelta`` on all threads."""
    refused = 0.0
    for chunk in prange(chunks(p.size)):
        a, b = bounds(chunk, p.size)
        refused += _adadelta(p[a:b], g[a:b], s[a:b], d[a:b], rest, lr, eps, decay)
    return refused == 0
