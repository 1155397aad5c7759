"""Rules that keep squares of the gradient, which may overflow where the gradient itself does not."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from ..kernels.chunks import SERIAL
from ..kernels.means import MARGIN, squares_fit
from .base import Rule, Run


class SquaringRule(Rule):
    """A rule that keeps squares of the gradient: one too large for that, or not finite, is a FloatingPointError.

    An infinite mean of squares would never come down again, and its parameter would stand still without a word. Up to
    65,536 elements in a run the gradient is looked at before any rule moves. More would be a pass over memory of its
    own, so there the kernel notices as it goes: the elements in question count as 0, all others of the run have moved
    when the error comes, and the state stays finite.
    """

    def prepare(self, runs: Sequence[Run], *, lr: float, t: int) -> None:
        for run in runs:
            if run.grads.size <= SERIAL and not squares_fit(run.grads.reshape(-1)):
                self.refuse(run.grads)

    def refuse(self, grads: np.ndarray) -> NoReturn:
        """Raise the error for this gradient."""
        top = float(np.finfo(grads.dtype).max) ** 0.5 / MARGIN
        sizes = np.abs(grads)
        count = int((~(sizes <= top)).sum())
        raise FloatingPointError(
            f"{type(self).__name__}: expected a gradient whose squares {grads.dtype} can add up, of at most {top:.2g}; "
            f"got {sizes.max():.3g}, with {count} of {grads.size} elements too large or not finite. "
            "Optimizer(clip_norm=...) bounds it"
        )
