"""Activation functions, element by element, and their backward passes.

``x`` is the input, ``y`` the output, ``dy`` the gradient that comes in and ``dx`` the one that goes out: C-contiguous
arrays of one shape and dtype. Forward comparisons are written so that a NaN passes through instead of becoming 0.
"""

from collections.abc import Callable
from typing import Any

from numba import prange

from ..chunks import SERIAL, bounds, chunks
from ..compile import helper, kernel, parallel_kernel, wide_kernel, wide_parallel_kernel
from ..vector.elementary import exp, exp_and_expm1_left, log1p, normal_cdf_and_density
from ..vector.elementary import sigmoid as logistic_sigmoid
from ..vector.elementary import tanh as hyperbolic_tangent
from ..vector.sums import DEPTH, add_block, finish, start
from ..views import flat

_LARGE = 250_000  # elements from which a second thread pays for functions that take a few nanoseconds for ten elements


def for_size(n: int, serial: Callable[..., Any], parallel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel for n elements. Both compute the same bits."""
    return parallel if n >= _LARGE else serial


@helper
def _leaky_relu(x, slope, y):
    zero = x.dtype.type(0)
    for i in range(x.size):
        v = x[i]
        y[i] = slope * v if v <= zero else v


@parallel_kernel
def leaky_relu(x, slope, y):
    """y = x where x > 0, slope * x elsewhere."""
    xs, ys = flat(x), flat(y)
    if xs.size <= SERIAL:
        _leaky_relu(xs, slope, ys)
    else:
        for chunk in prange(chunks(xs.size)):
            start, stop = bounds(chunk, xs.size)
            _leaky_relu(xs[start:stop], slope, ys[start:stop])


@helper
def _leaky_relu_backward(x, slope, dy, dx):
    zero = x.dtype.type(0)
    for i in range(x.size):
        g = dy[i]
        dx[i] = g if x[i] > zero else slope * g


@parallel_kernel
def leaky_relu_backward(x, slope, dy, dx):
    """dx = dy where x > 0, slope * dy elsewhere."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    if xs.size <= SERIAL:
        _leaky_relu_backward(xs, slope, dys, dxs)
    else:
        for chunk in prange(chunks(xs.size)):
            start, stop = bounds(chunk, xs.size)
            _leaky_relu_backward(xs[start:stop], slope, dys[start:stop], dxs[start:stop])


@helper
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in range(x.size):
        v = x[i]
        y[i] = zero if v <= zero else v


@parallel_kernel
def relu(x, y):
    """y = max(x, 0)."""
    xs, ys = flat(x), flat(y)
    if xs.size <= SERIAL:
        _relu(xs, ys)
    else:
        for chunk in prange(chunks(xs.size)):
            start, stop = bounds(chunk, xs.size)
            _relu(xs[start:stop], ys[start:stop])


@helper
def _relu_backward(x, dy, dx):
    zero = x.dtype.type(0)
    for i in range(x.size):
        dx[i] = dy[i] if x[i] > zero else zero


@parallel_kernel
def relu_backward(x, dy, dx):
    """dx = dy where x > 0, 0 elsewhere."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    if xs.size <= SERIAL:
        _relu_backward(xs, dys, dxs)
    else:
        for chunk in prange(chunks(xs.size)):
            start, stop = bounds(chunk, xs.size)
            _relu_backward(xs[start:stop], dys[start:stop], dxs[start:stop])


@helper
def _relu_mask(y, dy):
    zero = y.dtype.type(0)
    for i in range(y.size):
        dy[i] = dy[i] if y[i] > zero else zero


@parallel_kernel
def relu_mask(y, dy):
    """dy = 0 where y, the ReLU's output, is not above 0, in place."""
    ys, dys = flat(y), flat(dy)
    if ys.size <= SERIAL:
        _relu_mask(ys, dys)
    else:
        for chunk in prange(chunks(ys.size)):
            start, stop = bounds(chunk, ys.size)
            _relu_mask(ys[start:stop], dys[start:stop])


@kernel
def prelu(x, a, y):
    """y[r, c] = x[r, c] where positive, a[c] * x[r, c] elsewhere; c runs over the last axis."""
    channels = a.size
    xs = x.reshape((x.size // channels, channels))
    ys = y.reshape((x.size // channels, channels))
    zero = x.dtype.type(0)
    for r in range(xs.shape[0]):
        for c in range(channels):
            v = xs[r, c]
            ys[r, c] = a[c] * v if v <= zero else v


@kernel
def prelu_backward_slope(x, dy, da, work):
    """da[c] = sum over r of dy[r, c] * min(x[r, c], 0); work holds twice as many numbers as da."""
    channels = da.size
    xs = x.reshape((x.size // channels, channels))
    dys = dy.reshape((x.size // channels, channels))
    zero = x.dtype.type(0)
    rests, block = work[:channels], work[channels : 2 * channels]
    start(da, rests)
    for first in range(0, len(xs), DEPTH):
        for c in range(channels):
            block[c] = zero
        for r in range(first, min(first + DEPTH, len(xs))):
            for c in range(channels):
                v = xs[r, c]
                block[c] += dys[r, c] * (v if v <= zero else zero)
        add_block(da, rests, block)
    finish(da, rests)


@kernel
def prelu_backward_input(x, a, dy, dx):
    """dx[r, c] = dy[r, c] where x is positive, a[c] * dy[r, c] elsewhere."""
    channels = a.size
    xs = x.reshape((x.size // channels, channels))
    dys = dy.reshape((x.size // channels, channels))
    dxs = dx.reshape((x.size // channels, channels))
    zero = x.dtype.type(0)
    for r in range(xs.shape[0]):
        for c in range(channels):
            g = dys[r, c]
            dxs[r, c] = g if xs[r, c] > zero else a[c] * g


@wide_kernel
def elu(x, alpha, scale, y):
    """y = scale * x where x > 0, scale * alpha * (exp(x) - 1) elsewhere."""
    xs, ys = flat(x), flat(y)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        _, less = exp_and_expm1_left(v)
        ys[i] = scale * alpha * less if v <= zero else scale * v


@wide_kernel
def elu_backward(x, alpha, scale, dy, dx):
    """dx = scale * dy where x > 0, scale * alpha * exp(x) * dy elsewhere.

    The slope is y + scale * alpha too, but that difference has no digits left where y is near -scale * alpha.
    """
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        e, _ = exp_and_expm1_left(v)
        slope = scale if v > zero else scale * alpha * e
        dxs[i] = slope * dys[i]


@helper
def _sigmoid(xs, ys):
    for i in range(xs.size):
        ys[i] = logistic_sigmoid(xs[i])


@wide_kernel
def sigmoid(x, y):
    """y = 1 / (1 + exp(-x))."""
    _sigmoid(flat(x), flat(y))


@wide_parallel_kernel
def sigmoid_parallel(x, y):
    """``sigmoid`` on all threads."""
    xs, ys = flat(x), flat(y)
    for chunk in prange(chunks(x.size)):
        at, end = bounds(chunk, x.size)
        _sigmoid(xs[at:end], ys[at:end])


@kernel
def sigmoid_backward(y, dy, dx):
    """dx = y * (1 - y) * dy. Where y is near 1 the slope has few digits, as 1 - y has."""
    ys, dys, dxs = flat(y), flat(dy), flat(dx)
    one = y.dtype.type(1)
    for i in range(ys.size):
        dxs[i] = ys[i] * (one - ys[i]) * dys[i]


@helper
def _tanh(xs, ys):
    for i in range(xs.size):
        ys[i] = hyperbolic_tangent(xs[i])


@wide_kernel
def tanh(x, y):
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    _tanh(flat(x), flat(y))


@wide_parallel_kernel
def tanh_parallel(x, y):
    """``tanh`` on all threads."""
    xs, ys = flat(x), flat(y)
    for chunk in prange(chunks(x.size)):
        at, end = bounds(chunk, x.size)
        _tanh(xs[at:end], ys[at:end])


@kernel
def tanh_backward(y, dy, dx):
    """dx = (1 - y) * (1 + y) * dy. Where |y| is near 1 the slope has few digits, as 1 - |y| has."""
    ys, dys, dxs = flat(y), flat(dy), flat(dx)
    one = y.dtype.type(1)
    for i in range(ys.size):
        dxs[i] = (one - ys[i]) * (one + ys[i]) * dys[i]


@wide_kernel
def softplus(x, y):
    """y = log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    xs, ys = flat(x), flat(y)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = (zero if v <= zero else v) + log1p(exp(-abs(v)))


@wide_kernel
def softplus_backward(x, dy, dx):
    """dx = sigmoid(x) * dy."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    for i in range(xs.size):
        dxs[i] = logistic_sigmoid(xs[i]) * dys[i]


@wide_kernel
def silu(x, y):
    """y = x * sigmoid(x)."""
    xs, ys = flat(x), flat(y)
    for i in range(xs.size):
        ys[i] = xs[i] * logistic_sigmoid(xs[i])


@wide_kernel
def silu_backward(x, dy, dx):
    """dx = s * (1 + x * (1 - s)) * dy with s = sigmoid(x)."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    one = x.dtype.type(1)
    for i in range(xs.size):
        s = logistic_sigmoid(xs[i])
        dxs[i] = s * (one + xs[i] * (one - s)) * dys[i]


@helper
def _gelu(xs, ys):
    for i in range(xs.size):
        below, _ = normal_cdf_and_density(xs[i])
        ys[i] = xs[i] * below


@wide_kernel
def gelu(x, y):
    """y = x * Phi(x), Phi the standard normal distribution function."""
    _gelu(flat(x), flat(y))


@wide_parallel_kernel
def gelu_parallel(x, y):
    """``gelu`` on all threads."""
    xs, ys = flat(x), flat(y)
    for chunk in prange(chunks(x.size)):
        at, end = bounds(chunk, x.size)
        _gelu(xs[at:end], ys[at:end])


@helper
def _gelu_backward(xs, dys, dxs):
    for i in range(xs.size):
        below, density = normal_cdf_and_density(xs[i])
        dxs[i] = (below + xs[i] * density) * dys[i]


@wide_kernel
def gelu_backward(x, dy, dx):
    """dx = (Phi(x) + x * phi(x)) * dy, phi the standard normal density."""
    _gelu_backward(flat(x), flat(dy), flat(dx))


@wide_parallel_kernel
def gelu_backward_parallel(x, dy, dx):
    """``gelu_backward`` on all threads."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    for chunk in prange(chunks(x.size)):
        at, end = bounds(chunk, x.size)
        _gelu_backward(xs[at:end], dys[at:end], dxs[at:end])


@wide_kernel
def gelu_tanh(x, y):
    """y = x * (1 + tanh(c * (x + 0.044715 x^3))) / 2 with c = sqrt(2 / pi).

    (1 + tanh z) / 2 is the sigmoid of 2z, which keeps the left tail's digits.
    """
    xs, ys = flat(x), flat(y)
    one, twice_c, cubic = x.dtype.type(1), x.dtype.type(1.5957691216057308), x.dtype.type(0.044715)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = v * logistic_sigmoid(twice_c * v * (one + cubic * v * v))


@wide_kernel
def gelu_tanh_backward(x, dy, dx):
    """dx = (s + x s (1 - s) * 2c (1 + 3 * 0.044715 x^2)) * dy with s the sigmoid above."""
    xs, dys, dxs = flat(x), flat(dy), flat(dx)
    one, three = x.dtype.type(1), x.dtype.type(3)
    twice_c, cubic = x.dtype.type(1.5957691216057308), x.dtype.type(0.044715)
    # Beyond 30 the sigmoid is 0 or 1 to the last bit; the bound keeps 0 * infinity out of its derivative.
    bound = x.dtype.type(30)
    for i in range(xs.size):
        v = min(max(xs[i], -bound), bound)
        s = logistic_sigmoid(twice_c * v * (one + cubic * v * v))
        dxs[i] = s * (one + v * (one - s) * twice_c * (one + three * cubic * v * v)) * dys[i]


@kernel
def maxout(x, y):
    """y[r, u] = max over p of x[r, u * pieces + p], with pieces = x.size / y.size; a NaN wins."""
    ys = flat(y)
    pieces = x.size // ys.size
    xs = x.reshape((ys.size, pieces))
    for i in range(ys.size):
        best = xs[i, 0]
        for p in range(1, pieces):
            v = xs[i, p]
            best = v if v > best or v != v else best
        ys[i] = best


@kernel
def maxout_backward(x, y, dy, dx):
    """The gradient goes to the first piece that reached the maximum, the others get 0."""
    ys, dys = flat(y), flat(dy)
    pieces = x.size // ys.size
    xs, dxs = x.reshape((ys.size, pieces)), dx.reshape((ys.size, pieces))
    zero = x.dtype.type(0)
    for i in range(ys.size):
        taken = False
        for p in range(pieces):
            wins = not taken and xs[i, p] == ys[i]
            dxs[i, p] = dys[i] if wins else zero
            taken = taken or wins
