"""Gradients too large for a rule: spikes, of which a rule would remember nothing else for thousands of steps."""

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from ...kernels.updates.means import MARGIN
from ...layers.spec import Tensor
from .base import Rule

SHORT = 2048  # elements of which a look takes no longer than the rest of a step costs anyway


class GuardedRule(Rule):
    """A rule that refuses a gradient whose squares would overflow, or that is not finite, with a FloatingPointError.

    The bound is 1.8e16 in float32 and 1.3e151 in float64. An infinite mean of squares would never come down again, and
    its parameter would stand still without a word. A mean of the gradient, or of its size, would need thousands of
    steps to forget it.

    Where a run has up to 2,048 elements, the optimizer looks at the gradient before any rule moves. For more, a look
    would take up to a tenth of the step's time, so there the kernel notices as it goes, and all elements of the run
    have moved when the error comes. Rules that keep squares, signs or factors count the elements in question as 0, and
    their state stays finite. ``SGD``, ``Momentum``, ``Nesterov`` and ``NesterovLookAhead`` have taken them: the step's
    own result is lost, and whoever goes on has to put parameters and state back, as a ``Trainer`` does.

    A smaller spike is taken as the published rule takes it. After one gradient of 1e15, Adam's mean of squares takes
    some 60,000 steps to come down to 1, in which that parameter hardly moves; ``Optimizer(clip_norm=...)`` prevents it.
    """

    def refuses_spikes(self) -> bool:
        return True

    def refuse(self, grads: np.ndarray) -> NoReturn:
        """Raise the error for this gradient."""
        raise refusal(type(self).__name__, grads)


def too_large(grads: np.ndarray) -> np.ndarray:
    """Where a gradient's elements are too large for their squares, or not finite."""
    where: np.ndarray = ~(np.abs(grads) <= _bound(grads.dtype))
    return where


def refusal(who: str, grads: np.ndarray, tensors: Iterable[Tensor] = ()) -> FloatingPointError:
    """The error for a gradient, which names those of the tensors in it that are at fault."""
    where = too_large(grads.reshape(-1))
    names = [tensor.name for tensor in tensors if where[tensor.start : tensor.stop].any()]
    place = f" in {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else ""
    return FloatingPointError(
        f"{who}: expected a gradient whose squares {grads.dtype} can add up, of at most {_bound(grads.dtype):.2g}; "
        f"got {np.abs(grads).max():.3g}{place}, with {where.sum()} of {grads.size} elements too large or not finite. "
        "Optimizer(clip_norm=...) bounds it"
    )


def _bound(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).max) ** 0.5 / MARGIN
