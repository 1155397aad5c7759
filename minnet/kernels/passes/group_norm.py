"""Normalisation of each sample over its positions and a group of its channels.

Arrays are C-contiguous: x, y, dy, dx of shape (n, wide rows, width), see ``channels``, gamma and beta (C,), mean
(n, groups, 2), inv_std (n, groups). A sample is small enough to stay in the cache, so all that is done to it is done at
once. ``work`` (threads, work_size(C)) is scratch. Each parallel kernel has a serial twin of the same tasks, for small
arrays.
"""

import math

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, kernel, parallel_kernel
from ..vector.sums import DEPTH, add_block, finish, start, two_sum
from .channels import add_parts, gradient_sums, input_gradient, moments, normalise, spread


@helper
def _prepare(positions, width, shift, means, squares, eps, gamma, beta, mean, inv_std, lanes):
    """Mean and inv_std of each group from its channels' moments, and what ``normalise`` takes by lane."""
    channels, one = gamma.size, gamma.dtype.type(1)
    each = channels // inv_std.size
    share, count = one / gamma.dtype.type(each), gamma.dtype.type(positions)
    for g in range(inv_std.size):
        total, total_squares = gamma.dtype.type(0), gamma.dtype.type(0)
        for c in range(g * each, (g + 1) * each):
            total += means[c]
        centre = share * total
        for c in range(g * each, (g + 1) * each):
            total_squares += squares[c] + count * (means[c] - centre) * (means[c] - centre)
        mean[g, 0], mean[g, 1] = two_sum(shift[g * each], centre)
        inv_std[g] = one / math.sqrt(total_squares * share / count + eps)
        for c in range(g * each, (g + 1) * each):
            scale = gamma[c] * inv_std[g]
            lanes[c], lanes[width + c], lanes[2 * width + c] = mean[g, 0], scale, beta[c] - scale * mean[g, 1]
    spread(channels, width, 0, 3, lanes)


@helper
def _normalise_samples(x, part, parts, eps, gamma, beta, mean, inv_std, floor, y, work):
    samples, rows, width = x.shape
    channels = gamma.size
    each, shift, means, squares = channels // mean.shape[1], work[5 * width :], work[6 * width :], work[7 * width :]
    for i in range(samples * part // parts, samples * (part + 1) // parts):
        for g in range(mean.shape[1]):
            for c in range(g * each, (g + 1) * each):
                shift[c] = x[i, 0, g * each]  # one for the whole group, so that its channels' means compare
        moments(x[i], 0, 1, shift, means[:channels], squares[:channels], work)
        _prepare(rows * width // channels, width, shift, means, squares, eps, gamma, beta, mean[i], inv_std[i], work)
        normalise(x[i], 0, 1, work, floor, y[i])


@kernel
def group_norm(x, parts, eps, gamma, beta, mean, inv_std, floor, y, work):
    """y = max(gamma * (x - mean) * inv_std + beta, floor), mean and inv_std = 1 / sqrt(variance + eps) by group."""
    for part in range(parts):
        _normalise_samples(x, part, parts, eps, gamma, beta, mean, inv_std, floor, y, work[0])


@parallel_kernel
def group_norm_parallel(x, parts, eps, gamma, beta, mean, inv_std, floor, y, work):
    """``group_norm`` on several threads."""
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        _normalise_samples(x, part, parts, eps, gamma, beta, mean, inv_std, floor, y, work[get_thread_id()])


@helper
def _prepare_backward(positions, width, mean, inv_std, gamma, products, sums, dgamma, dbeta, lanes):
    """Add a sample's sums to dgamma and dbeta, and find what ``input_gradient`` takes by lane beside the mean."""
    channels, zero = gamma.size, gamma.dtype.type(0)
    each = channels // inv_std.size
    share = gamma.dtype.type(1) / gamma.dtype.type(positions * each)
    for g in range(inv_std.size):
        inv, rest, total, projected = inv_std[g], mean[g, 1], zero, zero
        for c in range(g * each, (g + 1) * each):
            product = (products[c] - rest * sums[c]) * inv
            dgamma[c] += product
            dbeta[c] += sums[c]
            total += gamma[c] * sums[c]
            projected += gamma[c] * product
        slope = -inv * inv * (share * projected)
        for c in range(g * each, (g + 1) * each):
            lanes[width + c], lanes[2 * width + c] = gamma[c] * inv, slope
            lanes[3 * width + c] = -inv * (share * total) - slope * rest
    spread(channels, width, 1, 4, lanes)


@helper
def _gradients_of_samples(x, part, parts, mean, inv_std, gamma, dy, dx, partial, work):
    """Sums for gamma and beta over a part of the samples go to partial[0] and partial[1]."""
    samples, rows, width = x.shape
    channels = gamma.size
    each, products, sums = channels // mean.shape[1], work[width : width + channels], work[2 * width :][:channels]
    totals, rests, block = partial[:2].reshape(-1), partial[2:4].reshape(-1), partial[4:6].reshape(-1)
    first, last = samples * part // parts, samples * (part + 1) // parts
    start(totals, rests)
    for begin in range(first, last, DEPTH):
        for c in range(block.size):
            block[c] = block.dtype.type(0)
        for i in range(begin, min(begin + DEPTH, last)):
            for g in range(mean.shape[1]):
                for c in range(g * each, (g + 1) * each):
                    work[c] = mean[i, g, 0]
            spread(channels, width, 0, 1, work)
            gradient_sums(x[i], dy[i], 0, 1, work, products, sums, work[4 * width :])
            positions, dgamma, dbeta = rows * width // channels, partial[4], partial[5]
            _prepare_backward(positions, width, mean[i], inv_std[i], gamma, products, sums, dgamma, dbeta, work)
            if dx.size > 0:
                input_gradient(x[i], dy[i], 0, 1, work, dx[i])
        add_block(totals, rests, block)
    finish(totals, rests)


@kernel
def group_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial, work):
    """dgamma = sum of dy * xhat and dbeta = sum of dy by channel, with xhat = (x - mean) * inv_std; unless dx is empty,
    dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)) with g = gamma * dy and means over the group.

    partial (PARTS, SUMS, C) is scratch.
    """
    for part in range(parts):
        _gradients_of_samples(x, part, parts, mean, inv_std, gamma, dy, dx, partial[part], work[0])
    add_parts(parts, partial, dgamma, dbeta)


@parallel_kernel
def group_norm_backward_parallel(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial, work):
    """``group_norm_backward`` on several threads."""
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        _gradients_of_samples(x, part, parts, mean, inv_std, gamma, dy, dx, partial[part], work[get_thread_id()])
    add_parts(parts, partial, dgamma, dbeta)
