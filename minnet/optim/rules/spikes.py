"""Spikes: gradients that are too large for a rule, which would affect thousands of steps."""

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from ...kernels.updates.means import MARGIN
from ...layers.spec import Tensor
from .base import Rule

SHORT = 2048  # elements of which a look takes no longer than the rest of a step costs anyway


class GuardedRule(Rule):
    """Base class of rules that raise FloatingPointError if a gradient is not finite or its square would overflow.

    The bound is 1.8e16 in float32 and 1.3e151 in float64. Without it, an infinite mean of squares would never decrease,
    and the parameter would not change again, without an error. A mean of the gradient, or of its absolute value, would
    need thousands of steps to forget the spike.

    If a run has at most 2,048 elements, the optimizer checks the gradient before any rule is called. For longer runs
    this would take up to a tenth of the time of the step. The kernel then checks while it computes, and all elements of
    the run have changed when the error is raised. Rules that keep squares, signs or factors treat such elements as 0,
    so their state stays finite. ``SGD``, ``Momentum``, ``Nesterov`` and ``NesterovLookAhead`` use them: their result is
    not valid, and a program that continues has to restore parameters and state, as a ``Trainer`` does.

    A smaller spike is used as the published rule uses it. After one gradient of 1e15, the mean of squares of Adam needs
    some 60,000 steps to decrease to 1, during which the parameter hardly changes. ``Optimizer(clip_norm=...)`` prevents
    this.
    """

    def refuses_spikes(self) -> bool:
        return True

    def refuse(self, grads: np.ndarray) -> NoReturn:
        """Raise the error for a gradient whose squares the dtype cannot add up.

        Args:
            grads: the gradient of the rule's tensors, of any shape.

        Raises:
            FloatingPointError: always.
        """
        raise refusal(type(self).__name__, grads)


def too_large(grads: np.ndarray) -> np.ndarray:
    """Return where elements of a gradient are not finite, or too large to be squared."""
    where: np.ndarray = ~(np.abs(grads) <= _bound(grads.dtype))
    return where


def refusal(who: str, grads: np.ndarray, tensors: Iterable[Tensor] = ()) -> FloatingPointError:
    """Return the error for a gradient. It names the tensors with such elements, if ``tensors`` are given."""
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
