"""Which samples are classified correctly: out is bool, of shape (n,)."""

from ...compile import kernel


@kernel
def hits(scores, labels, out):
    """out[i] = whether the largest score of row i, the first of equal ones, is at its label."""
    for i in range(scores.shape[0]):
        best = 0
        for j in range(1, scores.shape[1]):
            if scores[i, j] > scores[i, best]:
                best = j
        out[i] = best == labels[i]


@kernel
def soft_hits(scores, targets, out):
    """out[i] = whether the largest values of row i in scores and targets, the first of equal ones, are at one place."""
    for i in range(scores.shape[0]):
        best, wanted = 0, 0
        for j in range(1, scores.shape[1]):
            best = j if scores[i, j] > scores[i, best] else best
            wanted = j if targets[i, j] > targets[i, wanted] else wanted
        out[i] = best == wanted


@kernel
def logistic_hits(scores, targets, out):
    """out[i] = whether each score of row i is above 0 exactly where its target is above 1/2."""
    zero, half = scores.dtype.type(0), scores.dtype.type(0.5)
    for i in range(scores.shape[0]):
        right = True
        for j in range(scores.shape[1]):
            right &= (scores[i, j] > zero) == (targets[i, j] > half)
        out[i] = right
