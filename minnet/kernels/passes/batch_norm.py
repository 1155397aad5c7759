"""Normalisation of each channel over the batch.

Arrays are C-contiguous. x, y, dy and dx have shape (wide rows, width), mean has (2, C), see ``channels``, and all
others (C,). ``partial`` (PARTS, SUMS, C) and ``work`` (threads, work_size(C)) are scratch memory; that of the first
thread has what all threads read by lane. Each parallel kernel has a serial twin with the same tasks, for small arrays.
"""

import math

import numpy as np
from numba import get_thread_id, prange

from ..compile import helper, kernel, parallel_kernel
from ..vector.sums import two_sum
from .channels import add_parts, gradient_sums, input_gradient, merge_moments, moments, normalise, spread


@helper
def _merge_parts(x, parts, partial, mean, var):
    beside = x.shape[1] // var.size
    for part in range(parts):
        before, after = beside * (len(x) * part // parts), beside * (len(x) * (part + 1) // parts)
        merge_moments(before, mean[0], var, after - before, partial[part, 0], partial[part, 1])
    scale = x.dtype.type(var.size / x.size)
    for c in range(var.size):
        mean[0, c], mean[1, c] = two_sum(x[0, c], mean[0, c])
        var[c] *= scale


@kernel
def batch_moments(x, parts, mean, var, partial, work):
    """Compute mean and (biased) variance of each channel over all rows."""
    for part in range(parts):
        moments(x, part, parts, x[0], partial[part, 0], partial[part, 1], work[0])
    _merge_parts(x, parts, partial, mean, var)


@parallel_kernel
def batch_moments_parallel(x, parts, mean, var, partial, work):
    """``batch_moments`` on several threads."""
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        moments(x, part, parts, x[0], partial[part, 0], partial[part, 1], work[get_thread_id()])
    _merge_parts(x, parts, partial, mean, var)


@kernel
def running_average(running, momentum, value):
    """running = momentum * running + (1 - momentum) * value."""
    rest = running.dtype.type(1) - momentum
    for c in range(running.size):
        running[c] = momentum * running[c] + rest * value[c]


@helper
def _prepare(width, mean, var, eps, gamma, beta, inv_std, lanes):
    """Compute inv_std, and the rows by lane that ``normalise`` reads."""
    for c in range(var.size):
        inv_std[c] = var.dtype.type(1) / math.sqrt(var[c] + eps)
        scale = gamma[c] * inv_std[c]
        lanes[c], lanes[width + c], lanes[2 * width + c] = mean[0, c], scale, beta[c] - scale * mean[1, c]
    spread(var.size, width, 0, 3, lanes)


@kernel
def batch_norm(x, parts, mean, var, eps, gamma, beta, inv_std, floor, y, work):
    """inv_std = 1 / sqrt(var + eps); y = max(gamma * (x - mean) * inv_std + beta, floor)."""
    _prepare(x.shape[1], mean, var, eps, gamma, beta, inv_std, work[0])
    for part in range(parts):
        normalise(x, part, parts, work[0], floor, y)


@parallel_kernel
def batch_norm_parallel(x, parts, mean, var, eps, gamma, beta, inv_std, floor, y, work):
    """``batch_norm`` on several threads."""
    _prepare(x.shape[1], mean, var, eps, gamma, beta, inv_std, work[0])
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        normalise(x, part, parts, work[0], floor, y)


@helper
def _centre(width, mean, lanes):
    """Compute the wide row that ``gradient_sums`` reads."""
    for c in range(mean.shape[1]):
        lanes[c] = mean[0, c]
    spread(mean.shape[1], width, 0, 1, lanes)


@helper
def _prepare_backward(width, mean, inv_std, gamma, share, dgamma, dbeta, lanes):
    """Compute dgamma, which has the sum of dy * (x - mean[0]), and the rows by lane that ``input_gradient`` reads."""
    for c in range(dgamma.size):
        dgamma[c] = (dgamma[c] - mean[1, c] * dbeta[c]) * inv_std[c]
        gain = gamma[c] * inv_std[c]
        slope = -gain * inv_std[c] * (share * dgamma[c])
        lanes[width + c], lanes[2 * width + c] = gain, slope
        lanes[3 * width + c] = -gain * (share * dbeta[c]) - slope * mean[1, c]
    spread(dgamma.size, width, 1, 4, lanes)


@kernel
def batch_norm_backward(x, parts, mean, inv_std, gamma, share, dy, dgamma, dbeta, dx, partial, work):
    """dgamma = sum of dy * xhat and dbeta = sum of dy over the rows, with xhat = (x - mean) * inv_std; unless dx is
    empty, dx = gamma * inv_std * (dy - share * (dbeta + xhat * dgamma)).

    share is 1 / rows where mean and variance are those of x, and 0 where they are given, which is a fixed affine map.
    """
    width = x.shape[1]
    _centre(width, mean, work[0])
    for part in range(parts):
        gradient_sums(x, dy, part, parts, work[0], partial[part, 0], partial[part, 1], work[0, 4 * width :])
    add_parts(parts, partial, dgamma, dbeta)
    _prepare_backward(width, mean, inv_std, gamma, share, dgamma, dbeta, work[0])
    for part in range(parts):
        input_gradient(x, dy, part, parts, work[0], dx)


@parallel_kernel
def batch_norm_backward_parallel(x, parts, mean, inv_std, gamma, share, dy, dgamma, dbeta, dx, partial, work):
    """``batch_norm_backward`` on several threads."""
    width = x.shape[1]
    _centre(width, mean, work[0])
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        own = work[get_thread_id(), 4 * width :]
        gradient_sums(x, dy, part, parts, work[0], partial[part, 0], partial[part, 1], own)
    add_parts(parts, partial, dgamma, dbeta)
    _prepare_backward(width, mean, inv_std, gamma, share, dgamma, dbeta, work[0])
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        input_gradient(x, dy, part, parts, work[0], dx)
