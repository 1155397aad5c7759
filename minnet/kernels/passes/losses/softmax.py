"""Softmax and cross-entropy, with labels or distributions as targets.

scores and dscores have shape (n, outputs). Labels are int64 of shape (n,); targets have the shape and dtype of the
scores. A kernel fills dscores with the gradient. It returns the sum of weights[i] * (loss of sample i) as float64. This
is the weighted mean if the weights (n,) sum to 1.

A sample of weight 0 is left out. It adds nothing to the value, and its gradient is 0, even if its loss is infinite or
its label is no class.
"""

import numpy as np

from ...compile import exact_helper, helper, kernel
from ...vector.elementary import exp, larger, log, log1p_of_moderate
from ...views import flat
from .rows import BLOCK, clear, sum_of_block, sum_of_row


@helper
def _largest(row):
    """Return the largest number of a row that has other values than NaN."""
    top = row[0]
    for j in range(1, row.size):
        top = larger(top, row[j])
    return top


@helper
def _class_weight(class_weights, j, one):
    return one if class_weights is None else class_weights[j]


@helper
def _some_class_weights(class_weights, start, end):
    return None if class_weights is None else class_weights[start:end]


@helper
def _subtract(row, top, spread, class_weights, out):
    """out = row - top. Returns the sum of spread * class_weights * out; out may be infinite where its weight is 0.

    The sum of ``out`` alone may overflow in float32.
    """
    zero, one = out.dtype.type(0), out.dtype.type(1)
    total = zero
    for j in range(row.size):
        own, gap = _class_weight(class_weights, j, one), row[j] - top
        out[j] = gap
        total += spread * own * gap if own > zero else zero
    return total


@helper
def _exponentials(flat):
    for place in range(flat.size):
        flat[place] = exp(flat[place])


@helper
def _sum_of_others(row, label):
    """Return the sum of a row without its element ``label``."""
    zero, own = row.dtype.type(0), np.int32(label)  # as many bits as a float32: both fill a vector alike
    total = zero
    for j in range(row.size):
        total += row[j] if np.int32(j) != own else zero
    return total


@exact_helper
def _log_sum(one, others):
    """Return log(one + others) for a sum whose largest term is 1.

    The sum is computed in double precision, so the digits of small ``others`` are kept.
    """
    return log1p_of_moderate(type(one)(others + (np.float64(one) - 1.0)))


@helper
def _scale(row, scale, less, class_weights):
    """row = row * scale - less * class_weights."""
    if less > row.dtype.type(0):
        for j in range(row.size):
            row[j] = row[j] * scale - less * _class_weight(class_weights, j, row.dtype.type(1))
    else:
        for j in range(row.size):
            row[j] *= scale


@helper
def _given(weight, own, score, top, shifted, smoothing):
    """Return weight * sum of q * (s - top), where ``shifted`` is the part of the sum that comes from smoothing."""
    zero, right = type(weight)(0), (type(weight)(1) - smoothing) * own
    total = 0.0
    if weight > zero and right > zero:
        total += weight * right * (np.float64(score) - np.float64(top))
    if weight > zero and smoothing > zero:
        total += weight * shifted
    return total


@helper
def _finish(d, label, p, others, weight, class_weights, all_weights, smoothing, spread):
    """Change the exponentials d of a row to its gradient. Returns weight * (sum of q) * log(sum of the exponentials).

    p is the exponential at the label, and ``others`` is the sum of the exponentials of the other classes.
    """
    one, zero = d.dtype.type(1), d.dtype.type(0)
    own = _class_weight(class_weights, label, one) if weight > zero else zero
    # The sums of weight * q at the label and over the other classes.
    wanted = weight * ((one - smoothing) * own + spread * own)
    rest = weight * (spread * (all_weights - own))
    mass = wanted + rest
    if not mass > zero:
        clear(d)
        return 0.0
    value = mass * _log_sum(p, others)
    share = one / d.dtype.type(p + others)
    _scale(d, share * mass, weight * spread, class_weights)
    # As wanted * (p - 1) + rest * p, without the difference, which would lose a small gradient.
    d[label] = share * (rest * p - wanted * d.dtype.type(others))
    return value


@helper
def _cross_entropy_of_short_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores):
    """Process several rows at a time, so that one loop computes their exponentials, even if rows are short."""
    n, outputs = scores.shape
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    rows = BLOCK // outputs
    loss = 0.0
    for first in range(0, n, rows):
        s, d = scores[first : first + rows], dscores[first : first + rows]
        label, weight = labels[first : first + rows], weights[first : first + rows]
        for i in range(len(d)):
            top = _largest(s[i])
            shifted = _subtract(s[i], top, spread, class_weights, d[i])
            own = _class_weight(class_weights, label[i], one) if weight[i] > zero else zero
            loss -= _given(weight[i], own, s[i, label[i]], top, shifted, smoothing)
        _exponentials(flat(d))
        for i in range(len(d)):
            p, others = d[i, label[i]], _sum_of_others(d[i], label[i])
            loss += _finish(d[i], label[i], p, others, weight[i], class_weights, all_weights, smoothing, spread)
    return loss


@helper
def _cross_entropy_of_long_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores):
    """Process rows one by one, in blocks."""
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    loss = 0.0
    for i in range(len(scores)):
        s, d, label, weight = scores[i], dscores[i], labels[i], weights[i]
        if not weight > zero:
            clear(d)
            continue
        top, p, shifted, others = _largest(s), zero, 0.0, 0.0
        for start in range(0, s.size, BLOCK):
            end = start + BLOCK
            block = d[start:end]
            shifted += _subtract(s[start:end], top, spread, _some_class_weights(class_weights, start, end), block)
            _exponentials(block)
            if start <= label < end:
                p, d[label] = d[label], zero
            others += sum_of_block(block)
        own = _class_weight(class_weights, label, one)
        loss -= _given(weight, own, s[label], top, shifted, smoothing)
        loss += _finish(d, label, p, others, weight, class_weights, all_weights, smoothing, spread)
    return loss


@kernel
def softmax_cross_entropy(scores, labels, weights, class_weights, smoothing, dscores):
    """-sum of q * log p, p = softmax(scores) and q = class_weights * ((1 - smoothing) * onehot + smoothing / outputs).

    The largest score of a row is subtracted first, so the largest exponent is 0; this does not change p. A score of
    -infinity gives p = 0. There, q * log p is 0 if q is 0, and -infinity otherwise. A row in which all scores are
    -infinity gives NaN. class_weights may be None for weights of 1; Numba compiles a kernel of its own for this.
    """
    outputs, number = scores.shape[1], scores.dtype.type
    spread = smoothing / number(outputs)
    all_weights = number(outputs) if class_weights is None else number(sum_of_row(class_weights))
    if outputs <= BLOCK:
        return _cross_entropy_of_short_rows(
            scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores
        )
    return _cross_entropy_of_long_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores)


@helper
def _wanted(target, own, smoothing, spread):
    """Return q of one class: its weight ``own`` times its share of the smoothed target."""
    return own * ((type(smoothing)(1) - smoothing) * target + spread)


@helper
def _cross(targets, class_weights, smoothing, spread, logs):
    """Return (sum of q, sum of q * logs) of a row. logs may be -infinity where q is 0."""
    zero = logs.dtype.type(0)
    mass, total = 0.0, 0.0
    for start in range(0, logs.size, BLOCK):
        target, own = targets[start : start + BLOCK], class_weights[start : start + BLOCK]
        log, q_part, part = logs[start : start + BLOCK], zero, zero
        for j in range(log.size):
            q = _wanted(target[j], own[j], smoothing, spread)
            q_part += q
            part += q * log[j] if q > zero else zero
        mass += q_part
        total += part
    return mass, total


@kernel
def soft_cross_entropy(scores, targets, weights, class_weights, smoothing, dscores):
    """``softmax_cross_entropy`` with q = class_weights * ((1 - smoothing) * targets + smoothing / outputs).

    Rows of targets sum to 1.
    """
    n, outputs = scores.shape
    zero = scores.dtype.type(0)
    spread = smoothing / scores.dtype.type(outputs)
    loss = 0.0
    for i in range(n):
        target, d = targets[i], dscores[i]
        _subtract(scores[i], _largest(scores[i]), spread, class_weights, d)
        mass, part = _cross(target, class_weights, smoothing, spread, d)
        if not weights[i] * mass > zero:
            clear(d)
            continue
        _exponentials(d)
        total = sum_of_row(d)
        loss += weights[i] * (mass * log(total) - part)
        share = scores.dtype.type(mass / total)
        for j in range(outputs):
            d[j] = weights[i] * (d[j] * share - _wanted(target[j], class_weights[j], smoothing, spread))
    return loss
