"""Kernels of normalisations against naive twins, serial and in parts."""

import math

import numpy as np
import pytest
from twins import FLAT, Table, check_twin, empty

from minnet.kernels.passes import (
    batch_norm,
    group_norm,
    layer_norm,
)
from minnet.kernels.passes.channels import PARTS, SUMS, work_size

TWINS = Table()
twin_of = TWINS.twin_of


@pytest.mark.parametrize(TWINS.names, TWINS)
def test_a_kernel_equals_its_naive_twin(name, twin, make, shape, terms, dtype):
    check_twin(name, twin, make, shape, terms, dtype)


def moments(values, eps=0.0):
    """Mean, (biased) variance and 1 / sqrt(variance + eps) of one row or column."""
    mean = math.fsum(values) / len(values)
    var = math.fsum((v - mean) ** 2 for v in values) / len(values)
    return mean, var, 1 / math.sqrt(var + eps) if var + eps > 0 else math.inf


def as_rounded(mean, axis):
    """A mean as kernels take it: rounded, and what that lost, which is added here as much as taken away."""
    return np.stack([mean + 0.125, np.full_like(mean, -0.125)], axis=axis)


# (rows, channels): (rows side by side, parts). One element; odd; parts that do not divide the rows; blocks of 32 wide
# rows and a remainder in each part, with sums by lane that are to be folded.
CUTS = {(1, 1): (1, 1), (3, 5): (1, 1), (10, 17): (1, 3), (131, 9): (1, 4), (264, 3): (8, 5), (1072, 2): (16, 2)}


def wide(x, shape):
    """Rows laid side by side as the kernels take them."""
    return x.reshape(-1, CUTS[shape][0] * shape[-1])


def norm_scratch(channels):
    return np.zeros((PARTS, SUMS, channels)), np.zeros((64, work_size(channels)))


def both(module, name, make, shapes, sums=False):
    """Register a twin for a kernel and its parallel form, which are to do the same."""

    def register(twin):
        for kernel in (getattr(module, name), getattr(module, f"{name}_parallel")):
            twin_of(kernel, make, shapes, sums)(twin)
        return twin

    return register


def make_moments(rng, shape):
    x = 3 + rng.standard_normal(shape)
    return [wide(x, shape), CUTS[shape][1], empty((2, shape[1])), empty(shape[1]), *norm_scratch(shape[1])]


@both(batch_norm, "batch_moments", make_moments, CUTS, sums=True)
def batch_moments(x, parts, mean, var, partial, work):
    x = x.reshape(-1, var.size)
    for c in range(var.size):
        (mean[0, c], var[c], _), mean[1, c] = moments(x[:, c]), 0


@twin_of(batch_norm.running_average, lambda rng, s: [rng.standard_normal(s), 0.9, rng.standard_normal(s)], FLAT)
def running_average(running, momentum, value):
    for c in range(running.size):
        running[c] = momentum * running[c] + (1 - momentum) * value[c]


def make_batch_norm(rng, shape):
    c = shape[1]
    mean, gamma, beta = rng.standard_normal((3, c))
    x, y = wide(rng.standard_normal(shape), shape), wide(empty(shape), shape)
    numbers = as_rounded(mean, 0), rng.uniform(0.5, 2, c), 1e-3, gamma, beta
    return [x, CUTS[shape][1], *numbers, empty(c), -0.5, y, norm_scratch(c)[1]]


@both(batch_norm, "batch_norm", make_batch_norm, CUTS)
def normalise_batch(x, parts, mean, var, eps, gamma, beta, inv_std, floor, y, work):
    x, y, mean = x.reshape(-1, var.size), y.reshape(-1, var.size), mean.sum(0)
    for r, c in np.ndindex(x.shape):
        inv_std[c] = 1 / math.sqrt(var[c] + eps)
        y[r, c] = max(floor, gamma[c] * (x[r, c] - mean[c]) / math.sqrt(var[c] + eps) + beta[c])


def make_batch_norm_backward(training):
    def make(rng, shape):
        x, dy, dx, (rows, c) = rng.standard_normal(shape), rng.standard_normal(shape), empty(shape), shape
        mean, inv_std = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + 1e-3)
        share = 1 / rows if training else 0.0
        state = [
            as_rounded(mean, 0),
            inv_std,
            rng.standard_normal(c),
            share,
            wide(dy, shape),
            empty(c),
            empty(c),
            wide(dx, shape),
        ]
        return [wide(x, shape), CUTS[shape][1], *state, *norm_scratch(c)]

    return make


@both(batch_norm, "batch_norm_backward", make_batch_norm_backward(training=False), CUTS, sums=True)
@both(batch_norm, "batch_norm_backward", make_batch_norm_backward(training=True), CUTS, sums=True)
def batch_norm_backward(x, parts, mean, inv_std, gamma, share, dy, dgamma, dbeta, dx, partial, work):
    # Through the chain of Ioffe and Szegedy's section 3: d xhat, d var, d mean, dx, column by column. Mean and variance
    # depend on each x by a share of 1 / rows, or do not.
    x, dy, dx, mean = *(array.reshape(-1, inv_std.size) for array in (x, dy, dx)), mean.sum(0)
    for c in range(mean.size):
        column, d_xhat = x[:, c] - mean[c], dy[:, c] * gamma[c]
        d_var = math.fsum(d * v for d, v in zip(d_xhat, column, strict=True)) * -0.5 * inv_std[c] ** 3
        d_mean = -inv_std[c] * math.fsum(d_xhat) - d_var * 2 * math.fsum(column) * share
        for r in range(len(x)):
            dx[r, c] = d_xhat[r] * inv_std[c] + d_var * 2 * column[r] * share + d_mean * share
        dgamma[c] = math.fsum(dy[:, c] * column * inv_std[c])
        dbeta[c] = math.fsum(dy[:, c])


def make_layer_norm(rng, shape):
    n, c = shape
    gamma, beta = rng.standard_normal((2, c))
    return [rng.standard_normal(shape), CUTS[shape][1], 1e-3, gamma, beta, *map(empty, ((n, 2), n, shape))]


@both(layer_norm, "layer_norm", make_layer_norm, CUTS, sums=True)
def normalise_rows(x, parts, eps, gamma, beta, mean, inv_std, y):
    for r, c in np.ndindex(x.shape):
        (mean[r, 0], _, inv_std[r]), mean[r, 1] = moments(x[r], eps), 0
        y[r, c] = gamma[c] * (x[r, c] - mean[r, 0]) * inv_std[r] + beta[c]


def make_layer_norm_backward(rng, shape):
    x, dy, c = rng.standard_normal(shape), rng.standard_normal(shape), shape[1]
    mean, inv_std, gamma = x.mean(axis=1), 1 / np.sqrt(x.var(axis=1) + 1e-3), rng.standard_normal(c)
    outputs = [empty(c), empty(c), empty(shape), norm_scratch(c)[0]]
    return [x, CUTS[shape][1], as_rounded(mean, 1), inv_std, gamma, dy, *outputs]


@both(layer_norm, "layer_norm_backward", make_layer_norm_backward, CUTS, sums=True)
def layer_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial):
    mean = mean.sum(1)
    for r in range(len(x)):
        dx[r] = gradient_of_normalised(x[r], mean[r], inv_std[r], dy[r] * gamma)
    for c in range(gamma.size):
        dgamma[c] = math.fsum(dy[r, c] * (x[r, c] - mean[r]) * inv_std[r] for r in range(len(x)))
        dbeta[c] = math.fsum(dy[:, c])


def gradient_of_normalised(values, mean, inv_std, d_xhat):
    """Through the same chain as batch norm's: of any set of numbers brought to mean 0 and variance 1 together."""
    centred = values - mean
    d_var = math.fsum((d_xhat * centred).reshape(-1)) * -0.5 * inv_std**3
    d_mean = -inv_std * math.fsum(d_xhat.reshape(-1)) - d_var * 2 * math.fsum(centred.reshape(-1)) / values.size
    return d_xhat * inv_std + d_var * 2 * centred / values.size + d_mean / values.size


# (n, positions, channels): (groups, positions side by side, parts).
GROUPED = {
    (1, 1, 1): (1, 1, 1),
    (3, 1, 17): (17, 1, 2),
    (2, 5, 17): (1, 1, 1),
    (5, 48, 6): (3, 4, 2),
    (2, 272, 4): (2, 4, 2),
}


def wide_samples(x):
    return x.reshape(len(x), -1, GROUPED[x.shape][1] * x.shape[2])


def by_group(x, groups, channels):
    """A view (n, positions, groups, channels of a group)."""
    return x.reshape(len(x), -1, groups, channels // groups)


def make_group_norm(rng, shape):
    (n, _, c), (groups, _, parts) = shape, GROUPED[shape]
    x, y, (gamma, beta) = 2 + rng.standard_normal(shape), empty(shape), rng.standard_normal((2, c))
    statistics = [empty((n, groups, 2)), empty((n, groups))]
    return [wide_samples(x), parts, 1e-3, gamma, beta, *statistics, -0.5, wide_samples(y), norm_scratch(c)[1]]


@both(group_norm, "group_norm", make_group_norm, GROUPED, sums=True)
def normalise_groups(x, parts, eps, gamma, beta, mean, inv_std, floor, y, work):
    n, groups = inv_std.shape
    x, y = by_group(x, groups, gamma.size), by_group(y, groups, gamma.size)
    for i, g in np.ndindex(n, groups):
        (mean[i, g, 0], _, inv_std[i, g]), mean[i, g, 1] = moments(x[i, :, g].reshape(-1), eps), 0
        gain, shift = gamma.reshape(groups, -1)[g], beta.reshape(groups, -1)[g]
        y[i, :, g] = np.maximum(gain * (x[i, :, g] - mean[i, g, 0]) * inv_std[i, g] + shift, floor)


def make_group_norm_backward(rng, shape):
    c, (groups, _, parts) = shape[2], GROUPED[shape]
    x, dy, dx = rng.standard_normal(shape), rng.standard_normal(shape), empty(shape)
    values = by_group(x, groups, c)
    mean, inv_std = values.mean(axis=(1, 3)), 1 / np.sqrt(values.var(axis=(1, 3)) + 1e-3)
    outputs = [empty(c), empty(c), wide_samples(dx), *norm_scratch(c)]
    return [wide_samples(x), parts, as_rounded(mean, 2), inv_std, rng.standard_normal(c), wide_samples(dy), *outputs]


@both(group_norm, "group_norm_backward", make_group_norm_backward, GROUPED, sums=True)
def group_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial, work):
    (n, groups), mean = inv_std.shape, mean.sum(2)
    x, dy, dx = (by_group(array, groups, gamma.size) for array in (x, dy, dx))
    gain = gamma.reshape(groups, -1)
    for i, g in np.ndindex(n, groups):
        dx[i, :, g] = gradient_of_normalised(x[i, :, g], mean[i, g], inv_std[i, g], dy[i, :, g] * gain[g])
    for g, c in np.ndindex(gain.shape):
        xhat = (x[:, :, g, c] - mean[:, g, None]) * inv_std[:, g, None]
        dgamma.reshape(gain.shape)[g, c] = math.fsum((dy[:, :, g, c] * xhat).reshape(-1))
        dbeta.reshape(gain.shape)[g, c] = math.fsum(dy[:, :, g, c].reshape(-1))
