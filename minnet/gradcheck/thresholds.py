"""Thresholds of the relative error, after CS231n."""

# CS231n, "Neural Networks Part 3", section on gradient checks.
WRONG, DOUBTFUL, CORRECT = 1e-2, 1e-4, 1e-7


def cs231n(error: float) -> str:
    """Return the CS231n notes' term for a relative error of this size.

    The term does not depend on the cause of the error; a verdict of a check does.

    Args:
        error: relative error.

    Returns:
        ``"wrong"`` from 1e-2 and for NaN, ``"doubtful"`` from 1e-4, ``"fine with kinks"`` from 1e-7 (too large for a
        function without kinks), and ``"happy"`` below that.
    """
    if not error < WRONG:  # NaN too
        return "wrong"
    return "doubtful" if error >= DOUBTFUL else "fine with kinks" if error >= CORRECT else "happy"
