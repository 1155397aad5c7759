"""Hinge losses: support vector machines with several classes."""

from dataclasses import dataclass

import numpy as np

from ...base import checks
from ...kernels.passes.losses import hinge as kernels
from .classification import Classification


class _Hinge(Classification):
    """A loss that is 0 for wrong classes whose score is more than ``margin`` below that of the correct class."""

    margin: float

    def winners(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        right = np.take_along_axis(scores, targets[:, np.newaxis], axis=1)
        return scores + (scores.dtype.type(self.margin) - right) > 0


@dataclass(frozen=True)
class MulticlassHinge(_Hinge):
    """Multiclass hinge loss (SVM): the sum over the wrong classes j of max(0, s_j - s_y + margin), as in CS231n.

    y is the label. PyTorch's ``MultiMarginLoss`` divides by the number of classes.

    Args:
        margin: margin between the right class and the others, above 0.

    Shapes: scores (n, classes); targets integer labels (n,), from 0 to classes - 1.
    Source: Weston and Watkins 1999.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("MulticlassHinge", "margin", self.margin)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.multiclass_hinge(scores, targets, weights, scores.dtype.type(self.margin), dscores)


@dataclass(frozen=True)
class SquaredHinge(_Hinge):
    """Squared hinge loss (L2-SVM): the sum over the wrong classes j of max(0, s_j - s_y + margin)^2, as in CS231n.

    y is the label. PyTorch's ``MultiMarginLoss(p=2)`` divides by the number of classes.

    Args:
        margin: margin between the right class and the others, above 0.

    Shapes: scores (n, classes); targets integer labels (n,), from 0 to classes - 1.
    Source: the notes of CS231n on linear classification.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("SquaredHinge", "margin", self.margin)

    def apply(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, dscores: np.ndarray) -> float:
        return kernels.squared_hinge(scores, targets, weights, scores.dtype.type(self.margin), dscores)
