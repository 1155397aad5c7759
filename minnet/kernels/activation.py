"""Activation functions, element by element, and their backward passes.

``x`` is the input, ``y`` the output, ``dy`` the gradient that comes in and ``dx`` the one that goes out: C-contiguous
arrays of one shape and dtype. Forward comparisons are written so that a NaN passes through instead of becoming 0.
"""

import math

from numba import prange

from .compile import helper, kernel, parallel_kernel

_CHUNK = 16384  # elements that a thread takes at a time
_SERIAL = 65536  # up to so many, waking a second thread costs more than it brings


@kernel
def leaky_relu(x, slope, y):
    """y = x where x > 0, slope * x elsewhere; slope 0 gives ReLU."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = slope * v if v <= zero else v


@kernel
def leaky_relu_backward(x, slope, dy, dx):
    """dx = dy where x > 0, slope * dy elsewhere."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        g = dys[i]
        dxs[i] = g if xs[i] > zero else slope * g


@kernel
def relu(x, y):
    """y = max(x, 0)."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = zero if v <= zero else v


@kernel
def relu_backward(x, dy, dx):
    """dx = dy where x > 0, 0 elsewhere."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        dxs[i] = dys[i] if xs[i] > zero else zero


@helper
def _relu_mask(y, dy):
    zero = y.dtype.type(0)
    for i in range(y.size):
        dy[i] = dy[i] if y[i] > zero else zero


@parallel_kernel
def relu_mask(y, dy):
    """dy = 0 where y, the ReLU's output, is not above 0, in place."""
    ys, dys = y.reshape(-1), dy.reshape(-1)
    if ys.size <= _SERIAL:
        _relu_mask(ys, dys)
    else:
        for chunk in prange((ys.size + _CHUNK - 1) // _CHUNK):
            start, stop = chunk * _CHUNK, min(ys.size, (chunk + 1) * _CHUNK)
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
def prelu_backward_slope(x, dy, da):
    """da[c] = sum over r of dy[r, c] * min(x[r, c], 0)."""
    channels = da.size
    xs = x.reshape((x.size // channels, channels))
    dys = dy.reshape((x.size // channels, channels))
    zero = x.dtype.type(0)
    da[:] = zero
    for r in range(xs.shape[0]):
        for c in range(channels):
            v = xs[r, c]
            da[c] += dys[r, c] * (v if v <= zero else zero)


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


@kernel
def elu(x, alpha, scale, y):
    """y = scale * x where x > 0, scale * alpha * (exp(x) - 1) elsewhere."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = scale * alpha * math.expm1(v) if v <= zero else scale * v


@kernel
def elu_backward(x, y, alpha, scale, dy, dx):
    """dx = scale * dy where x > 0, (y + scale * alpha) * dy elsewhere."""
    xs, ys, dys, dxs = x.reshape(-1), y.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        slope = scale if xs[i] > zero else ys[i] + scale * alpha
        dxs[i] = slope * dys[i]


@helper
def _sigmoid(v):
    """1 / (1 + exp(-v)); the exponent is never positive, so nothing overflows."""
    one = type(v)(1)
    e = math.exp(-abs(v))
    return one / (one + e) if v > type(v)(0) else e / (one + e)


@kernel
def sigmoid(x, y):
    """y = 1 / (1 + exp(-x))."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    for i in range(xs.size):
        ys[i] = _sigmoid(xs[i])


@kernel
def sigmoid_backward(y, dy, dx):
    """dx = y * (1 - y) * dy."""
    ys, dys, dxs = y.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    one = y.dtype.type(1)
    for i in range(ys.size):
        dxs[i] = ys[i] * (one - ys[i]) * dys[i]


@kernel
def tanh_backward(y, dy, dx):
    """dx = (1 - y^2) * dy."""
    ys, dys, dxs = y.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    one = y.dtype.type(1)
    for i in range(ys.size):
        dxs[i] = (one - ys[i] * ys[i]) * dys[i]


@kernel
def softplus(x, y):
    """y = log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    zero = x.dtype.type(0)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = (zero if v <= zero else v) + math.log1p(math.exp(-abs(v)))


@kernel
def softplus_backward(x, dy, dx):
    """dx = sigmoid(x) * dy."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    for i in range(xs.size):
        dxs[i] = _sigmoid(xs[i]) * dys[i]


@kernel
def silu(x, y):
    """y = x * sigmoid(x)."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    for i in range(xs.size):
        ys[i] = xs[i] * _sigmoid(xs[i])


@kernel
def silu_backward(x, dy, dx):
    """dx = s * (1 + x * (1 - s)) * dy with s = sigmoid(x)."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    one = x.dtype.type(1)
    for i in range(xs.size):
        s = _sigmoid(xs[i])
        dxs[i] = s * (one + xs[i] * (one - s)) * dys[i]


@kernel
def gelu(x, y):
    """y = x * Phi(x), Phi the standard normal distribution function, as erfc so that the left tail keeps its digits."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    half, root_half = x.dtype.type(0.5), x.dtype.type(0.7071067811865476)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = v * half * x.dtype.type(math.erfc(-v * root_half))


@kernel
def gelu_backward(x, dy, dx):
    """dx = (Phi(x) + x * phi(x)) * dy, phi the standard normal density."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    half, root_half = x.dtype.type(0.5), x.dtype.type(0.7071067811865476)
    root_tau = x.dtype.type(0.3989422804014327)  # 1 / sqrt(2 pi)
    for i in range(xs.size):
        v = xs[i]
        below = half * x.dtype.type(math.erfc(-v * root_half))
        density = root_tau * math.exp(-half * v * v)
        dxs[i] = (below + v * density) * dys[i]


@kernel
def gelu_tanh(x, y):
    """y = x * (1 + tanh(c * (x + 0.044715 x^3))) / 2 with c = sqrt(2 / pi)."""
    xs, ys = x.reshape(-1), y.reshape(-1)
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    c, cubic = x.dtype.type(0.7978845608028654), x.dtype.type(0.044715)
    for i in range(xs.size):
        v = xs[i]
        ys[i] = half * v * (one + math.tanh(c * v * (one + cubic * v * v)))


@kernel
def gelu_tanh_backward(x, dy, dx):
    """dx = ((1 + t) / 2 + x (1 - t^2) / 2 * c (1 + 3 * 0.044715 x^2)) * dy with t the tanh above."""
    xs, dys, dxs = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    half, one, three = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(3)
    c, cubic = x.dtype.type(0.7978845608028654), x.dtype.type(0.044715)
    # Beyond 30 the tanh is 1 to the last bit; the bound keeps 0 * infinity out of its derivative.
    bound = x.dtype.type(30)
    for i in range(xs.size):
        v = min(max(xs[i], -bound), bound)
        t = math.tanh(c * v * (one + cubic * v * v))
        inner = c * (one + three * cubic * v * v)
        dxs[i] = half * (one + t + v * (one - t * t) * inner) * dys[i]


@kernel
def maxout(x, y):
    """y[r, u] = max over p of x[r, u * pieces + p], with pieces = x.size / y.size; a NaN wins."""
    ys = y.reshape(-1)
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
    ys, dys = y.reshape(-1), dy.reshape(-1)
    pieces = x.size // ys.size
    xs, dxs = x.reshape((ys.size, pieces)), dx.reshape((ys.size, pieces))
    zero = x.dtype.type(0)
    for i in range(ys.size):
        taken = False
        for p in range(pieces):
            wins = not taken and xs[i, p] == ys[i]
            dxs[i, p] = dys[i] if wins else zero
            taken = taken or wins
