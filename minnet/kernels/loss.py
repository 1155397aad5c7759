"""Losses: value and gradient in one pass over the scores.

scores and dscores have shape (n, outputs); labels are int64 of shape (n,), targets have the shape and dtype of
the scores; weights of shape (n,) sum to 1, so that each kernel returns a weighted mean over the batch (float64).
"""

from .compile import kernel
from .elementary import exp, larger, log, log1p, sigmoid

_BLOCK = 1024  # scores, in whole rows, whose exponentials are taken in one loop: rows may be short


@kernel
def softmax_cross_entropy(scores, labels, weights, smoothing, dscores):
    """-sum of q * log p, with p = softmax(scores) and q = (1 - smoothing) * onehot + smoothing / outputs.

    Subtracting the row's largest score first changes nothing but the range: the largest exponent is 0.
    """
    n, outputs = scores.shape
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    spread = smoothing / scores.dtype.type(outputs)
    rows = max(1, _BLOCK // outputs)
    loss = 0.0
    for first in range(0, n, rows):
        s, d = scores[first : first + rows], dscores[first : first + rows]
        label, weight = labels[first : first + rows], weights[first : first + rows]
        for i in range(len(d)):
            top = s[i, 0]
            for j in range(1, outputs):
                top = larger(top, s[i, j])
            shifted = zero
            for j in range(outputs):
                d[i, j] = s[i, j] - top
                shifted += s[i, j] - top
            loss -= weight[i] * ((one - smoothing) * d[i, label[i]] + spread * shifted)
        flat = d.reshape(-1)
        for place in range(flat.size):
            flat[place] = exp(flat[place])
        for i in range(len(d)):
            total = zero
            for j in range(outputs):
                total += d[i, j]
            loss += weight[i] * log(total)
            scale = weight[i] / total
            for j in range(outputs):
                d[i, j] = d[i, j] * scale - weight[i] * spread
            d[i, label[i]] -= weight[i] * (one - smoothing)
    return loss


@kernel
def multiclass_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)."""
    zero = scores.dtype.type(0)
    loss = 0.0
    for i in range(scores.shape[0]):
        label = labels[i]
        bar = margin - scores[i, label]
        row, pushed = zero, zero
        for j in range(scores.shape[1]):
            gap = scores[i, j] + bar
            counts = not (gap <= zero) and j != label
            dscores[i, j] = weights[i] if counts else zero
            row += gap if counts else zero
            pushed += weights[i] if counts else zero
        dscores[i, label] = -pushed
        loss += weights[i] * row
    return loss


@kernel
def squared_hinge(scores, labels, weights, margin, dscores):
    """Sum over the wrong classes j of max(0, s_j - s_y + margin)^2."""
    zero, two = scores.dtype.type(0), scores.dtype.type(2)
    loss = 0.0
    for i in range(scores.shape[0]):
        label = labels[i]
        bar = margin - scores[i, label]
        row, pushed = zero, zero
        for j in range(scores.shape[1]):
            gap = scores[i, j] + bar
            counts = not (gap <= zero) and j != label
            push = two * weights[i] * gap if counts else zero
            dscores[i, j] = push
            pushed += push
            row += gap * gap if counts else zero
        dscores[i, label] = -pushed
        loss += weights[i] * row
    return loss


@kernel
def logistic(scores, targets, weights, dscores):
    """Sum over outputs of log(1 + exp(s)) - t s, as max(s, 0) - t s + log1p(exp(-|s|))."""
    n, outputs = scores.shape
    zero = scores.dtype.type(0)
    rows = max(1, _BLOCK // outputs)
    loss = 0.0
    for first in range(0, n, rows):
        d, weight = dscores[first : first + rows], weights[first : first + rows]
        s, t, flat = scores[first : first + rows].reshape(-1), targets[first : first + rows].reshape(-1), d.reshape(-1)
        for place in range(flat.size):
            v = s[place]
            flat[place] = (zero if v <= zero else v) - t[place] * v + log1p(exp(-abs(v)))
        for i in range(len(d)):
            row = zero
            for j in range(outputs):
                row += d[i, j]
            loss += weight[i] * row
        for place in range(flat.size):
            flat[place] = sigmoid(s[place]) - t[place]
        for i in range(len(d)):
            for j in range(outputs):
                d[i, j] *= weight[i]
    return loss


@kernel
def squared_error(scores, targets, weights, dscores):
    """Sum over outputs of (s - t)^2."""
    two = scores.dtype.type(2)
    loss = 0.0
    for i in range(scores.shape[0]):
        row = scores.dtype.type(0)
        for j in range(scores.shape[1]):
            d = scores[i, j] - targets[i, j]
            row += d * d
            dscores[i, j] = two * weights[i] * d
        loss += weights[i] * row
    return loss


@kernel
def absolute_error(scores, targets, weights, dscores):
    """Sum over outputs of |s - t|; the gradient at 0 is 0."""
    zero = scores.dtype.type(0)
    loss = 0.0
    for i in range(scores.shape[0]):
        row = zero
        for j in range(scores.shape[1]):
            d = scores[i, j] - targets[i, j]
            row += abs(d)
            dscores[i, j] = weights[i] if d > zero else (-weights[i] if d < zero else zero)
        loss += weights[i] * row
    return loss


@kernel
def huber(scores, targets, weights, delta, dscores):
    """Sum over outputs of d^2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere, d = s - t."""
    half = scores.dtype.type(0.5)
    loss = 0.0
    for i in range(scores.shape[0]):
        row = scores.dtype.type(0)
        for j in range(scores.shape[1]):
            d = scores[i, j] - targets[i, j]
            near = min(max(d, -delta), delta)
            row += near * (d - half * near)
            dscores[i, j] = weights[i] * near
        loss += weights[i] * row
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
def logistic_hits(scores, targets, out):
    """out[i] = whether each score of row i is above 0 just where its target is above a half."""
    zero, half = scores.dtype.type(0), scores.dtype.type(0.5)
    for i in range(scores.shape[0]):
        right = True
        for j in range(scores.shape[1]):
            right &= (scores[i, j] > zero) == (targets[i, j] > half)
        out[i] = right


@kernel
def weigh_classes(labels, class_weights, weights):
    """weights[i] *= class_weights[labels[i]]; returns their sum as float64."""
    total = 0.0
    for i in range(labels.size):
        weights[i] *= weights.dtype.type(class_weights[labels[i]])
        total += weights[i]
    return total


@kernel
def normalise(weights, total, out):
    """out = weights / total, from float64 weights."""
    for i in range(weights.size):
        out[i] = out.dtype.type(weights[i] / total)
