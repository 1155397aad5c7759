"""Rules that keep squares of the gradient, which may overflow where the gradient itself does not."""

from typing import NoReturn

import numpy as np

from ..kernels.means import MARGIN
from .base import Rule

SHORT = 8192  # elements that stay in the first-level cache between two passes


class SquaringRule(Rule):
    """A rule that keeps squares of the gradient: one too large for that, or not finite, is a FloatingPointError.

    An infinite mean of squares would never come down again, and its parameter would stand still without a word. Where
    a run has up to 8,192 elements, the optimizer looks at the gradient before any rule moves. More would be a pass over
    memory of its own, so there the kernel notices as it goes: the elements in question count as 0, all others of the
    run have moved when the error comes, and the state stays finite.
    """

    def takes_squares(self) -> bool:
        return True

    def refuse(self, grads: np.ndarray) -> NoReturn:
        """Raise the error for this gradient."""
        refuse(type(self).__name__, grads)


def refuse(who: str, grads: np.ndarray) -> NoReturn:
    """Raise the error for a gradient whose squares do not fit."""
    top = float(np.finfo(grads.dtype).max) ** 0.5 / MARGIN
    sizes = np.abs(grads)
    count = int((~(sizes <= top)).sum())
    raise FloatingPointError(
        f"{who}: expected a gradient whose squares {grads.dtype} can add up, of at most {top:.2g}; "
        f"got {sizes.max():.3g}, with {count} of {grads.size} elements too large or not finite. "
        "Optimizer(clip_norm=...) bounds it"
    )
