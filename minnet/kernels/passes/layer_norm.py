"""Normalisation of each row over its features.

Arrays are C-contiguous: x, y, dy, dx of shape (rows, C), gamma and beta (C,), mean and inv_std (rows,). Rows are cut
into ``parts`` (see ``channels``); each parallel kernel has a serial twin of the same tasks, for small arrays.
"""

import math

import numpy as np
from numba import prange

from ..compile import helper, kernel, parallel_kernel
from ..vector.sums import DEPTH, add_block, finish, start
from .channels import add_parts


@helper
def _normalise_rows(x, part, parts, eps, gamma, beta, mean, inv_std, y):
    one, scale = x.dtype.type(1), x.dtype.type(1) / x.dtype.type(gamma.size)
    for r in range(len(x) * part // parts, len(x) * (part + 1) // parts):
        row, out = x[r], y[r]
        total, squares = x.dtype.type(0), x.dtype.type(0)
        for c in range(row.size):
            total += row[c] - row[0]  # a mean far above the deviation then costs no digits
        centre = row[0] + total * scale
        for c in range(row.size):
            squares += (row[c] - centre) * (row[c] - centre)
        inv = one / math.sqrt(squares * scale + eps)
        for c in range(row.size):
            out[c] = gamma[c] * ((row[c] - centre) * inv) + beta[c]
        mean[r], inv_std[r] = centre, inv


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
        row, gradient, centre, inv = x[r], dy[r], mean[r], inv_std[r]
        total, projected = zero, zero
        for c in range(row.size):
            product = gradient[c] * ((row[c] - centre) * inv)
            dgamma[c] += product
            dbeta[c] += gradient[c]
            total += gamma[c] * gradient[c]
            projected += gamma[c] * product
        if dx.size > 0:
            out = dx[r]
            shift, slope = total * scale, projected * scale * inv
            for c in range(row.size):
                out[c] = inv * (gamma[c] * gradient[c] - shift - slope * (row[c] - centre))


@helper
def _gradients_of_rows(x, part, parts, mean, inv_std, gamma, dy, dx, partial):
    """Sums for gamma and beta over a part of the rows go to partial[0] and partial[1]."""
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
