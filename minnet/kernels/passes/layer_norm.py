"""Normalisation of each row over its features.

Arrays are C-contiguous. x, y, dy and dx have shape (rows, C), gamma and beta (C,), mean (rows, 2), see ``channels``,
and inv_std (rows,). Rows are divided into ``parts``. Each parallel kernel has a serial twin with the same tasks, for
small arrays.
"""

import math

import numpy as np
from numba import prange

from ..compile import fused_helper, helper, kernel, parallel_kernel
from ..vector.sums import DEPTH, add_block, difference, finish, start, two_sum
from .channels import add_parts


@fused_helper
def _scaled(x, centre, scale, lost):
    """Return (x - centre) * scale - lost. In another order, the addition to centre would lose ``lost`` again."""
    return (x - centre) * scale - lost


@helper
def _normalise_rows(x, part, parts, eps, gamma, beta, mean, inv_std, y):
    one, scale = x.dtype.type(1), x.dtype.type(1) / x.dtype.type(gamma.size)
    for r in range(len(x) * part // parts, len(x) * (part + 1) // parts):
        row, out = x[r], y[r]
        total, squares = x.dtype.type(0), x.dtype.type(0)
        for c in range(row.size):
            total += difference(row[c], row[0])  # a mean far above the deviation then costs no digits
        centre, rest = two_sum(row[0], total * scale)
        for c in range(row.size):
            squares += (row[c] - centre) * (row[c] - centre)
        inv = one / math.sqrt(squares * scale - rest * rest + eps)
        lost = rest * inv
        for c in range(row.size):
            out[c] = gamma[c] * _scaled(row[c], centre, inv, lost) + beta[c]
        mean[r, 0], mean[r, 1], inv_std[r] = centre, rest, inv


@kernel
def layer_norm(x, parts, eps, gamma, beta, mean, inv_std, y):
    """y = gamma * (x - mean) * inv_std + beta, with mean and inv_std = 1 / sqrt(variance + eps) of each row."""
    for part in range(parts):
        _normalise_rows(x, part, parts, eps, gamma, beta, mean, inv_std, y)


@parallel_kernel
def layer_norm_parallel(x, parts, eps, gamma, beta, mean, inv_std, y):
    """``layer_norm`` on several threads."""
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        _normalise_rows(x, part, parts, eps, gamma, beta, mean, inv_std, y)


@helper
def _gradients_of_some_rows(x, first, last, mean, inv_std, gamma, dy, dgamma, dbeta, dx):
    zero, scale = x.dtype.type(0), x.dtype.type(1) / x.dtype.type(gamma.size)
    for c in range(gamma.size):
        dgamma[c], dbeta[c] = zero, zero
    for r in range(first, last):
        row, gradient, centre, inv = x[r], dy[r], mean[r, 0], inv_std[r]
        total, projected, lost = zero, zero, mean[r, 1] * inv
        for c in range(row.size):
            product = gradient[c] * _scaled(row[c], centre, inv, lost)
            dgamma[c] += product
            dbeta[c] += gradient[c]
            total += gamma[c] * gradient[c]
            projected += gamma[c] * product
        if dx.size > 0:
            out = dx[r]
            slope = projected * scale * inv
            lost = slope * mean[r, 1] - total * scale
            for c in range(row.size):
                out[c] = inv * (gamma[c] * gradient[c] - _scaled(row[c], centre, slope, lost))


@helper
def _gradients_of_rows(x, part, parts, mean, inv_std, gamma, dy, dx, partial):
    """Compute the sums for gamma and beta over a part of the rows in partial[0] and partial[1]."""
    first, last = len(x) * part // parts, len(x) * (part + 1) // parts
    totals, rests, block = partial[:2].reshape(-1), partial[2:4].reshape(-1), partial[4:6].reshape(-1)
    start(totals, rests)
    for begin in range(first, last, DEPTH):
        end = min(begin + DEPTH, last)
        _gradients_of_some_rows(x, begin, end, mean, inv_std, gamma, dy, partial[4], partial[5], dx)
        add_block(totals, rests, block)
    finish(totals, rests)


@kernel
def layer_norm_backward(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial):
    """dgamma = sum over rows of dy * xhat and dbeta = sum over rows of dy, with xhat = (x - mean) * inv_std; unless dx
    is empty, dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)) with g = gamma * dy and means over the row.

    partial (PARTS, SUMS, C) is scratch.
    """
    for part in range(parts):
        _gradients_of_rows(x, part, parts, mean, inv_std, gamma, dy, dx, partial[part])
    add_parts(parts, partial, dgamma, dbeta)


@parallel_kernel
def layer_norm_backward_parallel(x, parts, mean, inv_std, gamma, dy, dgamma, dbeta, dx, partial):
    """``layer_norm_backward`` on several threads."""
    for i in prange(parts):
        part = np.intp(i)  # prange counts in uint64, for which the helpers would be compiled once more
        _gradients_of_rows(x, part, parts, mean, inv_std, gamma, dy, dx, partial[part])
    add_parts(parts, partial, dgamma, dbeta)
