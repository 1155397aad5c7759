"""Normalisation over the batch (each feature of the last axis) and over the features (each sample).

Arrays are C-contiguous with the features last: x, y, dy, dx of shape (..., C), all else of shape (C,) or, for
layer norm's statistics, one value a row. Sums over many rows are taken in blocks of rows whose sums are added,
so that float32 stays accurate for the hundred thousand rows of an image batch.
"""

import math

from .compile import helper, kernel

_BLOCK = 64


@helper
def _block_sums(x, start, stop, partial):
    partial[:] = x.dtype.type(0)
    for r in range(start, stop):
        for c in range(partial.size):
            partial[c] += x[r, c]


@helper
def _block_squares(x, mean, start, stop, partial):
    partial[:] = x.dtype.type(0)
    for r in range(start, stop):
        for c in range(partial.size):
            d = x[r, c] - mean[c]
            partial[c] += d * d


@kernel
def batch_moments(x, mean, var, partial):
    """Mean and (biased) variance of each feature over all rows; partial is scratch of shape (C,)."""
    channels = mean.size
    rows = x.size // channels
    xs = x.reshape((rows, channels))
    scale = x.dtype.type(1) / x.dtype.type(rows)
    mean[:] = x.dtype.type(0)
    for start in range(0, rows, _BLOCK):
        _block_sums(xs, start, min(start + _BLOCK, rows), partial)
        for c in range(channels):
            mean[c] += partial[c]
    for c in range(channels):
        mean[c] *= scale
    var[:] = x.dtype.type(0)
    for start in range(0, rows, _BLOCK):
        _block_squares(xs, mean, start, min(start + _BLOCK, rows), partial)
        for c in range(channels):
            var[c] += partial[c]
    for c in range(channels):
        var[c] *= scale


@kernel
def running_average(running, momentum, value):
    """running = momentum * running + (1 - momentum) * value."""
    rest = running.dtype.type(1) - momentum
    for c in range(running.size):
        running[c] = momentum * running[c] + rest * value[c]


@kernel
def batch_norm(x, mean, var, eps, gamma, beta, inv_std, y):
    """inv_std = 1 / sqrt(var + eps); y = gamma * (x - mean) * inv_std + beta."""
    channels = mean.size
    xs, ys = x.reshape((x.size // channels, channels)), y.reshape((x.size // channels, channels))
    one = x.dtype.type(1)
    for c in range(channels):
        inv_std[c] = one / math.sqrt(var[c] + eps)
    for r in range(xs.shape[0]):
        for c in range(channels):
            ys[r, c] = gamma[c] * ((xs[r, c] - mean[c]) * inv_std[c]) + beta[c]


@helper
def _block_backward_sums(x, dy, mean, inv_std, start, stop, partial_gain, partial):
    partial_gain[:] = x.dtype.type(0)
    partial[:] = x.dtype.type(0)
    for r in range(start, stop):
        for c in range(partial.size):
            partial_gain[c] += dy[r, c] * ((x[r, c] - mean[c]) * inv_std[c])
            partial[c] += dy[r, c]


@kernel
def batch_norm_backward_params(x, mean, inv_std, dy, dgamma, dbeta, partial_gain, partial):
    """dgamma = sum of dy * xhat, dbeta = sum of dy over the rows; the partials are scratch of shape (C,)."""
    channels = mean.size
    rows = x.size // channels
    xs, dys = x.reshape((rows, channels)), dy.reshape((rows, channels))
    dgamma[:] = x.dtype.type(0)
    dbeta[:] = x.dtype.type(0)
    for start in range(0, rows, _BLOCK):
        _block_backward_sums(xs, dys, mean, inv_std, start, min(start + _BLOCK, rows), partial_gain, partial)
        for c in range(channels):
            dgamma[c] += partial_gain[c]
            dbeta[c] += partial[c]


@kernel
def batch_norm_backward_input(x, mean, inv_std, gamma, dgamma, dbeta, dy, dx):
    """dx = gamma * inv_std * (dy - mean(dy) - xhat * mean(dy * xhat)): mean and variance depend on x too."""
    channels = mean.size
    rows = x.size // channels
    xs, dys, dxs = x.reshape((rows, channels)), dy.reshape((rows, channels)), dx.reshape((rows, channels))
    scale = x.dtype.type(1) / x.dtype.type(rows)
    for r in range(rows):
        for c in range(channels):
            xhat = (xs[r, c] - mean[c]) * inv_std[c]
            dxs[r, c] = gamma[c] * inv_std[c] * (dys[r, c] - scale * (dbeta[c] + xhat * dgamma[c]))


@kernel
def batch_norm_backward_fixed(inv_std, gamma, dy, dx):
    """dx = gamma * inv_std * dy: with running statistics the normalisation is a fixed affine map."""
    channels = gamma.size
    dys, dxs = dy.reshape((dy.size // channels, channels)), dx.reshape((dy.size // channels, channels))
    for r in range(dys.shape[0]):
        for c in range(channels):
            dxs[r, c] = gamma[c] * inv_std[c] * dys[r, c]


@kernel
def layer_norm(x, eps, gamma, beta, mean, inv_std, y):
    """Each row to mean 0 and variance 1, then gain and shift by feature; mean and inv_std keep one value a row."""
    features = gamma.size
    rows = x.size // features
    xs, ys = x.reshape((rows, features)), y.reshape((rows, features))
    means, inv_stds = mean.reshape(-1), inv_std.reshape(-1)
    one, scale = x.dtype.type(1), x.dtype.type(1) / x.dtype.type(features)
    for r in range(rows):
        total = x.dtype.type(0)
        for c in range(features):
            total += xs[r, c]
        centre = total * scale
        squares = x.dtype.type(0)
        for c in range(features):
            squares += (xs[r, c] - centre) * (xs[r, c] - centre)
        inv = one / math.sqrt(squares * scale + eps)
        for c in range(features):
            ys[r, c] = gamma[c] * ((xs[r, c] - centre) * inv) + beta[c]
        means[r], inv_stds[r] = centre, inv


@kernel
def layer_norm_backward_params(x, mean, inv_std, dy, dgamma, dbeta):
    """dgamma = sum over rows of dy * xhat, dbeta = sum over rows of dy."""
    features = dgamma.size
    rows = x.size // features
    xs, dys = x.reshape((rows, features)), dy.reshape((rows, features))
    means, inv_stds = mean.reshape(-1), inv_std.reshape(-1)
    dgamma[:] = x.dtype.type(0)
    dbeta[:] = x.dtype.type(0)
    for r in range(rows):
        for c in range(features):
            dgamma[c] += dys[r, c] * ((xs[r, c] - means[r]) * inv_stds[r])
            dbeta[c] += dys[r, c]


@kernel
def layer_norm_backward_input(x, mean, inv_std, gamma, dy, dx):
    """dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)) with g = gamma * dy and means over the row."""
    features = gamma.size
    rows = x.size // features
    xs, dys, dxs = x.reshape((rows, features)), dy.reshape((rows, features)), dx.reshape((rows, features))
    means, inv_stds = mean.reshape(-1), inv_std.reshape(-1)
    scale = x.dtype.type(1) / x.dtype.type(features)
    for r in range(rows):
        total, projected = x.dtype.type(0), x.dtype.type(0)
        for c in range(features):
            g = gamma[c] * dys[r, c]
            total += g
            projected += g * ((xs[r, c] - means[r]) * inv_stds[r])
        for c in range(features):
            xhat = (xs[r, c] - means[r]) * inv_stds[r]
            dxs[r, c] = inv_stds[r] * (gamma[c] * dys[r, c] - scale * (total + xhat * projected))
