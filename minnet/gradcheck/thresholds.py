"""What the size of a relative error means."""

# CS231n, "Neural Networks Part 3", gradient checks: what a relative error means.
WRONG, DOUBTFUL, CORRECT = 1e-2, 1e-4, 1e-7


def cs231n(error: float) -> str:
    """What the CS231n notes call a relative error of this size.

    Above 1e-2 "wrong", to 1e-4 "doubtful", to 1e-7 "fine with kinks" (and too much without), below that "happy". The
    words know nothing of why an error is as large as it is; a verdict does.
    """
    if not error < WRONG:  # NaN too
        return "wrong"
    return "doubtful" if error >= DOUBTFUL else "fine with kinks" if error >= CORRECT else "happy"
