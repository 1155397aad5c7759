"""Losses of the difference between scores and targets. Arguments and results are those of ``softmax``."""

from ...compile import helper, kernel
from .rows import sum_of_errors


@helper
def _squared_errors(s, t, weight, _, d):
    part, two = s.dtype.type(0), s.dtype.type(2)
    for j in range(s.size):
        gap = s[j] - t[j]
        part += gap * gap
        d[j] = two * weight * gap
    return part


@kernel
def squared_error(scores, targets, weights, dscores):
    """Sum over outputs of (s - t)^2."""
    return sum_of_errors(_squared_errors, scores, targets, weights, None, dscores)


@helper
def _absolute_errors(s, t, weight, _, d):
    zero = s.dtype.type(0)
    part = zero
    for j in range(s.size):
        gap = s[j] - t[j]
        part += abs(gap)
        d[j] = weight if gap > zero else (-weight if gap < zero else zero)
    return part


@kernel
def absolute_error(scores, targets, weights, dscores):
    """Sum over outputs of |s - t|; the gradient at 0 is 0."""
    return sum_of_errors(_absolute_errors, scores, targets, weights, None, dscores)


@helper
def _huber_errors(s, t, weight, delta, d):
    part, half = s.dtype.type(0), s.dtype.type(0.5)
    for j in range(s.size):
        gap = s[j] - t[j]
        near = min(max(gap, -delta), delta)
        part += near * (gap - half * near)
        d[j] = weight * near
    return part


@kernel
def huber(scores, targets, weights, delta, dscores):
    """Sum over outputs of d^2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere, d = s - t."""
    return sum_of_errors(_huber_errors, scores, targets, weights, delta, dscores)
