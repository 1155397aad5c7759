"""Losses: value and gradient in one pass over the scores.

scores and dscores have shape (n, outputs); labels are int64 of shape (n,), targets have the shape and dtype of the
scores. Each kernel returns the sum over the samples of weights[i] * (loss of sample i) as float64, which is the
weighted mean where the weights (n,) sum to 1.

A sample of weight 0 is left out: it adds nothing to the value, and its gradient is 0, even if its loss is infinite or
its label is none of the classes.
"""

import numpy as np

from .compile import exact_helper, helper, kernel
from .elementary import exp, larger, log, log1p, sigmoid

_BLOCK = 1024  # scores, in whole rows, whose exponentials are taken in one loop: rows may be short
# A row is summed in blocks of as many outputs, and over blocks in double precision.


@helper
def _clear(row):
    """row = 0, as the gradient of a sample that is left out."""
    for j in range(row.size):
        row[j] = row.dtype.type(0)


@helper
def _subtract_largest(row, out):
    """out = row - (largest of row), which is returned. A NaN in row stays one."""
    top = row[0]
    for j in range(1, row.size):
        top = larger(top, row[j])
    for j in range(row.size):
        out[j] = row[j] - top
    return top


@helper
def _exponentials(flat):
    for place in range(flat.size):
        flat[place] = exp(flat[place])


@helper
def _sum(row):
    total = 0.0
    for start in range(0, row.size, _BLOCK):
        block, part = row[start : start + _BLOCK], row.dtype.type(0)
        for j in range(block.size):
            part += block[j]
        total += part
    return total


@exact_helper
def _log_sum(one, others):
    """log(one + others) for a sum whose largest term is 1; small ``others``, in double precision, keep their digits."""
    return log1p(type(one)(others + (np.float64(one) - 1.0)))


@helper
def _weighed_sum(class_weights, spread, logs):
    """Sum of q * logs with q = spread * class_weights; where q is 0, logs may be -infinity."""
    zero = logs.dtype.type(0)
    total = 0.0
    for start in range(0, logs.size, _BLOCK):
        own, log, part = class_weights[start : start + _BLOCK], logs[start : start + _BLOCK], zero
        for j in range(log.size):
            q = spread * own[j]
            part += q * log[j] if q > zero else zero
        total += part
    return total


@kernel
def softmax_cross_entropy(scores, labels, weights, class_weights, smoothing, dscores):
    """-sum of q * log p, p = softmax(scores) and q = class_weights * ((1 - smoothing) * onehot + smoothing / outputs).

    Subtracting the row's largest score first changes nothing but the range: the largest exponent is 0. A score of
    -infinity makes p = 0, where q * log p is 0 if q is, and else -infinity. A row of nothing else gives NaN.
    """
    n, outputs = scores.shape
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    spread = smoothing / scores.dtype.type(outputs)
    all_weights = scores.dtype.type(_sum(class_weights))
    rows = max(1, _BLOCK // outputs)
    loss = 0.0
    for first in range(0, n, rows):
        s, d = scores[first : first + rows], dscores[first : first + rows]
        label, weight = labels[first : first + rows], weights[first : first + rows]
        for i in range(len(d)):
            top = _subtract_largest(s[i], d[i])
            right = (one - smoothing) * class_weights[label[i]] if weight[i] > zero else zero
            if right > zero:
                loss -= weight[i] * right * (np.float64(s[i, label[i]]) - np.float64(top))
            if weight[i] > zero and spread > zero:
                loss -= weight[i] * _weighed_sum(class_weights, spread, d[i])
        _exponentials(d.reshape(-1))
        for i in range(len(d)):
            if not weight[i] > zero:
                _clear(d[i])
                continue
            own = class_weights[label[i]]
            wanted = (one - smoothing) * own + spread * own  # q at the label, and over the other classes
            rest = spread * (all_weights - own)
            if wanted + rest == zero:
                _clear(d[i])
                continue
            p = d[i, label[i]]
            d[i, label[i]] = zero
            others = _sum(d[i])
            loss += weight[i] * (wanted + rest) * _log_sum(p, others)
            share = scores.dtype.type(1 / (p + others)) * weight[i]
            for j in range(outputs):
                d[i, j] = d[i, j] * (share * (wanted + rest)) - weight[i] * spread * class_weights[j]
            # As wanted * (p - 1) + rest * p, without the difference, which would lose a small gradient.
            d[i, label[i]] = share * (rest * p - wanted * scores.dtype.type(others))
    return loss


@helper
def _wanted(target, own, smoothing, spread):
    """q of one class: its weight ``own`` times its share of the smoothed target."""
    return own * ((type(smoothing)(1) - smoothing) * target + spread)


@helper
def _cross(targets, class_weights, smoothing, spread, logs):
    """(sum of q, sum of q * logs) of a row; where q is 0, logs may be -infinity."""
    zero = logs.dtype.type(0)
    mass, total = 0.0, 0.0
    for start in range(0, logs.size, _BLOCK):
        target, own = targets[start : start + _BLOCK], class_weights[start : start + _BLOCK]
        log, q_part, part = logs[start : start + _BLOCK], zero, zero
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
        _subtract_largest(scores[i], d)
        mass, part = _cross(target, class_weights, smoothing, spread, d)
        if not weights[i] * mass > zero:
            _clear(d)
            continue
        _exponentials(d)
        total = _sum(d)
        loss += weights[i] * (mass * log(total) - part)
        share = scores.dtype.type(mass / total)
        for j in range(outputs):
            d[j] = weights[i] * (d[j] * share - _wanted(target[j], class_weights[j], smoothing, spread))
    return loss


@kernel
def multiclass_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)."""
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(scores.shape[0]):
        if not weights[i] > zero:
            _clear(dscores[i])
            continue
        label, pushed = labels[i], 0.0
        bar = margin - scores[i, label]
        for start in range(0, outputs, _BLOCK):
            s, d = scores[i, start : start + _BLOCK], dscores[i, start : start + _BLOCK]
            own, part, push = label - start, zero, zero
            for j in range(s.size):
                gap = s[j] + bar
                counts = not (gap <= zero) and j != own
                d[j] = weights[i] if counts else zero
                part += gap if counts else zero
                push += weights[i] if counts else zero
            loss += weights[i] * part
            pushed += push
        dscores[i, label] = -pushed
    return loss


@kernel
def squared_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)^2."""
    outputs, zero, two = scores.shape[1], scores.dtype.type(0), scores.dtype.type(2)
    loss = 0.0
    for i in range(scores.shape[0]):
        if not weights[i] > zero:
            _clear(dscores[i])
            continue
        label, pushed = labels[i], 0.0
        bar = margin - scores[i, label]
        for start in range(0, outputs, _BLOCK):
            s, d = scores[i, start : start + _BLOCK], dscores[i, start : start + _BLOCK]
            own, part, push = label - start, zero, zero
            for j in range(s.size):
                gap = s[j] + bar
                counts = not (gap <= zero) and j != own
                slope = two * weights[i] * gap if counts else zero
                d[j] = slope
                push += slope
                part += gap * gap if counts else zero
            loss += weights[i] * part
            pushed += push
        dscores[i, label] = -pushed
    return loss


@helper
def _logistic_loss(s, t):
    """log(1 + exp(s)) - t s, as (max(s, 0) - t s) + log1p(exp(-|s|)). For an infinite s the bracket may be 0 * |s|."""
    zero, one = type(s)(0), type(s)(1)
    wrong = one - t if s > zero else t
    size = abs(s)
    return (wrong * size if wrong > zero else zero) + log1p(exp(-size))


@exact_helper
def _logistic_slope(s, t):
    """sigmoid(s) - t, which for a large s is (1 - t) - sigmoid(-s): the tail keeps its digits."""
    zero, one = type(s)(0), type(s)(1)
    tail = sigmoid(-abs(s))
    return (one - t) - tail if s > zero else tail - t


@kernel
def logistic(scores, targets, weights, dscores):
    """Sum over outputs of log(1 + exp(s)) - t s."""
    n, outputs = scores.shape
    zero = scores.dtype.type(0)
    rows = max(1, _BLOCK // outputs)
    loss = 0.0
    for first in range(0, n, rows):
        d, weight = dscores[first : first + rows], weights[first : first + rows]
        s, t, flat = scores[first : first + rows].reshape(-1), targets[first : first + rows].reshape(-1), d.reshape(-1)
        for place in range(flat.size):
            flat[place] = _logistic_loss(s[place], t[place])
        for i in range(len(d)):
            if weight[i] > zero:
                loss += weight[i] * _sum(d[i])
        for place in range(flat.size):
            flat[place] = _logistic_slope(s[place], t[place])
        for i in range(len(d)):
            if weight[i] > zero:
                for j in range(outputs):
                    d[i, j] *= weight[i]
            else:
                _clear(d[i])
    return loss


@kernel
def squared_error(scores, targets, weights, dscores):
    """Sum over outputs of (s - t)^2."""
    outputs, zero, two = scores.shape[1], scores.dtype.type(0), scores.dtype.type(2)
    loss = 0.0
    for i in range(scores.shape[0]):
        if not weights[i] > zero:
            _clear(dscores[i])
            continue
        for start in range(0, outputs, _BLOCK):
            s, t = scores[i, start : start + _BLOCK], targets[i, start : start + _BLOCK]
            d, part = dscores[i, start : start + _BLOCK], zero
            for j in range(s.size):
                gap = s[j] - t[j]
                part += gap * gap
                d[j] = two * weights[i] * gap
            loss += weights[i] * part
    return loss


@kernel
def absolute_error(scores, targets, weights, dscores):
    """Sum over outputs of |s - t|; the gradient at 0 is 0."""
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(scores.shape[0]):
        if not weights[i] > zero:
            _clear(dscores[i])
            continue
        for start in range(0, outputs, _BLOCK):
            s, t = scores[i, start : start + _BLOCK], targets[i, start : start + _BLOCK]
            d, part = dscores[i, start : start + _BLOCK], zero
            for j in range(s.size):
                gap = s[j] - t[j]
                part += abs(gap)
                d[j] = weights[i] if gap > zero else (-weights[i] if gap < zero else zero)
            loss += weights[i] * part
    return loss


@kernel
def huber(scores, targets, weights, delta, dscores):
    """Sum over outputs of d^2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere, d = s - t."""
    outputs, zero, half = scores.shape[1], scores.dtype.type(0), scores.dtype.type(0.5)
    loss = 0.0
    for i in range(scores.shape[0]):
        if not weights[i] > zero:
            _clear(dscores[i])
            continue
        for start in range(0, outputs, _BLOCK):
            s, t = scores[i, start : start + _BLOCK], targets[i, start : start + _BLOCK]
            d, part = dscores[i, start : start + _BLOCK], zero
            for j in range(s.size):
                gap = s[j] - t[j]
                near = min(max(gap, -delta), delta)
                part += near * (gap - half * near)
                d[j] = weights[i] * near
            loss += weights[i] * part
    return loss


@kernel
def hits(scores, labels, out):
    """out[i] = whether row i has its largest score, the first of equals, at its label."""
    for i in range(scores.shape[0]):
        best = 0
        for j in range(1, scores.shape[1]):
            if scores[i, j] > scores[i, best]:
                best = j
        out[i] = best == labels[i]


@kernel
def soft_hits(scores, targets, out):
    """out[i] = whether row i of both has its largest value, the first of equals, at one place."""
    for i in range(scores.shape[0]):
        best, wanted = 0, 0
        for j in range(1, scores.shape[1]):
            best = j if scores[i, j] > scores[i, best] else best
            wanted = j if targets[i, j] > targets[i, wanted] else wanted
        out[i] = best == wanted


@kernel
def logistic_hits(scores, targets, out):
    """out[i] = whether each score of row i is above 0 just where its target is above a half."""
    zero, half = scores.dtype.type(0), scores.dtype.type(0.5)
    for i in range(scores.shape[0]):
        right = True
        for j in range(scores.shape[1]):
            right &= (scores[i, j] > zero) == (targets[i, j] > half)
        out[i] = right


@kernel
def weight_of_labels(labels, class_weights, weights):
    """Sum of weights[i] * class_weights[labels[i]] as float64; no class_weights are 1 each."""
    total = 0.0
    for i in range(labels.size):
        if weights[i] > weights.dtype.type(0):
            total += weights[i] * (class_weights[labels[i]] if class_weights.size > 0 else 1.0)
    return total


@kernel
def leave_out(labels, ignored, weights):
    """weights[i] = 0 (or False) where the label is ``ignored``."""
    for i in range(labels.size):
        if labels[i] == ignored:
            weights[i] = 0


@kernel
def labels_beyond(labels, classes, ignored):
    """How many labels are neither from 0 to classes - 1 nor ``ignored``."""
    count = 0
    for i in range(labels.size):
        count += (labels[i] < 0 or labels[i] >= classes) and labels[i] != ignored
    return count


@kernel
def occurrences(labels, label):
    """How many labels are ``label``."""
    count = 0
    for i in range(labels.size):
        count += labels[i] == label
    return count


@kernel
def first_no_distribution(targets, slack):
    """The first row that is not made of numbers of at least 0 with a sum of 1, within ``slack``; -1 if all are."""
    zero = targets.dtype.type(0)
    for i in range(targets.shape[0]):
        total, least = 0.0, zero
        for j in range(targets.shape[1]):
            total += targets[i, j]
            least = min(least, targets[i, j])
        if not (least >= zero and abs(total - 1.0) <= slack):
            return i
    return -1


@kernel
def normalise(weights, total, out):
    """out = weights / total, from float64 weights."""
    for i in range(weights.size):
        out[i] = out.dtype.type(weights[i] / total)
