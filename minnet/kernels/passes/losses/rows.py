"""Losses: value and gradient in one pass over the scores.

scores and dscores have shape (n, outputs); labels are int64 of shape (n,), targets have the shape and dtype of the
scores. Each kernel returns the sum over the samples of weights[i] * (loss of sample i) as float64, which is the
weighted mean where the weights (n,) sum to 1.

A sample of weight 0 is left out: it adds nothing to the value, and its gradient is 0, even if its loss is infinite or
its label is none of the classes.
"""

import numpy as np

from ...compile import exact_helper, helper, kernel
from ...vector.elementary import exp, larger, log, log1p_of_moderate, sigmoid

_BLOCK = 1024  # scores, in whole rows, whose exponentials are taken in one loop: rows may be short
# A row is summed in blocks of as many outputs, and over blocks in double precision. A row that is one block, as most
# are, takes a path without the loop over blocks, which would cost more than the few outputs themselves.


@helper
def _clear(row):
    """row = 0, as the gradient of a sample that is left out."""
    for j in range(row.size):
        row[j] = row.dtype.type(0)


@helper
def _largest(row):
    """The largest number of a row, whatever NaN it has beside others."""
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
    """out = row - top. Returns the sum of spread * class_weights * out, in which out may be infinite at a weight of 0.

    The sum of ``out`` alone may be more than float32 holds.
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
def _sum_of_block(block):
    total = block.dtype.type(0)
    for j in range(block.size):
        total += block[j]
    return total


@helper
def _sum(row):
    if row.size <= _BLOCK:
        return np.float64(_sum_of_block(row))
    total = 0.0
    for start in range(0, row.size, _BLOCK):
        total += _sum_of_block(row[start : start + _BLOCK])
    return total


@helper
def _sum_of_others(row, label):
    """Sum of a row without its element ``label``."""
    zero, own = row.dtype.type(0), np.int32(label)  # as many bits as a float32: both fill a vector alike
    total = zero
    for j in range(row.size):
        total += row[j] if np.int32(j) != own else zero
    return total


@exact_helper
def _log_sum(one, others):
    """log(one + others) for a sum whose largest term is 1; small ``others``, in double precision, keep their digits."""
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
    """weight * sum of q * (s - top), from the label's score and shifted = smoothing's part of the sum."""
    zero, right = type(weight)(0), (type(weight)(1) - smoothing) * own
    total = 0.0
    if weight > zero and right > zero:
        total += weight * right * (np.float64(score) - np.float64(top))
    if weight > zero and smoothing > zero:
        total += weight * shifted
    return total


@helper
def _finish(d, label, p, others, weight, class_weights, all_weights, smoothing, spread):
    """Make the exponentials d of a row its gradient. Returns weight * (sum of q) * log(sum of the exponentials).

    p is the exponential at the label, and ``others`` the sum of those of the other classes.
    """
    one, zero = d.dtype.type(1), d.dtype.type(0)
    own = _class_weight(class_weights, label, one) if weight > zero else zero
    # The sums of weight * q at the label and over the other classes.
    wanted = weight * ((one - smoothing) * own + spread * own)
    rest = weight * (spread * (all_weights - own))
    mass = wanted + rest
    if not mass > zero:
        _clear(d)
        return 0.0
    value = mass * _log_sum(p, others)
    share = one / d.dtype.type(p + others)
    _scale(d, share * mass, weight * spread, class_weights)
    # As wanted * (p - 1) + rest * p, without the difference, which would lose a small gradient.
    d[label] = share * (rest * p - wanted * d.dtype.type(others))
    return value


@helper
def _cross_entropy_of_short_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores):
    n, outputs = scores.shape
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    rows = _BLOCK // outputs
    loss = 0.0
    for first in range(0, n, rows):
        s, d = scores[first : first + rows], dscores[first : first + rows]
        label, weight = labels[first : first + rows], weights[first : first + rows]
        for i in range(len(d)):
            top = _largest(s[i])
            shifted = _subtract(s[i], top, spread, class_weights, d[i])
            own = _class_weight(class_weights, label[i], one) if weight[i] > zero else zero
            loss -= _given(weight[i], own, s[i, label[i]], top, shifted, smoothing)
        _exponentials(d.reshape(-1))
        for i in range(len(d)):
            p, others = d[i, label[i]], _sum_of_others(d[i], label[i])
            loss += _finish(d[i], label[i], p, others, weight[i], class_weights, all_weights, smoothing, spread)
    return loss


@helper
def _cross_entropy_of_long_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores):
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    loss = 0.0
    for i in range(len(scores)):
        s, d, label, weight = scores[i], dscores[i], labels[i], weights[i]
        if not weight > zero:
            _clear(d)
            continue
        top, p, shifted, others = _largest(s), zero, 0.0, 0.0
        for start in range(0, s.size, _BLOCK):
            end = start + _BLOCK
            block = d[start:end]
            shifted += _subtract(s[start:end], top, spread, _some_class_weights(class_weights, start, end), block)
            _exponentials(block)
            if start <= label < end:
                p, d[label] = d[label], zero
            others += _sum_of_block(block)
        own = _class_weight(class_weights, label, one)
        loss -= _given(weight, own, s[label], top, shifted, smoothing)
        loss += _finish(d, label, p, others, weight, class_weights, all_weights, smoothing, spread)
    return loss


@kernel
def softmax_cross_entropy(scores, labels, weights, class_weights, smoothing, dscores):
    """-sum of q * log p, p = softmax(scores) and q = class_weights * ((1 - smoothing) * onehot + smoothing / outputs).

    Subtracting the row's largest score first changes nothing but the range: the largest exponent is 0. A score of
    -infinity makes p = 0, where q * log p is 0 if q is, and else -infinity. A row of nothing else gives NaN.
    class_weights may be None, for 1 each, for which a kernel of its own is compiled.
    """
    outputs, number = scores.shape[1], scores.dtype.type
    spread = smoothing / number(outputs)
    all_weights = number(outputs) if class_weights is None else number(_sum(class_weights))
    if outputs <= _BLOCK:
        return _cross_entropy_of_short_rows(
            scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores
        )
    return _cross_entropy_of_long_rows(scores, labels, weights, class_weights, all_weights, smoothing, spread, dscores)


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
        _subtract(scores[i], _largest(scores[i]), spread, class_weights, d)
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


@helper
def _sum_of_hinges(of_block, scores, labels, weights, margin, dscores):
    """Sum over the rows of weights[i] * (sum of a hinge over the wrong classes), with its gradient.

    ``of_block(s, own, bar, weight, d)`` fills d with the gradient of a block of scores and returns the sums of the loss
    and of d, where s[own] is the right class's score, if it lies in the block, and a wrong class counts from -bar on.
    """
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(len(scores)):
        weight, label = weights[i], labels[i]
        if not weight > zero:
            _clear(dscores[i])
            continue
        bar = margin - scores[i, label]
        if outputs <= _BLOCK:
            part, pushed = of_block(scores[i], label, bar, weight, dscores[i])
            loss += weight * part
            dscores[i, label] = -pushed
            continue
        pushes = 0.0
        for start in range(0, outputs, _BLOCK):
            end = start + _BLOCK
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


@helper
def _sum_of_errors(of_block, scores, targets, weights, bound, dscores):
    """Sum over the rows of weights[i] * (sum of an error over the outputs), with its gradient.

    ``of_block(s, t, weight, bound, d)`` fills d with the gradient of a block of a row and returns the block's sum.
    """
    outputs, zero = scores.shape[1], scores.dtype.type(0)
    loss = 0.0
    for i in range(len(scores)):
        weight = weights[i]
        if not weight > zero:
            _clear(dscores[i])
        elif outputs <= _BLOCK:
            loss += weight * of_block(scores[i], targets[i], weight, bound, dscores[i])
        else:
            for start in range(0, outputs, _BLOCK):
                end = start + _BLOCK
                s, t, d = scores[i, start:end], targets[i, start:end], dscores[i, start:end]
                loss += weight * of_block(s, t, weight, bound, d)
    return loss


@helper
def _logistic_loss(s, t):
    """log(1 + exp(s)) - t s, as (max(s, 0) - t s) + log1p(exp(-|s|)). For an infinite s the bracket may be 0 * |s|."""
    zero, one = type(s)(0), type(s)(1)
    wrong = one - t if s > zero else t
    size = abs(s)
    return (wrong * size if wrong > zero else zero) + log1p_of_moderate(exp(-size))


@exact_helper
def _logistic_slope(s, t):
    """sigmoid(s) - t, which for a large s is (1 - t) - sigmoid(-s): the tail keeps its digits."""
    zero, one = type(s)(0), type(s)(1)
    tail = sigmoid(-abs(s))
    return (one - t) - tail if s > zero else tail - t


@helper
def _logistic_of_short_rows(scores, targets, weights, dscores):
    n, outputs = scores.shape
    zero = scores.dtype.type(0)
    rows = _BLOCK // outputs
    loss = 0.0
    for first in range(0, n, rows):
        d, weight = dscores[first : first + rows], weights[first : first + rows]
        s, t, flat = scores[first : first + rows].reshape(-1), targets[first : first + rows].reshape(-1), d.reshape(-1)
        for place in range(flat.size):
            flat[place] = _logistic_loss(s[place], t[place])
        for i in range(len(d)):
            if weight[i] > zero:
                loss += weight[i] * _sum_of_block(d[i])
        for place in range(flat.size):
            flat[place] = _logistic_slope(s[place], t[place])
        for i in range(len(d)):
            for j in range(outputs):
                d[i, j] = weight[i] * d[i, j] if weight[i] > zero else zero
    return loss


@helper
def _logistic_errors(s, t, weight, _, d):
    part = s.dtype.type(0)
    for j in range(s.size):
        part += _logistic_loss(s[j], t[j])
        d[j] = weight * _logistic_slope(s[j], t[j])
    return part


@kernel
def logistic(scores, targets, weights, dscores):
    """Sum over outputs of log(1 + exp(s)) - t s."""
    if scores.shape[1] <= _BLOCK:
        return _logistic_of_short_rows(scores, targets, weights, dscores)
    return _sum_of_errors(_logistic_errors, scores, targets, weights, None, dscores)


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
    return _sum_of_errors(_squared_errors, scores, targets, weights, None, dscores)


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
    return _sum_of_errors(_absolute_errors, scores, targets, weights, None, dscores)


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
    return _sum_of_errors(_huber_errors, scores, targets, weights, delta, dscores)


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
def share_among_labels(labels, class_weights, weights):
    """Scale weights so that the sum of weights[i] * class_weights[labels[i]] is 1; no class_weights are 1 each.

    Returns whether the sum was above 0; otherwise the weights stay as they are.
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
def leave_out(labels, ignored, weights):
    """weights[i] = 0 (or False) where the label is ``ignored``."""
    for i in range(labels.size):
        if labels[i] == ignored:
            weights[i] = 0


@kernel
def are_labels(labels, classes, other):
    """Whether every label is from 0 to classes - 1, or ``other``."""
    right = True
    for i in range(labels.size):
        right &= (0 <= labels[i] < classes) or labels[i] == other
    return right


@kernel
def occurrences(labels, label):
    """How many labels are ``label``."""
    count = 0
    for i in range(labels.size):
        count += labels[i] == label
    return count


@kernel
def are_distributions(targets, slack):
    """Whether every row is made of numbers of at least 0 with a sum of 1, within ``slack``."""
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
    """Whether every value, of shape (n, outputs), is from 0 to 1."""
    zero, one, right = values.dtype.type(0), values.dtype.type(1), True
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            right &= values[i, j] >= zero and values[i, j] <= one
    return right


@kernel
def normalise(weights, total, out):
    """out = weights / total, from float64 weights."""
    for i in range(weights.size):
        out[i] = out.dtype.type(weights[i] / total)
