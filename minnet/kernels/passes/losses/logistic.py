"""The logistic loss of each output by itself. Arguments and results are those of ``softmax``."""

from ...compile import exact_helper, helper, kernel
from ...vector.elementary import exp, log1p_of_moderate, sigmoid
from .rows import BLOCK, sum_of_block, sum_of_errors


@helper
def _logistic_loss(s, t):
    """Return log(1 + exp(s)) - t s, computed as (max(s, 0) - t s) + log1p(exp(-|s|)).

    For an infinite s, the term in parentheses may be 0 * |s|, which counts as 0.
    """
    zero, one = type(s)(0), type(s)(1)
    wrong = one - t if s > zero else t
    size = abs(s)
    return (wrong * size if wrong > zero else zero) + log1p_of_moderate(exp(-size))


@exact_helper
def _logistic_slope(s, t):
    """Return sigmoid(s) - t. For a large s it is (1 - t) - sigmoid(-s), which keeps the digits of the tail."""
    zero, one = type(s)(0), type(s)(1)
    tail = sigmoid(-abs(s))
    return (one - t) - tail if s > zero else tail - t


@helper
def _logistic_of_short_rows(scores, targets, weights, dscores):
    """Process several rows at a time, so that one loop computes their exponentials, even if rows are short."""
    n, outputs = scores.shape
    zero = scores.dtype.type(0)
    rows = BLOCK // outputs
    loss = 0.0
    for first in range(0, n, rows):
        d, weight = dscores[first : first + rows], weights[first : first + rows]
        s, t, flat = scores[first : first + rows].reshape(-1), targets[first : first + rows].reshape(-1), d.reshape(-1)
        for place in range(flat.size):
            flat[place] = _logistic_loss(s[place], t[place])
        for i in range(len(d)):
            if weight[i] > zero:
                loss += weight[i] * sum_of_block(d[i])
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
    if scores.shape[1] <= BLOCK:
        return _logistic_of_short_rows(scores, targets, weights, dscores)
    return sum_of_errors(_logistic_errors, scores, targets, weights, None, dscores)
