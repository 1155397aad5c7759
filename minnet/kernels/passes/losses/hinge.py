"""Hinge losses of several classes. Arguments and results are those of ``softmax``."""

import numpy as np

from ...compile import helper, kernel
from .rows import BLOCK, clear


@helper
def _sum_of_hinges(of_block, scores, labels, weights, margin, dscores):
    """Return the sum over the rows of weights[i] * (sum of a hinge over the wrong classes), and fill dscores.

    ``of_block(s, own, bar, weight, d)`` fills d with the gradient of a block of scores, and returns the sums of the
    loss and of d. s[own] is the score of the right class, if it is in the block. A wrong class counts if its score is
    above -bar.
    """
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(len(scores)):
        weight, label = weights[i], labels[i]
        if not weight > zero:
            clear(dscores[i])
            continue
        bar = margin - scores[i, label]
        if outputs <= BLOCK:
            part, pushed = of_block(scores[i], label, bar, weight, dscores[i])
            loss += weight * part
            dscores[i, label] = -pushed
            continue
        pushes = 0.0
        for start in range(0, outputs, BLOCK):
            end = start + BLOCK
            part, pushed = of_block(scores[i, start:end], label - start, bar, weight, dscores[i, start:end])
            loss += weight * part
            pushes += pushed
        dscores[i, label] = -pushes
    return loss


@helper
def _hinge(s, own, bar, weight, d):
    zero, place = s.dtype.type(0), np.int32(own)  # as many bits as a float32: both fill a vector alike
    part, pushed = zero, zero
    for j in range(s.size):
        gap = s[j] + bar
        counts = not (gap <= zero) and np.int32(j) != place
        push = weight if counts else zero
        d[j] = push
        part += gap if counts else zero
        pushed += push
    return part, pushed


@kernel
def multiclass_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)."""
    return _sum_of_hinges(_hinge, scores, labels, weights, margin, dscores)


@helper
def _hinge_squared(s, own, bar, weight, d):
    zero, two, place = s.dtype.type(0), s.dtype.type(2), np.int32(own)
    part, pushed = zero, zero
    for j in range(s.size):
        gap = s[j] + bar
        counts = not (gap <= zero) and np.int32(j) != place
        push = two * weight * gap if counts else zero
        d[j] = push
        part += gap * gap if counts else zero
        pushed += push
    return part, pushed


@kernel
def squared_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)^2."""
    return _sum_of_hinges(_hinge_squared, scores, labels, weights, margin, dscores)
