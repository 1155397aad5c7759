"""Checks and counts of labels and targets, and the weights that follow from them."""

import numpy as np

from ...compile import kernel


@kernel
def are_labels(labels, classes, other):
    """Return whether every label is from 0 to classes - 1, or ``other``."""
    right = True
    for i in range(labels.size):
        right &= (0 <= labels[i] < classes) or labels[i] == other
    return right


@kernel
def are_distributions(targets, slack):
    """Return whether every row has numbers of at least 0 whose sum is 1, within ``slack``."""
    zero, right = targets.dtype.type(0), True
    for i in range(targets.shape[0]):
        total, least = 0.0, zero
        for j in range(targets.shape[1]):
            total += targets[i, j]
            least = min(least, targets[i, j])
        right &= least >= zero and abs(total - 1.0) <= slack
    return right


@kernel
def are_shares(values):
    """Return whether every value, of shape (n, outputs), is from 0 to 1."""
    zero, one, right = values.dtype.type(0), values.dtype.type(1), True
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            right &= values[i, j] >= zero and values[i, j] <= one
    return right


@kernel
def leave_out(labels, ignored, weights):
    """weights[i] = 0 (or False) if the label is ``ignored``."""
    for i in range(labels.size):
        if labels[i] == ignored:
            weights[i] = 0


@kernel
def share_among_labels(labels, class_weights, weights):
    """Scale weights so that the sum of weights[i] * class_weights[labels[i]] is 1. Empty class_weights count as 1 each.

    Returns whether the sum was above 0. Otherwise the weights do not change.
    """
    total = 0.0
    for i in range(labels.size):
        if weights[i] > weights.dtype.type(0):
            total += weights[i] * (class_weights[labels[i]] if class_weights.size > 0 else 1.0)
    if total > 0:
        factor = weights.dtype.type(1 / total)
        for i in range(labels.size):
            weights[i] *= factor
    return total > 0


@kernel
def share_out(weights, out):
    """out = weights / their sum, for float64 weights. If out has several positions for each weight, they share it.

    Returns whether all weights are at least 0, and their sum is finite and above 0. Otherwise out does not change.
    """
    total, right = 0.0, True
    for i in range(weights.size):
        right &= weights[i] >= 0.0
        total += weights[i]
    right &= 0.0 < total < np.inf
    if right:
        positions = out.size // weights.size
        for i in range(out.size):
            out[i] = out.dtype.type(weights[i // positions] / (total * positions))
    return right


@kernel
def weight_of(marks, weights):
    """Return the sum of the float64 weights whose mark is true. A weight of several marks counts for each of them."""
    positions, total = marks.size // weights.size, 0.0
    for i in range(marks.size):
        total += weights[i // positions] if marks[i] else 0.0
    return total
